"""Runs workloads and sweeps: servers in turn, several rounds, each on a fresh process; figures kept as JSON.

Rules:
    BN5  Within a round, every server has its turn at a workload before the next round begins: a machine that drifts,
        drifts for all.
    BN6  A server that fails is reported with its error; it neither ends the run nor vanishes from the table.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tools.bench.documents import Document, paper, synthetic
from tools.bench.servers import BENCH, SERVERS, Spec, UnavailableError, generate_load, is_raffia, running
from tools.bench.workloads import Sweep, Workload

Figures = dict[str, float]


@dataclass(slots=True)
class Measured:
    """One server under one workload: the figures of each round, and what went wrong."""

    rounds: list[Figures] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)

    @property
    def median(self) -> Figures:
        """Median of each figure over the rounds."""
        keys = {key for figures in self.rounds for key in figures}
        return {key: statistics.median(f[key] for f in self.rounds if key in f) for key in sorted(keys)}


@dataclass(slots=True)
class Results:
    """Everything measured in one run."""

    machine: dict[str, str]
    workloads: dict[str, dict[str, Measured]] = field(default_factory=dict)
    sweeps: dict[str, dict[str, dict[int, Measured]]] = field(default_factory=dict)
    growth: dict[str, Measured] = field(default_factory=dict)
    unavailable: dict[str, str] = field(default_factory=dict)
    document: str = ""

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote."""
        raw: dict[str, Any] = json.loads(path.read_text())
        many = {name: {s: Measured(**m) for s, m in servers.items()} for name, servers in raw["workloads"].items()}
        sweeps = {
            name: {s: {int(x): Measured(**m) for x, m in points.items()} for s, points in servers.items()}
            for name, servers in raw["sweeps"].items()
        }
        growth = {name: Measured(**m) for name, m in raw["growth"].items()}
        return cls(raw["machine"], many, sweeps, growth, raw["unavailable"], raw["document"])


def say(text: str) -> None:
    """Print progress on standard error."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


@dataclass(slots=True)
class Bench:
    """One run of the suite.

    Attributes:
        servers: names of the servers to measure.
        rounds: how often each workload runs; sweeps run half as often.
        quick: the short form.
        keep_as: name of the JSON file in .bench/ that the figures are kept in.
        wrapper: starts Raffia under another program, such as a profiler.
    """

    servers: Sequence[str]
    rounds: int
    quick: bool
    results: Results
    keep_as: str = "results"
    wrapper: Callable[[Spec, str], Sequence[str]] = lambda _spec, _what: ()

    def install(self) -> None:
        """Install the servers, and leave out those that cannot run."""
        for name in self.servers:
            try:
                SERVERS[name].install()
            except UnavailableError as error:
                self.results.unavailable[name] = str(error)
                say(f"{SERVERS[name].title} is left out: {error}")
        self.servers = [name for name in self.servers if name not in self.results.unavailable]

    def workload(self, workload: Workload) -> None:
        """Measure one workload in all rounds."""
        arguments = (workload.quick if self.quick else workload.arguments).split()
        if workload.needs_document:
            document = self._paper()
            arguments += document.arguments
            self.results.document = document.title
        servers = self.results.workloads.setdefault(workload.name, {})
        for turn in range(self.rounds):
            for spec in self._specs(workload.servers):
                measured = servers.setdefault(spec.name, Measured())
                self._measure(spec, arguments, measured, f"{workload.name}, round {turn + 1}/{self.rounds}")
            self.keep()

    def sweep(self, sweep: Sweep) -> None:
        """Measure one sweep."""
        servers = self.results.sweeps.setdefault(sweep.name, {})
        for turn in range(max(1, (self.rounds + 1) // 2)):
            for x in sweep.quick if self.quick else sweep.points:
                arguments = sweep.arguments.format(x=x, rooms=max(1, x // 5)).split()
                if sweep.documents:
                    arguments += synthetic(x).arguments
                for spec in self._specs(sweep.servers):
                    measured = servers.setdefault(spec.name, {}).setdefault(x, Measured())
                    self._measure(spec, arguments, measured, f"sweep {sweep.name} at {x}, round {turn + 1}")
            self.keep()

    def _paper(self) -> Document:
        return synthetic(20 << 10) if self.quick else paper()

    def _specs(self, names: Iterable[str]) -> list[Spec]:
        return [SERVERS[name] for name in names if name in self.servers]

    def _measure(self, spec: Spec, arguments: Sequence[str], measured: Measured, what: str) -> None:
        try:
            wrapper = self.wrapper(spec, what) if is_raffia(spec) else ()
            with running(spec, wrapper=wrapper) as server:
                figures = generate_load(server, arguments)
        except (RuntimeError, OSError, TimeoutError) as error:
            measured.errors.append(str(error).splitlines()[0])
            say(f"{what}: {spec.title}: {error}")
            return
        measured.rounds.append(figures)
        say(f"{what}: {spec.title}: " + " ".join(f"{key}={value:g}" for key, value in figures.items()))

    def keep(self) -> None:
        """Write the results so far to .bench/."""
        self.results.save(BENCH / f"{self.keep_as}.json")
