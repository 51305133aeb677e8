"""Writes docs/benchmarks.md from results: the targets, the table, the plots, growth, and how it was measured."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path

from tools.bench.browser import results as browser
from tools.bench.growth import FLAT_FACTOR, GROWTH, MEMORY_BOUND_PCT, flat
from tools.bench.plots import draw
from tools.bench.replicas.report import section
from tools.bench.runner import Figures, Measured, Results
from tools.bench.servers import SERVERS
from tools.bench.tables import table
from tools.bench.workloads import TARGETS, WORKLOADS, Workload

INTRODUCTION = """\
# Benchmarks

Written by `make bench`, which overwrites edits. Raffia runs as `raffia serve` with everything enabled: acknowledgements
after the edit is on disk (SQLite, `synchronous=FULL`), all limits, and metrics. The peers run as their documentation
describes and store nothing, so their acknowledgement means "in memory". The C floor is not a server but a lower bound:
it sends each update with one `send()` per reader and does nothing else.
"""

METHOD = """\
## How it is measured

The server runs on one core and the load generator on another. In each round every server runs the workload once, in a
fresh process; figures are medians over the rounds. CPU is the user and system time of the server and its children.
Latency is the time from one client's send to another client's receipt, matched by a token in each update.
Acknowledgement latency ends when the writer receives its SyncStatus (Hocuspocus protocol) or its own update
(y-websocket protocol). The first second of editing is not counted. *CPU per delivery* divides by updates times
receivers, even if a server merges updates into fewer frames (*frames per delivery*). If *% of a core* is near 100, the
server is saturated and its latency is that of a queue.
Absolute figures depend on the machine and on what else it is doing; ratios within one run are more meaningful.
"""


NOISY_PCT = 3.0  # a longer wait for a core shows in the latency


def machine(command: str, rounds: int) -> dict[str, str]:
    """The setting of the measurement, with nothing that identifies the machine."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True, check=False).stdout.strip()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "command": command,
        "rounds": str(rounds),
        "machine": f"{len(os.sched_getaffinity(0))} cores, {platform.machine()}, {platform.system()}",
        "python": platform.python_version(),
        "node": node.removeprefix("v") or "none",
    }


def write(results: Results, path: Path) -> None:
    """Write the report, and its plots into a folder of the same name beside it."""
    drawn = draw(results, path.with_suffix(""))
    plots = [f"![{sweep.title}: {axis}]({path.stem}/{name}.svg)" for sweep, axis, name in drawn]
    parts = [INTRODUCTION, _setting(results), "## Targets\n", _targets(results), "## Workloads\n", _workloads(results)]
    if plots:
        parts += ["## By size\n", "\n\n".join(plots) + "\n"]
    if results.growth:
        parts += ["## Growth\n", _growth(results)]
    parts += browser.section(path) + section(path)  # measured by their own commands
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*parts, METHOD]))


def _setting(results: Results) -> str:
    given = results.machine
    lines = [
        f"Measured {given['date']} with `{given['command']}` ({given['rounds']} rounds) on {given['machine']}, "
        f"Python {given['python']}, Node {given['node']}."
    ]
    if "hocuspocus" in SERVERS and given["node"].split(".")[0].isdigit() and int(given["node"].split(".")[0]) < 22:
        lines.append("Hocuspocus 4.7 requires Node 22; here it ran on the Node version above.")
    if "--quick" in given["command"]:
        lines.append("**This is the quick version, with far fewer clients and seconds than the titles say.**")
    if _disturbed(results):
        lines.append(
            "**Other processes used part of both cores during this run (see the notes), so it shows that things work, "
            "but not how fast.**"
        )
    lines += [f"Left out: {SERVERS[name].title} ({reason})." for name, reason in results.unavailable.items()]
    return "\n".join(lines) + "\n"


def _disturbed(results: Results) -> bool:
    """Whether in more than a quarter of the measurements the server or the load generator waited for its core."""
    measured = [m.median for servers in results.workloads.values() for m in servers.values()]
    waits = [max(f["server_waited_pct"], f["load_waited_pct"]) for f in measured if "server_waited_pct" in f]
    return sum(wait > NOISY_PCT for wait in waits) * 4 > len(waits)


