"""The measurements in the browser run end to end in their quick form.

No figure is compared with a time: machines differ.
"""

from __future__ import annotations

import math
import random
import subprocess
import sys
from pathlib import Path

import pytest
from tools.bench.browser import content, results
from tools.bench.browser.parts import LOAD, PARTS
from tools.bench.replicas.results import Part as Kept
from tools.bench.replicas.results import Results

from tests.support.server import ROOT

QUICK_S = 600
MACHINE = {"date": "2030-01-01", "command": "c é", "rounds": "1", "machine": "2 cores", "python": "3", "node": "22"}


@pytest.mark.slow
def test_the_quick_form_measures_everything_and_writes_its_section(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.bench.browser", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=QUICK_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    found = Results.load(tmp_path / "benchmarks" / "browser.json")
    assert set(found.medians) == {*PARTS, LOAD}
    assert not [error for part in found.parts.values() for error in part.errors]
    medians = found.medians
    assert all(math.isfinite(value) and value >= 0 for figures in medians.values() for value in figures.values())
    for name, part in PARTS.items():
        figures = medians[name]
        # A frame is the least that an answer takes; all of it lies in its order.
        assert 0 < figures["p50_ms"] <= figures["p95_ms"] <= figures["p99_ms"] <= figures["max_ms"]
        assert figures["edits_per_s"] > 0
        assert figures["presence_per_s"] > 0
        if part.kind == "document":
            assert figures["missing"] == 0  # what all have typed is what the browser shows
            assert figures["inputs"] >= 20
        else:
            assert figures["inputs"] >= 300  # each movement of the pointer counts, also those that the browser joins
    for page in ("home", "document", "board"):
        assert 0 < medians[LOAD][f"{page}_first_visible_ms"] <= medians[LOAD][f"{page}_first_usable_ms"]
        # Everything but the page itself comes from the browser's own store the second time.
        assert medians[LOAD][f"{page}_again_kb"] < medians[LOAD][f"{page}_first_kb"] / 5

    text = (tmp_path / "benchmarks.md").read_text()
    assert text.count(results.HEADING) == 1
    assert all(part.title in text for part in PARTS.values())
    assert str(ROOT) not in text
    assert str(tmp_path) not in text


def kept(p95_ms: float, task_ms: float) -> Kept:
    figures = {"p50_ms": 20.0, "p95_ms": p95_ms, "p99_ms": p95_ms, "longest_task_ms": task_ms, "load_task_ms": 30.0}
    return Kept(MACHINE, [{**figures, "main_thread_cpu_pct": 12.0}], [], [50.0])


def test_ir1_the_section_replaces_itself_and_leaves_the_rest(tmp_path: Path) -> None:
    report = tmp_path / "benchmarks.md"
    report.write_text("# Benchmarks\n\nFirst.\n\n## Replicas\n\nSecond.\n\n## How it is measured\n\nLast.\n")
    Results({"board": kept(80, 300)}).save(results.results_path(report))
    for _ in range(2):
        results.write_section(report)
    text = report.read_text()
    marks = ("First.", results.HEADING, "| met |", "50 % of the machine", "## Replicas", "Second.", "Last.")
    assert [text.count(mark) for mark in marks] == [1] * len(marks)
    assert [text.index(mark) for mark in marks] == sorted(text.index(mark) for mark in marks)

    Results({"board": kept(80, 501)}).save(results.results_path(report))
    results.write_section(report)
    assert "**missed**" in report.read_text()


def test_the_order_of_elements_is_that_of_their_numbers() -> None:
    keys = [content.order_key(number) for number in range(6000)]
    assert keys == sorted(set(keys))
    assert keys[0] == "a0"
    kinds = {content.element(number, random.Random(number))["m"]["type"] for number in range(50)}
    assert {"rectangle", "text", "arrow", "freedraw"} <= kinds
