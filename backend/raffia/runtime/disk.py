"""Makes files and folders durable, and says how much room there is."""

from __future__ import annotations

import os
from pathlib import Path


def sync_path(path: Path) -> None:
    """Make a file's content durable or, for a folder, which files it contains.

    Raises:
        OSError: the path cannot be opened or synced.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def room_bytes(folder: Path) -> int:
    """How many bytes this process may still write to the file system of a folder.

    Raises:
        OSError: the folder cannot be looked up.
    """
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
