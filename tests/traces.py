"""Where the recorded editing traces are: `RAFFIA_TRACES`, or `../shared/traces` beside the project."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

PROJECT = Path(__file__).resolve().parent.parent
AUTOMERGE_PAPER = "automerge-paper"
FRIENDSFOREVER = "friendsforever"


def trace_path(name: str) -> Path:
    """The file of one trace.

    Raises:
        FileNotFoundError: not there; says where it was looked for. Never skip: a run without traces proves nothing.
    """
    folder = Path(os.environ.get("RAFFIA_TRACES") or PROJECT.parent / "shared" / "traces")
    path = folder / f"{name}.json.gz"
    if not path.is_file():
        raise FileNotFoundError(f"trace {path} is missing; set RAFFIA_TRACES to the folder that holds {path.name}")
    return path


def load_trace(name: str) -> dict[str, Any]:
    """One trace: {startContent, endContent, txns: [{patches: [[position, deleted, inserted]], parents?, agent?}]}."""
    trace: dict[str, Any] = json.loads(gzip.decompress(trace_path(name).read_bytes()))
    return trace
