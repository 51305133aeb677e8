"""Plots of the sweeps, as SVG and PNG."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from tools.bench.runner import Results
from tools.bench.servers import SERVERS
from tools.bench.workloads import SWEEPS, Sweep

COLOURS = {
    "raffia-yws": "#d1495b",
    "raffia-hp": "#edae49",
    "hocuspocus": "#30638e",
    "y-websocket": "#00798c",
    "pycrdt-websocket": "#8d6a9f",
    "floor": "#6c757d",
}


def draw(results: Results, folder: Path) -> list[tuple[Sweep, str, str]]:
    """Draw every sweep that was measured; returns (sweep, axis title, name of the file without its suffix)."""
    mpl.rcParams.update({"svg.hashsalt": "raffia", "svg.fonttype": "none", "font.size": 10})
    drawn = []
    for sweep in SWEEPS:
        for line in sweep.plots:
            name = f"{sweep.name}-{line[0].replace('_', '-')}"
            if _draw_one(results, sweep, line, folder / name):
                drawn.append((sweep, line[1], name))
    return drawn


def _draw_one(results: Results, sweep: Sweep, what: tuple[str, str, float], path: Path) -> bool:
    key, axis, factor = what
    figure = Figure(figsize=(7.2, 4.2), layout="constrained")
    plot = figure.subplots()
    empty = True
    unit = 1024 if sweep.documents else 1
    for name in sweep.servers:
        points = results.sweeps.get(sweep.name, {}).get(name, {})
        line = [(x / unit, m.median[key] * factor) for x, m in sorted(points.items()) if key in m.median]
        if not line:
            continue
        empty = False
        style = "--" if name == "floor" else "-"
        plot.plot(
            [x for x, _ in line],
            [y for _, y in line],
            style,
            marker="o",
            markersize=4,
            color=COLOURS[name],
            label=SERVERS[name].title,
            linewidth=2.4 if name.startswith("raffia") else 1.4,
        )
    if empty:
        return False
    plot.set_xscale("log")
    plot.set_yscale("log")
    plot.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    plain = FuncFormatter(lambda value, _: f"{value:g}")
    plot.set_xticks([x / unit for x in sorted({x for s in results.sweeps[sweep.name].values() for x in s})])
    for side in (plot.xaxis, plot.yaxis):
        side.set_major_formatter(plain)
        side.set_minor_formatter(NullFormatter())
    plot.set_xlabel(sweep.axis)
    plot.set_ylabel(axis)
    plot.set_title(sweep.title, loc="left", fontsize=10)
    plot.grid(visible=True, which="major", alpha=0.3)
    plot.legend(fontsize=8, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path.with_suffix(".svg"), metadata={"Date": None})
    figure.savefig(path.with_suffix(".png"), dpi=110, metadata={"Software": None})
    return True
