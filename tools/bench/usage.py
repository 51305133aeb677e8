"""CPU time and memory of a server: its process and all processes below it."""

from __future__ import annotations

import time
from pathlib import Path

import psutil


class Usage:
    """Reads what a process tree uses.

    CPU time is read from the kernel's per-process clock, which counts nanoseconds: the ticks of /proc are 10 ms,
    a tenth of what twenty joins cost.
    """

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self._cpu_s: dict[int, float] = {}

    def _tree(self) -> list[psutil.Process]:
        return [self._root, *self._root.children(recursive=True)]

    def cpu_s(self) -> float:
        """User and system time so far, in seconds; processes that have ended count with their last reading."""
        for process in self._tree():
            # Linux: clock_getcpuclockid(3) computes a process's clock like this.
            clock = (~process.pid << 3) | 2
            try:
                self._cpu_s[process.pid] = time.clock_gettime(clock)
            except OSError:
                continue  # has ended since it was listed
        return sum(self._cpu_s.values())

    def waited_s(self) -> float:
        """Time so far, in seconds, that threads were ready to run while other processes had their core."""
        total_ns = 0
        for process in self._tree():
            try:
                threads = list(Path(f"/proc/{process.pid}/task").iterdir())
                total_ns += sum(int((thread / "schedstat").read_text().split()[1]) for thread in threads)
            except OSError:
                continue  # ended since it was listed, or a kernel without these figures
        return total_ns / 1e9

    def rss_kb(self) -> float:
        """Resident memory now, in KiB."""
        total = 0
        for process in self._tree():
            try:
                total += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
        return total / 1024
