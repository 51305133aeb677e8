"""`python -m tools.bench`: measure Raffia next to its peers and write docs/benchmarks.md.

With `--only` figures are printed and kept in .bench/, and no report is written unless `--out` is given.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

from tests.support.server import ROOT

from tools.bench import growth, report
from tools.bench.profiling import profiler
from tools.bench.runner import Bench, Results
from tools.bench.servers import BENCH, SERVERS
from tools.bench.workloads import SWEEPS, WORKLOADS

REPORT = ROOT / "docs" / "benchmarks.md"
QUICK_SERVERS = ["raffia-yws", "raffia-hp", "hocuspocus", "y-websocket", "floor"]
SWEEP_PREFIX, GROWTH_PREFIX = "sweep-", "growth-"


def parts() -> dict[str, str]:
    """The values of `--only`, with their titles."""
    return (
        {workload.name: workload.title for workload in WORKLOADS}
        | {SWEEP_PREFIX + sweep.name: sweep.title for sweep in SWEEPS}
        | {GROWTH_PREFIX + item.name: item.title for item in growth.GROWTH}
    )


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """Parse the command line."""
    names = ", ".join(parts())
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of an hour: shows that it runs")
    parser.add_argument("--only", action="append", metavar="NAME", help=f"measure this only; repeat. One of {names}")
    parser.add_argument("--server", action="append", choices=list(SERVERS), help="measure this server only; repeat")
    parser.add_argument("--rounds", type=int, help="rounds of each workload (3; quick: 1)")
    parser.add_argument("--out", type=Path, help="the report to write (docs/benchmarks.md; quick: .bench/quick.md)")
    parser.add_argument("--results", type=Path, help="write the report from these results instead of measuring")
    parser.add_argument("--profile", choices=["cprofile", "py-spy"], help="profile Raffia into .bench/profiles/")
    given = parser.parse_args(arguments)
    for name in given.only or ():
        if name not in parts():
            parser.error(f"--only {name}: choose from {names}")
    if given.profile and given.server is None:
        given.server = ["raffia-yws", "raffia-hp"]
    return given


def main(arguments: list[str]) -> int:
    """Measure and report; returns the exit code."""
    given = read_arguments(arguments)
    if given.results is not None:
        report.write(Results.load(given.results), given.out or REPORT)
        return 0
    rounds = given.rounds or (1 if given.quick else 3)
    command = "make bench" if not arguments else "python -m tools.bench " + shlex.join(arguments)
    results = Results(report.machine(_without_paths(command, given), rounds))
    servers = given.server or (QUICK_SERVERS if given.quick else list(SERVERS))
    whole = not given.only and not given.server and not given.profile
    bench = Bench(servers, rounds, given.quick, results, "quick" if given.quick else "results" if whole else "part")
    if given.profile:
        bench.wrapper = profiler(given.profile)
    bench.install()
    wanted = set(given.only or parts())
    for workload in WORKLOADS:
        if workload.name in wanted:
            bench.workload(workload)
    for sweep in SWEEPS:
        if SWEEP_PREFIX + sweep.name in wanted:
            bench.sweep(sweep)
    for item in growth.GROWTH:
        if GROWTH_PREFIX + item.name in wanted:
            growth.measure(item, results, quick=given.quick)
    bench.keep()
    report.print_summary(results)
    out = given.out or ((BENCH / "quick.md" if given.quick else REPORT) if whole else None)
    if out is not None:
        report.write(results, out)
        print(f"wrote {out}", file=sys.stderr)
    return 0


def _without_paths(command: str, given: argparse.Namespace) -> str:
    return command.replace(str(given.out), given.out.name) if given.out else command


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
