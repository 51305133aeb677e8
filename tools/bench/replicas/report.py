"""The parts of docs/benchmarks.md and docs/scaling.md that show the measurements with replicas.

Rules (tests quote these ids):
    BR6  Both documents contain parts between marks that are generated from docs/benchmarks/replicas.json alone, so
         they show what was measured. Everything else in docs/scaling.md is written by hand.
    BR7  A cell is the median, followed by the lowest and the highest of all rounds if there were several.
"""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from pathlib import Path

from tools.bench.replicas.commands import COUNTS
from tools.bench.replicas.model import BUSY, KEYS, Constants, Crowd, Needs, needs
from tools.bench.replicas.results import Results
from tools.bench.section import place
from tools.bench.tables import table
from tools.bench.work import Figures

HEADING = "## Replicas\n"
NEXT = "## How it is measured"
NOISY_PCT = 10.0  # others' work that shows
CROWDS = tuple(Crowd(clients, people=10, writing=1) for clients in (1_000, 10_000, 100_000, 1_000_000))
AUDIENCES = tuple(Crowd(clients, people=1000, writing=2) for clients in (10_000, 1_000_000))


def results_path(report: Path) -> Path:
    """The path of the figures for a report."""
    return report.with_suffix("") / "replicas.json"


def section(report: Path) -> list[str]:
    """The section of docs/benchmarks.md, in parts; empty if nothing has been measured."""
    results = Results.load(results_path(report))
    return [HEADING, _section(results)] if results.parts else []


def write_section(report: Path) -> None:
    """Put the section in its place in an existing report, or write a report with it alone."""
    place(report, HEADING, "\n".join(section(report)), (NEXT,))


# -- the section


def _section(results: Results) -> str:
    titles = {
        "latency": ("Latency across replicas", _latency),
        "commands": ("Redis commands per keystroke", _commands),
        "appends": ("CPU per append", _figures),
        "throughput": ("Append rate of one Redis", _throughput),
        "documents": ("Redis memory", _figures),
        "rooms": ("Idle open documents", _figures),
    }
    parts = [_how(results)]
    for name, (title, show) in titles.items():
        part = results.parts.get(name)
        if part is None:
            continue
        given = part.setting
        parts.append(f"### {title}\n\n{ABOUT[name]}\n")
        parts += [f"Failed: {error}\n" for error in part.errors]
        if part.rounds:
            parts.append(show(part.values()))
        others = statistics.median(part.others_pct or [0.0])
        noise = f"; **other processes had {others:.0f} % of the machine**" if others > NOISY_PCT else ""
        rounds = "1 round" if len(part.rounds) == 1 else f"{len(part.rounds)} rounds"
        parts.append(f"{rounds}, {given['date']}, `{given['command']}`{noise}.\n")
    return "\n".join(parts)


ABOUT = {
    "latency": (
        "A typist and a reader on one replica, and a reader on another: the time from sending a keystroke until each "
        "reader receives it, and the difference between the two for the same keystroke. Light: one typist with 10 "
        "keystrokes/s. Moderate: 100 typists with 10/s each on 20 documents. Hocuspocus runs with its Redis extension."
    ),
    "commands": (
        "One typist with 10 keystrokes/s on the first of N servers that all have the document open, without idle "
        "traffic. *Others* includes the commands that scripts run: Raffia's append is one script that reads, adds, "
        "publishes and records. Hocuspocus stores nothing here."
    ),
    "appends": (
        "500 keystrokes/s on 200 documents on one replica, Hocuspocus protocol, without the CPU time of idle "
        "processes. *Followed* is a second replica that receives the same keystrokes from Redis."
    ),
    "throughput": (
        "A driver sends what the journal's writer sends, without WebSockets, so that our Python code is not the "
        "bottleneck: 8 connections, 4,000 documents, two subscribed connections per document. The table shows the "
        "highest rate with a p99 of at most 50 ms and 95 % of the replies in time, and the next rate, which failed "
        "twice. The AOF is not rewritten during the measurement. Redis, its fsync and the driver share the two cores "
        "and one disk."
    ),
    "documents": ("Written through the journal; `used_memory` of Redis, without buffers."),
    "rooms": (
        "3,000 documents open on one replica, and nobody types. Reconnect: Redis drops the subscription connection; "
        "the time until all channels are subscribed and all logs read again."
    ),
}


def _how(results: Results) -> str:
    setting = next(iter(results.parts.values())).setting
    return (
        "Written by `python -m tools.bench.replicas`, which is part of `make bench`. Raffia runs as `raffia serve "
        f"--redis`, Redis syncs its AOF every second, and everything runs on one machine ({setting['machine']}) "
        "without being pinned to cores. Cells are medians; where there were several rounds, (lowest to highest) "
        "follows.\n"
    )


