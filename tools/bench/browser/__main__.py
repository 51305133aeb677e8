"""`python -m tools.bench.browser`: measure the browser app among many people; writes the section of docs/benchmarks.md
from docs/benchmarks/browser.json, where the figures are kept.

With `--only` the other parts keep their figures. With `--results` nothing is measured, and the document is written from
the existing figures.
"""

from __future__ import annotations

import argparse
import asyncio
import shlex
import sys
from pathlib import Path

import psutil
from playwright.async_api import Error
from tests.support.server import ROOT

from tools.bench import report as machine_report
from tools.bench.browser import parts, results
from tools.bench.replicas.results import Part as Kept
from tools.bench.replicas.results import Results
from tools.bench.runner import say
from tools.bench.servers import BENCH
from tools.bench.work import Figures

DOCS = ROOT / "docs"
QUIET_LOOK_S = 2.0  # how long other processes are observed before a round
NAMES = [*parts.PARTS, parts.LOAD]


def read_arguments(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.browser", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="seconds instead of minutes: shows that it runs")
    parser.add_argument("--only", action="append", choices=NAMES, help="measure this part only; repeat")
    parser.add_argument("--rounds", type=int, help="rounds of each part (3; quick: 1)")
    parser.add_argument("--out", type=Path, help="folder of the document to write (docs; quick: .bench/quick-browser)")
    parser.add_argument("--results", action="store_true", help="measure nothing, write the document")
    return parser.parse_args(arguments)


def main(arguments: list[str]) -> int:
    """Measure and report; returns the exit code, 1 when a part failed."""
    given = read_arguments(arguments)
    folder: Path = given.out or (BENCH / "quick-browser" if given.quick else DOCS)
    path = results.results_path(folder / "benchmarks.md")
    kept = Results.load(path)
    failed = False
    if not given.results:
        rounds = given.rounds or (1 if given.quick else 3)
        shown = shlex.join(arguments).replace(str(given.out), given.out.name) if given.out else shlex.join(arguments)
        setting = machine_report.machine(f"python -m tools.bench.browser {shown}".strip(), rounds)
        wanted = given.only or NAMES
        for name in wanted:
            kept.parts[name] = Kept(setting)
        for turn in range(rounds):
            for name in wanted:
                failed |= not _measure(name, kept.parts[name], given.quick, f"{name}, round {turn + 1}/{rounds}")
                kept.save(path)
    results.write_section(folder / "benchmarks.md")
    return int(failed)


def _measure(name: str, kept: Kept, quick: bool, what: str) -> bool:
    say(what)
    kept.others_pct.append(psutil.cpu_percent(QUIET_LOOK_S))
    try:
        figures = asyncio.run(_round(name, quick))
    except (RuntimeError, OSError, TimeoutError, Error, AssertionError) as error:
        kept.errors.append((str(error) or repr(error)).splitlines()[0])
        say(f"{what}: {error!r}")
        return False
    kept.rounds.append(figures)
    say(f"{what}: " + " ".join(f"{key}={value:.4g}" for key, value in figures.items()))
    return True


async def _round(name: str, quick: bool) -> Figures:
    if name == parts.LOAD:
        return await parts.load()
    part = parts.PARTS[name]
    return await parts.measure(parts.quick(part) if quick else part)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
