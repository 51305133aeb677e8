"""What must not grow: Raffia with 10,000 connections, 10,000 documents in turn, large documents, long histories."""

from __future__ import annotations

import json
import resource
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.support.server import ROOT

from tools.bench.documents import synthetic
from tools.bench.runner import Figures, Measured, Results, say
from tools.bench.servers import RAFFIA_HP, RAFFIA_YWS, Running, UnavailableError, generate_load, load_command, running

SOURCES = [f"127.0.0.{last}" for last in range(2, 12)]
MEMORY_BOUND_PCT = 10.0
FLAT_FACTOR = 2.0  # the ratio of the largest to the smallest cost that still counts as flat: folding adds noise

# One session sends as much as the server accepts.
UNHURRIED = {"RAFFIA_MAX_UPDATES_PER_S": "0", "RAFFIA_MAX_MESSAGES_PER_S": "0", "RAFFIA_MAX_BYTES_PER_S": "0"}


@dataclass(frozen=True, slots=True)
class Growth:
    """One of these measurements."""

    name: str
    title: str
    run: Callable[[bool], list[tuple[str, Figures]]]


def raise_file_limit(wanted: int) -> None:
    """Allow this process and its children this many open files.

    Raises:
        UnavailableError: the system allows fewer.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (ValueError, OSError) as error:
        raise UnavailableError(f"{wanted} open files are needed, {hard} allowed: raise `ulimit -n`") from error


def connections(quick: bool) -> list[tuple[str, Figures]]:
    """Fill 1,000 rooms with 10,000 connections while one person types to nine others."""
    many, rooms = (60, 6) if quick else (10_000, 1_000)
    seconds = 2 if quick else 15
    raise_file_limit(many + 1_000)
    sources = [part for address in SOURCES for part in ("--source", address)]

    def typist(server: Running, when: str) -> Figures:
        # Each time in a new document: text typed again under the same client id is not new.
        work = ["--kind", "type", "-n", "10", "-w", "1", "-r", "20", "-t", str(seconds), "--document", f"typist-{when}"]
        return generate_load(server, work)

    with running(RAFFIA_YWS) as server:
        command = load_command(server, ["--kind", "crowd", "-n", str(many - 10), "--rooms", str(rooms - 1), *sources])
        alone = typist(server, "alone")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "cwd": ROOT}
        with subprocess.Popen(command, **pipes) as crowd:  # type: ignore[call-overload]
            during = typist(server, "during")
            line = crowd.stdout.readline()
            if not line:
                raise RuntimeError("the crowd did not come together; see the server's log in .bench")
            full = typist(server, "full")
            end, _ = crowd.communicate(timeout=120)
    figures: Figures = json.loads(line)
    figures["closed"] = json.loads(end.strip().splitlines()[-1])["closed"]
    figures["typist_p99_ms_alone"] = alone["p99_ms"]
    figures["typist_p99_ms_while_connecting"] = during["p99_ms"]
    figures["typist_p99_ms_when_full"] = full["p99_ms"]
    return [(f"{many:,} connections in {rooms:,} rooms", figures)]


def eviction(quick: bool) -> list[tuple[str, Figures]]:
    """Documents made and opened one after another, each evicted when idle."""
    many = 40 if quick else 10_000
    with running(RAFFIA_HP, env={"RAFFIA_ROOM_IDLE_S": "0.5"}) as server:
        arguments = ["--kind", "cycle", "-n", str(many), "--metrics-url", server.metrics_url]
        return [(f"{many:,} documents of 10 KB", generate_load(server, arguments, timeout_s=1800))]


def document_size(quick: bool) -> list[tuple[str, Figures]]:
    """The same editing on documents of 10 KB, 1 MB and 20 MB."""
    sizes = (10 << 10, 50 << 10) if quick else (10 << 10, 1 << 20, 20 << 20)
    updates = 200 if quick else 20_000
    out = []
    for size in sizes:
        with running(RAFFIA_HP, env=UNHURRIED) as server:
            arguments = ["--kind", "stream", "--checkpoint", str(updates), *synthetic(size).arguments]
            out.append((f"document of {size >> 10:,} KB", generate_load(server, arguments, timeout_s=1800)))
    return out


def history(quick: bool) -> list[tuple[str, Figures]]:
    """One document that gets 1,000,000 updates."""
    checkpoints = (50, 200) if quick else (1_000, 10_000, 100_000, 1_000_000)
    arguments = [
        "--kind",
        "stream",
        "--window",
        "256",
        *(part for n in checkpoints for part in ("--checkpoint", str(n))),
    ]
    with running(RAFFIA_HP, env=UNHURRIED) as server:
        figures = generate_load(server, arguments, timeout_s=3600)
    return [(f"{checkpoints[-1]:,} updates", figures)]


GROWTH = (
    Growth("connections", "Many connections", connections),
    Growth("eviction", "Many documents, one after another", eviction),
    Growth("document-size", "Cost per update by document size", document_size),
    Growth("history", "Cost per update by history length", history),
)


def measure(growth: Growth, results: Results, *, quick: bool) -> None:
    """Run one of them and record its figures; a failure is recorded too."""
    try:
        for title, figures in growth.run(quick):
            results.growth[f"{growth.name}: {title}"] = Measured([figures])
            say(f"growth {growth.name}: {title}: " + " ".join(f"{k}={v:g}" for k, v in figures.items()))
    except (RuntimeError, OSError, UnavailableError, subprocess.TimeoutExpired) as error:
        results.growth[growth.name] = Measured(errors=[str(error).splitlines()[0]])
        say(f"growth {growth.name}: {error}")


def flat(figures: Figures) -> float | None:
    """Cost per update in the last stretch of a stream over that in the first."""
    costs = [value for key, value in figures.items() if key.startswith("cpu_us_per_update_to_")]
    return costs[-1] / costs[0] if len(costs) > 1 else None
