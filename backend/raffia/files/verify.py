"""Checks uploaded files in a folder against their names, for `raffia check`.

Rules (tests quote these ids):
    FV1  A file is named by its SHA-256, so the name serves as a checksum. A repair moves a file that does not match to
         `quarantine/files`; uploading the same file again restores it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

from raffia.files.store import PART_BYTES, is_name


def check_files(folder: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files that cannot be read or do not match their names, each with the reason."""
    for path in sorted(folder.glob("*/*")):
        if not is_name(path.name) or not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                digest = hashlib.sha256()
                while part := file.read(PART_BYTES):
                    digest.update(part)
        except OSError as error:
            yield path, f"cannot be read: {error}"
            continue
        if digest.hexdigest() != path.name.partition(".")[0]:
            yield path, f"is damaged: its {path.stat().st_size} bytes do not match its name"


def drop_file(path: Path, data: Path) -> str:
    """Move a damaged file to the quarantine (FV1); return the line to report.

    Raises:
        OSError: it cannot be moved.
    """
    aside = data / "quarantine" / "files" / path.parent.name
    aside.mkdir(parents=True, exist_ok=True)
    moved = path.replace(aside / path.name)
    return f"left out: {moved.stat().st_size} bytes, now in {moved}"
