"""`python -m tools.bench.replicas.pairs CHECKOUT`: an older checkout against this one, in pairs on the same machine.

Each pair measures both, one right after the other, in turn the older or this one first, so that a machine that drifts
drifts for both. Shown are the medians and the median of the pairs' ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from tests.support.server import ROOT

SIDE = Path(__file__).with_name("side.py")


def measure(checkout: Path, *, quick: bool) -> dict[str, float]:
    """The figures of one checkout."""
    path = os.pathsep.join([str(checkout), str(checkout / "backend")])
    command = [sys.executable, str(SIDE), *(["--quick"] if quick else [])]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": path}, cwd=checkout, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{checkout}: {done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def table(pairs: list[tuple[dict[str, float], dict[str, float]]]) -> str:
    """Both sides' medians, and the median ratio."""
    lines = ["| | before | after | after / before, median of pairs |", "|---|---|---|---|"]
    for name in pairs[0][0]:
        before, after = ([side[name] for side in sides] for sides in zip(*pairs, strict=True))
        ratios = [new / old for old, new in zip(before, after, strict=True) if old]
        ratio = f"{statistics.median(ratios):.2f}" if ratios else "–"
        lines.append(f"| {name} | {statistics.median(before):g} | {statistics.median(after):g} | {ratio} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.replicas.pairs", description=__doc__)
    parser.add_argument("checkout", type=Path, help="the older checkout, such as one that git worktree add made")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it runs")
    given = parser.parse_args(arguments)
    pairs = []
    for number in range(given.pairs):
        sides = [given.checkout.resolve(), ROOT]
        order = sides if number % 2 == 0 else sides[::-1]
        found = {checkout: measure(checkout, quick=given.quick) for checkout in order}
        pairs.append((found[sides[0]], found[sides[1]]))
        print(f"pair {number + 1}: before {pairs[-1][0]}, after {pairs[-1][1]}", file=sys.stderr, flush=True)
    print(table(pairs))


if __name__ == "__main__":
    main(sys.argv[1:])