def _cell(values: Sequence[float], digits: int = 1) -> str:
    ordered = sorted(values)
    middle = (
        ordered[len(ordered) // 2]
        if len(ordered) % 2
        else (ordered[len(ordered) // 2 - 1] + ordered[len(ordered) // 2]) / 2
    )
    text = f"{middle:,.{digits}f}"
    return text if ordered[0] == ordered[-1] else f"{text} ({ordered[0]:,.{digits}f} to {ordered[-1]:,.{digits}f})"


def _latency(values: dict[str, list[float]]) -> str:
    rows = []
    for kind, title in (("raffia", "Raffia"), ("hocuspocus", "Hocuspocus 4.7")):
        for load in ("light", "moderate"):
            cells = [
                _cell(values[f"{kind}_{load}_{what}_p{percent}_ms"], 2)
                for what in ("same", "other", "added")
                for percent in (50, 99)
            ]
            rows.append([f"{title}, {load}", *cells])
    head = ["ms", "same p50", "same p99", "other p50", "other p99", "added p50", "added p99"]
    return table(head, rows)


def _commands(values: dict[str, list[float]]) -> str:
    rows = []
    for kind, title in (("typing", "text"), ("moving", "text and cursor")):
        for count in COUNTS:
            for server, name in (("raffia", "Raffia"), ("hocuspocus", "Hocuspocus 4.7")):
                prefix = f"{server}_{count}_{kind}"
                if f"{prefix}_publishes" in values:
                    cells = [_cell(values[f"{prefix}_{key}"], 2) for key in ("publishes", "scripts", "others")]
                    cells += [_cell(values[f"{prefix}_{key}"], 0) for key in ("in_bytes", "out_bytes", "redis_cpu_us")]
                    rows.append([f"{name}, {count} servers, {title}", *cells])
    head = ["per keystroke", "publishes", "scripts", "others", "bytes in", "bytes out", "Redis CPU µs"]
    return table(head, rows)


def _throughput(values: dict[str, list[float]]) -> str:
    rows = []
    for name in ("everysec", "always"):
        keys = ("best_p50_ms", "best_p99_ms", "best_redis_us", "best_redis_cpu_pct", "best_driver_cpu_pct")
        cells = [_cell(values[f"{name}_{key}"]) if f"{name}_{key}" in values else "–" for key in keys]
        fails = _cell(values[f"{name}_fails_at_per_s"], 0) if f"{name}_fails_at_per_s" in values else "not reached"
        rows.append([f"`appendfsync {name}`", _cell(values[f"{name}_per_s"], 0), fails, *cells])
    head = ["", "appends/s", "failed at", "p50 ms", "p99 ms", "Redis CPU µs", "Redis % of a core", "driver % of a core"]
    rest = {key: found for key, found in values.items() if key.startswith("redis_us")}
    return table(head, rows) + "\n" + _figures(rest)


def _figures(values: dict[str, list[float]]) -> str:
    return table(["", "measured"], [[key.replace("_", " "), _cell(found, 2)] for key, found in values.items()])


# -- docs/scaling.md


def mark(name: str) -> re.Pattern[str]:
    """Finds a part that is written by this module (BR6)."""
    return re.compile(rf"(<!-- measured: {name} -->\n).*?(<!-- end -->)", re.DOTALL)


def scaling(text: str, medians: dict[str, Figures]) -> str:
    """Regenerate the marked parts of docs/scaling.md.

    Raises:
        ValueError: a mark is missing.
    """
    constants = Constants.of(medians)
    for name, content in (
        ("constants", _constants(constants)),
        ("crowds", _crowds(constants, CROWDS)),
        ("audiences", _crowds(constants, AUDIENCES)),
        ("limits", _limits(constants)),
    ):
        text, count = mark(name).subn(lambda found, content=content: f"{found[1]}\n{content}\n{found[2]}", text)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"docs/scaling.md has {count} parts marked {name}; there has to be one")
    return text


def _number(value: float) -> str:
    """Format a number with three digits, which is more than such figures are worth."""
    if value == 0:
        return "0"
    if abs(value) >= 100:
        size = 10 ** (len(str(int(abs(value)))) - 3)
        return f"{round(value / size) * size:,.0f}"
    return f"{value:.3g}"


def _constants(constants: Constants) -> str:
    rows = [[f"`{name}`", about, _number(getattr(constants, name))] for name, (_, _, about) in KEYS.items()]
    return table(["name", "what", "measured"], rows)


def _crowds(constants: Constants, crowds: Sequence[Crowd]) -> str:
    rows = []
    for crowd in crowds:
        for together in (False, True):
            found = needs(constants, crowd, together=together)
            rows.append([f"{crowd.clients:,}", "hashed" if together else "any", *_needs(found)])
    head = ["clients", "replica", "open documents", "keystrokes/s", "on replicas each", "replicas", "their memory GB"]
    head += [
        "Redis commands/s",
        "Redis messages/s",
        "Redis MB/s out",
        "Redis cores",
        "Redis servers",
        "Redis memory GB",
    ]
    return table(head, rows)


def _needs(found: Needs) -> list[str]:
    values = [
        found.documents,
        found.keystrokes_per_s,
        found.spread,
        found.replicas,
        found.replica_gb,
        found.redis_ops_per_s,
    ]
    values += [found.redis_messages_per_s, found.redis_mb_per_s, found.redis_cores]
    cells = [_number(value) for value in values]
    cells[3] = f"{found.replicas:,}"
    return [*cells, f"{found.redis_servers:,}", _number(found.redis_gb)]


def _limits(constants: Constants) -> str:
    rows = []
    for together, title in ((True, "hashed"), (False, "any")):
        for what, is_over in (
            ("one replica", lambda found: found.replicas > 1),
            ("one Redis", lambda found: found.redis_servers > 1),
        ):
            least, most = 1, 1 << 30
            while least < most:  # the largest crowd that still fits
                middle = (least + most + 1) // 2
                fits = not is_over(needs(constants, Crowd(middle, people=10, writing=1), together=together))
                least, most = (middle, most) if fits else (least, middle - 1)
            if not (what == "one replica" and not together):
                rows.append([what, "–" if what == "one replica" else title, _number(least), _number(least / 10)])
    share = f"at {BUSY:.0%} of a core"
    return table([f"{share}, ten people per document", "replica", "clients", "of these typing"], rows)
