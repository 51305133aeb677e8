"""Choose the inputs worth keeping: those that reach what no smaller one reaches. Does not need atheris.

Python's tracing tells what is reached: steps from line to line within raffia. Each input runs in its own process, so
that one that ends its process is left out.
"""

from __future__ import annotations

import os
import pickle
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import Any

import raffia
from tools.fuzz.targets import REFUSALS

PACKAGE = str(Path(raffia.__file__).parent)
LIMIT_S = 10.0  # of processor time, traced
MAX_KEPT_BYTES = 12_000  # of one target

Step = tuple[str, int, int]  # file below raffia, from line, to line; 0 is the entry of a function


def steps(run: Callable[[bytes], None], data: bytes) -> set[Step] | None:
    """What one input reaches; None if it is a finding or ends the process."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        signal.signal(signal.SIGPROF, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_PROF, LIMIT_S)
        with os.fdopen(writing, "wb") as out:
            out.write(pickle.dumps(_trace(run, data)))
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        found = answer.read()
    os.waitpid(child, 0)
    return pickle.loads(found) if found else None


def _trace(run: Callable[[bytes], None], data: bytes) -> set[Step] | None:
    found: set[Step] = set()
    names: dict[str, str] = {}

    def enter(frame: FrameType, _event: str, _arg: object) -> Any:
        path = frame.f_code.co_filename
        name = names.get(path)
        if name is None:
            name = names[path] = path[len(PACKAGE) + 1 :] if path.startswith(PACKAGE) else ""
        if not name:
            return None
        last = 0

        def step(frame: FrameType, event: str, _arg: object) -> Any:
            nonlocal last
            if event == "line":
                found.add((name, last, frame.f_lineno))
                last = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        run(data)
    except REFUSALS:
        pass
    except BaseException:
        return None
    finally:
        sys.settrace(None)
    return found


def choose(run: Callable[[bytes], None], inputs: Iterable[bytes]) -> tuple[list[bytes], set[Step]]:
    """The inputs to keep, small ones first, and what all of them reach."""
    reached: set[Step] = set()
    chosen: list[bytes] = []
    size_bytes = 0
    for data in sorted(set(inputs), key=lambda data: (len(data), data)):
        found = steps(run, data)
        if found is None or found <= reached:
            continue
        reached |= found
        if size_bytes + len(data) <= MAX_KEPT_BYTES:
            chosen.append(data)
            size_bytes += len(data)
    return chosen, reached