def _targets(results: Results, *, all_of_them: bool = True) -> str:
    rows = []
    for target in TARGETS:
        if not all_of_them and target.workload not in results.workloads:
            continue
        medians = {name: m.median for name, m in results.workloads.get(target.workload, {}).items()}
        judged = target.judge(medians)
        title = next(w.title for w in WORKLOADS if w.name == target.workload)
        measured, verdict = (judged[0], "met" if judged[1] else "**missed**") if judged else ("–", "not measured")
        rows.append([_title(title, results), target.text, measured, verdict])
    return table(["workload", "target", "measured: ratio (ours / theirs)", ""], rows)


def _title(title: str, results: Results) -> str:
    return title.format(document=results.document or "the automerge-paper document")


def _workloads(results: Results) -> str:
    parts = []
    for workload in WORKLOADS:
        servers = results.workloads.get(workload.name)
        if servers:
            parts += [f"### {_title(workload.title, results)}\n", _one(workload, servers)]
    return "\n".join(parts)


def _one(workload: Workload, servers: dict[str, Measured]) -> str:
    rows = []
    for name, measured in servers.items():
        median = measured.median
        cells = [f"{median[m.key]:.{m.digits}f}" if m.key in median else "–" for m in workload.metrics]
        rows.append([SERVERS[name].title, *cells, _notes(measured, acknowledges=bool(SERVERS[name].acknowledges))])
    return table(["server", *(metric.title for metric in workload.metrics), "notes"], rows)


def _notes(measured: Measured, *, acknowledges: bool) -> str:
    """What makes a figure less reliable: lost, refused or unacknowledged edits, closed sockets, failed rounds."""
    notes = []
    for key in ("missing", "closed", "refused", *(["unacknowledged"] if acknowledges else [])):
        worst = max((figures.get(key, 0) for figures in measured.rounds), default=0)
        if worst:
            notes.append(f"{worst:.0f} {key}")
    if max((figures.get("load_cpu_pct", 0) for figures in measured.rounds), default=0) > 90:
        notes.append("the load generator was saturated")
    for key, who in (("server_waited_pct", "server"), ("load_waited_pct", "load generator")):
        waited = measured.median.get(key, 0)
        if waited > NOISY_PCT:
            notes.append(f"other processes kept the {who} waiting {waited:.0f} % of the time")
    if measured.errors:
        notes.append(f"{len(measured.errors)} of {len(measured.errors) + len(measured.rounds)} rounds failed")
    return "; ".join(notes)


def _growth(results: Results) -> str:
    parts = []
    for growth in GROWTH:
        found = {k: m for k, m in results.growth.items() if k.partition(":")[0] == growth.name}
        if not found:
            continue
        parts.append(f"### {growth.title}\n")
        parts += [f"Failed: {error}\n" for m in found.values() for error in m.errors]
        measured = {key.partition(": ")[2]: m.median for key, m in found.items() if m.rounds}
        if measured:
            keys = list(dict.fromkeys(key for m in found.values() for figures in m.rounds for key in figures))
            rows = [
                [
                    key.replace("_", " "),
                    *(f"{figures[key]:g}" if key in figures else "–" for figures in measured.values()),
                ]
                for key in keys
            ]
            parts += [table(["", *measured], rows), _verdict(growth.name, list(measured.values()), found) + "\n"]
    return "\n".join(parts)


def _verdict(name: str, columns: list[Figures], found: dict[str, Measured]) -> str:
    if name == "eviction":
        growth = columns[0]["growth_pct"]
        met = "met" if growth <= MEMORY_BOUND_PCT else "**missed**"
        return f"Target: memory within {MEMORY_BOUND_PCT:.0f} % of where it started. Measured {growth:+.1f} %: {met}."
    if name == "document-size" and len(columns) > 1:
        return _flatness("largest", "smallest", columns[-1]["cpu_us_per_update"] / columns[0]["cpu_us_per_update"])
    if name == "history":
        (measured,) = found.values()
        ratio = flat(measured.rounds[0])
        return _flatness("last", "first", ratio) if ratio is not None else ""
    return (
        "No target, for information only. Load generator and typist share a core, so latency while connecting includes "
        "both."
    )


def _flatness(last: str, first: str, ratio: float) -> str:
    met = "met" if ratio <= FLAT_FACTOR else "**missed**"
    return (
        f"Target: the cost per update does not grow (a factor of {FLAT_FACTOR:g} counts as noise and compaction). "
        f"Cost of the {last} relative to the {first}: {ratio:.2f}, {met}."
    )


def print_summary(results: Results) -> None:
    """Print the targets and tables of what was measured."""
    targets = _targets(results, all_of_them=False) if results.workloads else ""
    sys.stdout.write("\n".join(part for part in (targets, _workloads(results), _growth(results)) if part))
