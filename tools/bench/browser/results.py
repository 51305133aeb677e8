"""Where the figures of the browser are kept, and the section of docs/benchmarks.md that is written from them.

Rules (tests quote these ids):
    IR1  The section is written from docs/benchmarks/browser.json alone; the rest of the document stays as it is.
    IR2  A cell is the median, with the least and the most of all rounds behind it when there were several.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from tools.bench.browser.parts import LOAD, PARTS
from tools.bench.replicas.results import Part as Kept
from tools.bench.replicas.results import Results
from tools.bench.section import place
from tools.bench.tables import table

HEADING = "## Browser\n"
NEXT = ("## Replicas\n", "## How it is measured")
NOISY_PCT = 10.0  # others' work that shows

METHOD = """\
Written by `python -m tools.bench.browser`, which is part of `make bench`. A real `raffia serve`, Debian's Chromium
without a GPU, and a separate process that simulates the other people all run on one machine ({machine}). Cells are
medians; where there were several rounds, (lowest to highest) follows.

*Latency* starts at the timestamp that the browser gives an event, before the event waits in any queue. It ends when the
frame after its handlers has been painted, measured by a message posted in that frame's callback, which arrives after
style, layout and paint. On a board it ends one frame later, because Excalidraw records a movement in one frame and
draws it in the next. At 60 frames per second, expect about 16 ms in a document and 33 ms on a board at best. Input
arrives at fixed times, whether or not the page has handled the previous input. Raster threads and the screen are not
included. *Tasks* are main thread tasks that start after the page has become usable. *CPU* is the CPU time of the main
thread.
"""


def results_path(report: Path) -> Path:
    """Where the figures lie that belong to a report."""
    return report.with_suffix("") / "browser.json"


def section(report: Path) -> list[str]:
    """The section of docs/benchmarks.md, in parts; none when nothing has been measured."""
    results = Results.load(results_path(report))
    return [HEADING, _section(results)] if results.parts else []


def write_section(report: Path) -> None:
    """Put the section in its place in a report that is there, or make a report of it alone."""
    place(report, HEADING, "\n".join(section(report)), NEXT)


def _section(results: Results) -> str:
    setting = next(iter(results.parts.values())).setting
    parts = [METHOD.format(machine=setting["machine"])]
    worked = [name for name in PARTS if name in results.parts]
    if worked:
        parts.append("### Input while others work\n")
        parts.append(_inputs(results, worked))
        parts += [_under(results.parts[name], PARTS[name].title) for name in worked]
    if LOAD in results.parts:
        parts.append("### Opening pages\n")
        parts.append(_loads(results.parts[LOAD]))
        parts.append(_under(results.parts[LOAD], ""))
    return "\n".join(parts)


def _inputs(results: Results, names: Sequence[str]) -> str:
    rows = []
    for name in names:
        part, values = PARTS[name], results.parts[name].values()
        if not values:
            continue
        cell = {key: _cell(found) for key, found in values.items()}
        p95 = statistics.median(values["p95_ms"])
        longest = statistics.median(values["longest_task_ms"])
        met = p95 < part.p95_ms and (part.task_ms is None or longest < part.task_ms)
        target = f"p95 < {part.p95_ms:g}" + (f", task < {part.task_ms:g}" if part.task_ms else "")
        rows.append(
            [
                part.title,
                target,
                cell["p50_ms"],
                cell["p95_ms"],
                cell["p99_ms"],
                cell["longest_task_ms"],
                cell["main_thread_cpu_pct"],
                cell["load_task_ms"],
                "met" if met else "**missed**",
            ]
        )
    head = [
        "",
        "target ms",
        "p50 ms",
        "p95 ms",
        "p99 ms",
        "longest task ms",
        "% of a core",
        "longest task while loading ms",
    ]
    return table([*head, ""], rows)


def _loads(part: Kept) -> str:
    values = part.values()
    rows = []
    for page in ("home", "document", "board"):
        for visit, title in (("first", "first visit"), ("again", "again")):
            keys = [f"{page}_{visit}_{what}" for what in ("visible_ms", "usable_ms", "load_task_ms", "kb", "files")]
            if all(key in values for key in keys):
                rows.append([f"{page}, {title}", *(_cell(values[key]) for key in keys)])
    text = table(["", "visible ms", "usable ms", "longest task ms", "KB loaded", "files"], rows)
    if "click_visible_ms" in values:
        took = _cell(values["click_visible_ms"])
        text += f"\nFrom a click in the list on the home page to the document's text: {took} ms.\n"
    return text


def _under(part: Kept, title: str) -> str:
    given = part.setting
    others = statistics.median(part.others_pct or [0.0])
    noise = f"; **other processes had {others:.0f} % of the machine**" if others > NOISY_PCT else ""
    rounds = "1 round" if len(part.rounds) == 1 else f"{len(part.rounds)} rounds"
    failed = "".join(f" Failed: {error}." for error in part.errors)
    return f"{title + ': ' if title else ''}{rounds}, {given['date']}, `{given['command']}`{noise}.{failed}\n"


def _cell(values: Sequence[float]) -> str:
    ordered = sorted(values)
    digits = 1 if max(map(abs, ordered)) < 10 else 0
    text = f"{statistics.median(ordered):,.{digits}f}"
    spread = f"{ordered[0]:,.{digits}f} to {ordered[-1]:,.{digits}f}"
    return text if ordered[0] == ordered[-1] else f"{text} ({spread})"
