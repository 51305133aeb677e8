"""The process of one slice of a coverage-guided run; see `guided`.

    python -m tools.fuzz.guided_child TARGET RESULTS FOLDER... [libFuzzer's options]

atheris instruments Raffia while it is imported, so atheris is imported first.
"""

from __future__ import annotations

import json
import logging
import random
import resource
import sys
import time
from pathlib import Path
from typing import Any

import atheris

with atheris.instrument_imports(include=["raffia"]):
    from tools.fuzz import corpus
    from tools.fuzz.child import GROWTH_KB, limit_memory, what_broke
    from tools.fuzz.mutate import mutate, mutate_one
    from tools.fuzz.registry import TARGETS, seeds
    from tools.fuzz.targets import REFUSALS, SABOTAGE

SLOW_S = 1.0  # of processor time; instrumented code takes two to three times as long
WRITE_EVERY_S = 0.25


class Slice:
    """One target with its inputs and results."""

    def __init__(self, name: str, results: Path) -> None:
        material = corpus.build(1)
        self._target: Any = {**TARGETS, **SABOTAGE}[name](material)
        self._seeds = seeds(name, material) if name in TARGETS else [b"\x00\x00\x00\x00"]
        self._results = results
        self._executions = self._accepted = 0
        self._slowest_s = 0.0
        self._findings: dict[str, tuple[str, str]] = {}
        self._peak_kb = 0
        self._written_s = 0.0

    def execute(self, data: bytes) -> None:
        """Execute one input (FZG1, FZG2)."""
        started_s = time.process_time()
        self._executions += 1
        try:
            self._target.run(data)
            self._accepted += 1
        except REFUSALS:
            pass
        except Exception as error:
            self._find(what_broke(error), f"{type(error).__name__}: {error}", data)
        took_s = time.process_time() - started_s
        if took_s > self._slowest_s:
            self._slowest_s = took_s
            if took_s > SLOW_S:
                self._find("slow", f"{took_s:.1f} s", data)
        peak_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        if self._peak_kb and peak_kb - self._peak_kb > GROWTH_KB:
            self._find("memory", f"{(peak_kb - self._peak_kb) >> 10} MB more for one input", data)
        self._peak_kb = peak_kb
        now_s = time.monotonic()
        if now_s - self._written_s > WRITE_EVERY_S:
            self._written_s = now_s
            self.write()

    def mutate(self, data: bytes, max_size: int, seed: int) -> bytes:
        """Derive an input from another one: by bytes, by parts, or make a new one."""
        rng = random.Random(seed)
        kind = rng.random()
        if kind < 0.45:
            return bytes(atheris.Mutate(data, max_size))
        if kind < 0.55:
            return self._target.make(rng)[:max_size]
        alter = getattr(self._target, "alter", None)
        if alter is not None and kind < 0.9:
            return alter(rng, data)[:max_size]
        if self._seeds and rng.random() < 0.3:
            return mutate(rng, [data, *self._seeds[:40]])[:max_size]
        return mutate_one(rng, data)[:max_size]

    def _find(self, what: str, message: str, data: bytes) -> None:
        known = self._findings.get(what)
        if known is None or 2 * len(data) < len(known[1]):
            self._findings[what] = (message[:300], data.hex())
            if known is None:
                self.write()

    def write(self) -> None:
        """Write the results for the parent, in case this process dies."""
        result = {
            "executions": self._executions,
            "accepted": self._accepted,
            "slowest_ms": round(self._slowest_s * 1000, 1),
            "findings": self._findings,
        }
        self._results.write_text(json.dumps(result))


def main(name: str, results: str, options: list[str]) -> None:
    """Run until libFuzzer stops; it ends the process itself."""
    logging.disable()
    one = Slice(name, Path(results))
    limit_memory()
    atheris.Setup([sys.argv[0], *options], one.execute, custom_mutator=one.mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3:])
