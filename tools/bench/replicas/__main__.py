"""`python -m tools.bench.replicas`: measure replicas around Redis; writes the section of docs/benchmarks.md and the
marked parts of docs/scaling.md, from docs/benchmarks/replicas.json, where the figures are kept.

With `--only` the other parts keep their figures. With `--results` nothing is measured, and the documents are written
from the existing figures.
"""

from __future__ import annotations

import argparse
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
from tests.support.server import ROOT

from tools.bench import report as machine_report
from tools.bench.replicas import appends, commands, documents, latency, report, rooms, throughput
from tools.bench.replicas.results import Part, Results
from tools.bench.runner import say
from tools.bench.servers import BENCH, UnavailableError
from tools.bench.work import Figures

DOCS = ROOT / "docs"
QUIET_LOOK_S = 2.0  # how long other processes are observed before a round
PARTS: dict[str, Callable[[bool], Figures]] = {
    "latency": latency.measure,
    "commands": commands.measure,
    "appends": appends.measure,
    "throughput": throughput.measure,
    "documents": documents.measure,
    "rooms": rooms.measure,
}


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.replicas", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of half an hour: shows that it runs")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="measure this part only; repeat")
    parser.add_argument("--rounds", type=int, help="rounds of each part (3; quick: 1)")
    parser.add_argument(
        "--out", type=Path, help="folder of the documents to write (docs; quick: .bench/quick-replicas)"
    )
    parser.add_argument("--results", action="store_true", help="measure nothing, write the documents")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure and report; returns the exit code, 1 when a part failed."""
    given = read_arguments(arguments)
    folder: Path = given.out or (BENCH / "quick-replicas" if given.quick else DOCS)
    path = report.results_path(folder / "benchmarks.md")
    results = Results.load(path)
    failed = False
    if not given.results:
        rounds = given.rounds or (1 if given.quick else 3)
        shown = shlex.join(arguments).replace(str(given.out), given.out.name) if given.out else shlex.join(arguments)
        command = f"python -m tools.bench.replicas {shown}".strip()
        setting = machine_report.machine(command, rounds)
        wanted = given.only or list(PARTS)
        for name in wanted:
            results.parts[name] = Part(setting)
        # One round of all parts before the next round of any: a machine that drifts, drifts for all (BN5).
        for turn in range(rounds):
            for name in wanted:
                failed |= not _measure(name, results.parts[name], given.quick, f"{name}, round {turn + 1}/{rounds}")
                results.save(path)
    write(folder, results)
    return int(failed)


def write(folder: Path, results: Results) -> None:
    """Write both documents into a folder."""
    report.write_section(folder / "benchmarks.md")
    text = (DOCS / "scaling.md").read_text()
    if set(results.medians) == set(PARTS):
        (folder / "scaling.md").write_text(report.scaling(text, results.medians))
    else:
        say("scaling.md stays as it is: not all parts have been measured")


def _measure(name: str, part: Part, quick: bool, what: str) -> bool:
    say(what)
    part.others_pct.append(psutil.cpu_percent(QUIET_LOOK_S))
    try:
        figures = PARTS[name](quick)
    except (RuntimeError, OSError, TimeoutError, UnavailableError, subprocess.TimeoutExpired, AssertionError) as error:
        part.errors.append((str(error) or repr(error)).splitlines()[0])
        say(f"{what}: {error!r}")
        return False
    part.rounds.append(figures)
    say(f"{what}: " + " ".join(f"{key}={value:g}" for key, value in figures.items()))
    return True


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
