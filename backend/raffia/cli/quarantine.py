"""Copies what is stored for a document before it is repaired.

Rules (tests quote these ids):
    CK3  Before a document is repaired, everything stored for it, except its versions (which a repair keeps), is copied
         to `DATA/quarantine` and synced to disk.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import os
from pathlib import Path
from urllib.parse import quote

from raffia.journal.stored import Stored
from raffia.runtime.disk import sync_path
from raffia.types import DocumentId

QUARANTINE = "quarantine"
_NAME_CHARACTERS = 80


def set_aside(stored: Stored, data: Path) -> Path:
    """Copy what is stored for a document to a new folder below `data` (CK3).

    `stored.json` names the document and describes what the other files contain.

    Returns:
        The new folder, once its content is on disk.

    Raises:
        OSError: it cannot be written.
    """
    folder = _new_folder(data / QUARANTINE, stored.document)
    about: dict[str, object] = {
        "document": stored.document,
        "position": stored.position,
        "folded": stored.folded,
        "complete_from": stored.complete_from,
        "snapshots": [{"upto": one.upto, "time_ms": one.time_ms} for one in stored.snapshots],
    }
    for snapshot in stored.snapshots:
        _write(folder / f"snapshot-{snapshot.upto}.state", snapshot.state)
        _write(folder / f"snapshot-{snapshot.upto}.index", snapshot.index)
    about["segments"] = [
        {"first": one.first, "last": one.last, "window_ms": one.window_ms, "author": one.author, "bytes": len(one.body)}
        for one in stored.segments
    ]
    about["entries"] = [{"position": one.position, "bytes": len(one.body)} for one in stored.entries]
    _write(folder / "segments", b"".join(one.body for one in stored.segments))
    _write(folder / "entries", b"".join(one.body for one in stored.entries))
    _write(folder / "stored.json", json.dumps(about, ensure_ascii=False, indent=1).encode())
    for path in (folder, folder.parent, data):
        sync_path(path)
    return folder


def _new_folder(quarantine: Path, document: DocumentId) -> Path:
    """A new folder for each repair; its name has a digest, since ids can be too long or differ only in case."""
    digest = hashlib.sha256(document.encode()).hexdigest()[:16]
    name = f"{quote(document, safe='')[:_NAME_CHARACTERS]}-{digest}"
    for number in itertools.count(1):
        folder = quarantine / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def _write(path: Path, content: bytes) -> None:
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
