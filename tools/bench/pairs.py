"""`python -m tools.bench.pairs COMMAND`: compare this build of Raffia with another one, pair by pair.

COMMAND starts the other build, with `{port}` and `{data}` to be filled in, for example
`../before/.venv/bin/raffia serve --host 127.0.0.1 --port {port} --data {data}`. Both are measured with the load
generator of this checkout.

Rules:
    PAR1  The two builds take turns, A B, then B A, and so on: a machine that drifts, drifts for both. Each run has a
          fresh process and an empty folder.
    PAR2  What counts is the median of the ratios (this build / the other) within pairs. Its interval lies between two
          of the sorted ratios, such that it holds the true median with a probability of at least 95 %.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import replace
from math import comb
from statistics import median

from tools.bench.documents import paper, synthetic
from tools.bench.runner import Figures, say
from tools.bench.servers import BENCH, RAFFIA_HP, RAFFIA_YWS, Spec, generate_load, running
from tools.bench.workloads import WORKLOADS, Workload

CONFIDENCE = 0.95
SPECS = {"yws": RAFFIA_YWS, "hp": RAFFIA_HP}


def interval(ratios: list[float]) -> tuple[float, float]:
    """The bounds of the median, from the order of the ratios (PAR2); the extremes when there are few."""
    ordered, count = sorted(ratios), len(ratios)
    for lowest in range((count - 1) // 2, -1, -1):
        outside = 2 * sum(comb(count, below) for below in range(lowest + 1)) / 2**count
        if 1 - outside >= CONFIDENCE:
            return ordered[lowest], ordered[-1 - lowest]
    return ordered[0], ordered[-1]


def measure(spec: Spec, workload: Workload, arguments: list[str]) -> Figures:
    """One run of one build."""
    with running(spec) as server:
        figures = generate_load(server, arguments)
    say(f"{workload.name}: {spec.title}: " + " ".join(f"{key}={value:g}" for key, value in figures.items()))
    return figures


def compare(workload: Workload, this: Spec, other: Spec, pairs: int, *, quick: bool) -> list[tuple[Figures, Figures]]:
    """All pairs of one workload, by turns (PAR1)."""
    arguments = (workload.quick if quick else workload.arguments).split()
    if workload.needs_document:
        arguments += (synthetic(20 << 10) if quick else paper()).arguments
    found = []
    for turn in range(pairs):
        order = (this, other) if turn % 2 == 0 else (other, this)
        figures = {spec.title: measure(spec, workload, arguments) for spec in order}
        found.append((figures[this.title], figures[other.title]))
    return found


def rows(workload: Workload, pairs: list[tuple[Figures, Figures]]) -> list[str]:
    """The lines printed for one workload."""
    lines = []
    for metric in workload.metrics:
        values = [(a[metric.key], b[metric.key]) for a, b in pairs if a.get(metric.key) and b.get(metric.key)]
        if values:
            ratios = [a / b for a, b in values]
            low, high = interval(ratios)
            a, b = median(a for a, _ in values), median(b for _, b in values)
            lines.append(
                f"{workload.name:12} {metric.title:20} this {a:9.3f}  other {b:9.3f}  "
                f"ratio {median(ratios):.3f} [{low:.3f}, {high:.3f}] of {len(ratios)} pairs"
            )
    return lines


def main(arguments: list[str]) -> int:
    """Compare and print; returns the exit code."""
    names = [workload.name for workload in WORKLOADS]
    parser = argparse.ArgumentParser(prog="python -m tools.bench.pairs", description=__doc__)
    parser.add_argument("command", help="what starts the other build")
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--only", action="append", choices=names, help="measure this only; repeat")
    parser.add_argument("--quick", action="store_true", help="short runs: shows that both builds start")
    parser.add_argument("--dialect", choices=list(SPECS), default="yws")
    given = parser.parse_args(arguments)
    this = replace(SPECS[given.dialect], title="this")
    other = replace(SPECS[given.dialect], title="other", command=given.command.split)
    kept: dict[str, list[tuple[Figures, Figures]]] = {}
    lines: list[str] = []
    for workload in WORKLOADS:
        if workload.name in (given.only or names):
            kept[workload.name] = compare(workload, this, other, given.pairs, quick=given.quick)
            lines += rows(workload, kept[workload.name])
            (BENCH / "pairs.json").write_text(json.dumps(kept, indent=1))
    print("\n".join(lines))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
