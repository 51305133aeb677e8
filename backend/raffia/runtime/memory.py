"""How much memory this process may use: the machine's, or its control group's limit if that is lower."""

from __future__ import annotations

import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_FILES = ("memory.max", "memory/memory.limit_in_bytes")  # version 2, version 1


def available_bytes(cgroup: Path = _CGROUP) -> int:
    """The memory that this process may use, in bytes."""
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")]
    for name in _FILES:
        try:
            text = (cgroup / name).read_text().strip()
        except OSError:  # no such file, or not readable: no known limit
            continue
        if text.isdigit():  # "max" means none
            limits.append(int(text))
    return min(limits)
