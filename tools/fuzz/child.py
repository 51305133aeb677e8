"""The process that executes inputs. It may die, hang or run out of memory; the parent reports why.

Each input is written into a shared file before it is executed, so that it survives the process. One line of JSON per
chunk goes to standard output.
"""

from __future__ import annotations

import json
import logging
import mmap
import random
import resource
import signal
import struct
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from tools.fuzz import corpus
from tools.fuzz.registry import TARGETS
from tools.fuzz.targets import REFUSALS, SABOTAGE, BrokenError

CHUNK = 1000
SLOT_BYTES = 1 << 16
HEAD = struct.Struct("<QI")  # executions so far, length of the input

MEMORY_BYTES = 512 << 20  # beyond what the process takes when it starts
GROWTH_KB = 64 << 10  # in one chunk
HANG_S = 2.0  # of processor time, for one execution


def limit_memory() -> None:
    """Make allocations fail that go far beyond the memory at the start."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    size = pages * resource.getpagesize() + MEMORY_BYTES
    resource.setrlimit(resource.RLIMIT_AS, (size, size))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def place_of(error: BaseException) -> str:
    """The exception's type and innermost line, which distinguish findings."""
    frames = traceback.extract_tb(error.__traceback__)
    where = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
    return f"{type(error).__name__} at {where}"


def what_broke(error: BaseException) -> str:
    """What distinguishes findings: the text of a check, the place of anything else."""
    return str(error).partition(":")[0] if isinstance(error, BrokenError) else place_of(error)


def make_input(target: Any, rng: random.Random) -> bytes:
    """Make one input; for targets that can, every other input is then altered."""
    data: bytes = target.make(rng)
    if rng.random() < 0.5 and hasattr(target, "alter"):
        data = target.alter(rng, data)
    return data[: SLOT_BYTES - HEAD.size]


def run_chunk(target: Any, rng: random.Random, count: int, slot: mmap.mmap) -> dict[str, Any]:
    """Execute `count` inputs; returns the results."""
    refusals: dict[str, int] = {}
    findings: list[dict[str, str]] = []
    accepted = 0
    slowest_s, slowest = 0.0, b""
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for number in range(count):
        data = make_input(target, rng)
        slot[: HEAD.size + len(data)] = HEAD.pack(number, len(data)) + data
        signal.setitimer(signal.ITIMER_PROF, HANG_S)
        started_s = time.perf_counter()
        try:
            target.run(data)
            accepted += 1
        except REFUSALS as error:
            name = type(error).__name__
            refusals[name] = refusals.get(name, 0) + 1
        except BaseException as error:
            findings.append({"what": what_broke(error), "message": str(error)[:300], "input": data.hex()})
        took_s = time.perf_counter() - started_s
        if took_s > slowest_s:
            slowest_s, slowest = took_s, data
    signal.setitimer(signal.ITIMER_PROF, 0)
    grown_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb
    if grown_kb > GROWTH_KB:
        findings.append({"what": "memory jump", "message": f"{grown_kb >> 10} MB in one chunk", "input": slowest.hex()})
    return {
        "executions": count,
        "accepted": accepted,
        "refusals": refusals,
        "findings": findings,
        "slowest_ms": round(slowest_s * 1000, 2),
        "slowest": slowest.hex(),
    }


def main(name: str, seed: int, first: int, executions: int, slot_path: str) -> None:
    """Run the chunks of one target from `first` on."""
    logging.disable()  # thousands of log lines about dropped messages
    target = {**TARGETS, **SABOTAGE}[name](corpus.build(seed))
    with Path(slot_path).open("r+b") as file, mmap.mmap(file.fileno(), SLOT_BYTES) as slot:
        run_chunk(target, random.Random(-1), 0, slot)
        limit_memory()
        signal.signal(signal.SIGPROF, signal.SIG_DFL)  # ends the process, even inside C code
        for chunk in range(first, -(-executions // CHUNK)):
            rng = random.Random(f"{seed}/{name}/{chunk}")
            result = run_chunk(target, rng, min(CHUNK, executions - chunk * CHUNK), slot)
            sys.stdout.write(json.dumps({"chunk": chunk, **result}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]), sys.argv[5])
