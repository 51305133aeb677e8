"""docs/faults.md: what each fault did, as the last run at length has measured it. Written by `make faults` itself.

Rules:
    FT1  A row is written by the run that measured it, also when it failed; rows that did not run stay as they are.
    FT2  What the machine is stands above; no dates, no names of hosts.
"""

from __future__ import annotations

import fcntl
import os
import platform
import re
import subprocess
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Self

HEAD = "| fault | runs | acknowledged | lost | recovery, s | notes |\n|---|---|---|---|---|---|"
ROW = re.compile(r"^\| (?P<name>[^|]+?) \|.*\|$", re.MULTILINE)
INTRODUCTION = """# Fault tests: what was broken, and what was lost

Written by `make faults`, which breaks one thing after the other on a single machine with real processes: Raffia, Redis,
HAProxy, network namespaces, full disks. `make faults ARGS="-k kill_replica"` runs a single fault and replaces its row
here; `make test` runs a short version of each.

During each fault, clients type in several documents, in both dialects. Each client logs a unique token before it sends
the token, and logs what the server has acknowledged. **Lost** counts acknowledged inserts that are missing and
acknowledged deletes that were not applied. Where replicas or Redis crash or are restarted, this is checked with a
reader that connects *before* any writer is back with a copy. Only if Redis itself has lost its log do replicas and
clients reconnect first, because restoring the log is what is tested. ("People return at once" and the load balancer's
row measure how long clients are disconnected, and check afterwards.) At the end, all clients, a new client at each
replica, the content of Redis and a replica started only then must have the same document, byte for byte. Replicas that
are no longer used must be back to their previous memory and file descriptors. **Recovery** is the time from the end of
the fault until all clients are connected, everything is acknowledged and all copies are equal: the median and the
maximum of all runs.

Two results are due to Redis itself. With `appendfsync everysec`, Redis replies before it has written to its file if the
fsync of the previous second is still in progress. The crash of the process alone, without its machine, can therefore
lose the last moments (a trace that delays fsync by 0.6 s shows this with plain `SET`s). What Redis has lost is restored
only by replicas that have the document open and by clients that reconnect.
"""


@dataclass
class Fault:
    """One row, filled by its test.

    Attributes:
        name: what was broken.
        runs: how often.
        acknowledged: operations over all runs.
        lost: of these, or counted likewise.
        recovery_s: of each run.
        notes: what else was seen, in few words.
        failed: whether the test did.
    """

    name: str
    runs: int = 0
    acknowledged: int = 0
    lost: int = 0
    recovery_s: list[float] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: bool = False

    def ran(self, acknowledged: int, recovery_s: float | None = None, *, lost: int = 0, runs: int = 1) -> None:
        """Count a run."""
        self.runs += runs
        self.acknowledged += acknowledged
        self.lost += lost
        if recovery_s is not None:
            self.recovery_s.append(recovery_s)

    def note(self, text: str) -> None:
        """Say what else was seen."""
        self.notes.append(text)

    def line(self) -> str:
        """The row."""
        times = sorted(self.recovery_s)
        recovery = f"{times[len(times) // 2]:.1f}, {times[-1]:.1f}" if times else "–"
        beyond = "; ".join([*(["**failed**"] if self.failed else []), *self.notes]) or "–"
        return f"| {self.name} | {self.runs} | {self.acknowledged:,} | {self.lost} | {recovery} | {beyond} |"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        return cls(**data)


def write(faults: list[Fault], path: Path) -> None:
    """Put rows into the table (FT1); several runs may do so at the same time."""
    path.touch()
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        before = file.read()
        rows = {match["name"]: match[0] for match in ROW.finditer(before) if match["name"] not in ("fault", "---")}
        rows |= {fault.name: fault.line() for fault in faults}
        file.seek(0)
        file.truncate()
        file.write(f"{INTRODUCTION}\n{machine()}\n\n{HEAD}\n" + "\n".join(rows.values()) + "\n")


def machine() -> str:
    """What this was measured on (FT2)."""
    cores = os.cpu_count()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    redis = _first(r"v=(\S+)", ["redis-server", "--version"])
    haproxy = _first(r"version (\d+\.\d+\.\d+)", ["haproxy", "-v"])
    kernel = re.sub(r"^(\d+\.\d+).*", r"\1", platform.release())
    return (
        f"Machine: {cores} cores, {memory:.0f} GiB, Linux {kernel}, Python {platform.python_version()}, Redis {redis}, "
        f"HAProxy {haproxy}; shared by everything, including the clients."
    )


def _first(pattern: str, command: list[str]) -> str:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
    said = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ, "PATH": path}).stdout
    match = re.search(pattern, said)
    return match[1] if match else "?"
