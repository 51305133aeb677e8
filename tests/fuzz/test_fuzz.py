"""A short run of the fuzzer, and proof that it finds what it looks for."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.fuzz import corpus
from tests.fuzz.targets import TARGETS


def run(*arguments: str, report: Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments, "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert report.exists(), done.stderr
    return done.returncode, json.loads(report.read_text())


def test_the_corpus_is_accepted_whole() -> None:
    material = corpus.build(1)
    by_target = {
        "lib0": material.numbers[:0],
        "ywebsocket": material.ywebsocket,
        "hocuspocus": material.hocuspocus,
        "update": material.updates,
        "sv": material.state_vectors,
        "presence": material.payloads,
        "document": material.updates,
        "history": material.updates[:0],
    }
    assert by_target.keys() == TARGETS.keys()
    for name, inputs in by_target.items():
        target = TARGETS[name](material)
        for data in inputs:
            target.run(data)


def test_the_same_seed_gives_the_same_inputs() -> None:
    for name, make in TARGETS.items():
        one, two = (make(corpus.build(3)) for _ in range(2))
        assert [one.make(random.Random(f"{name}{n}")) for n in range(50)] == [
            two.make(random.Random(f"{name}{n}")) for n in range(50)
        ]


def test_a_short_run_finds_nothing_and_names_every_refusal(tmp_path: Path) -> None:
    status, reports = run("--executions", "24000", "--seed", "20", report=tmp_path / "report.json")
    assert {name: report["findings"] for name, report in reports.items()} == {name: {} for name in TARGETS}
    assert status == 0
    for report in reports.values():
        assert report["executions"] == 3000
        assert report["accepted"] + sum(report["refusals"].values()) == 3000
        assert report["accepted"] > 100
        assert set(report["refusals"]) <= {"WireError", "UpdateError", "PresenceError", "TooLargeError"}


@pytest.mark.parametrize(
    ("fault", "finding"),
    [
        ("exception", "ZeroDivisionError at targets.py"),
        ("abort", "death by SIGABRT"),
        ("hang", "hang"),
        ("memory", "MemoryError at targets.py"),
        ("growth", "memory jump"),
    ],
)
def test_the_harness_finds_faults(tmp_path: Path, fault: str, finding: str) -> None:
    status, reports = run(
        "--executions", "1000", "--seed", "1", "--targets", f"sabotage-{fault}", report=tmp_path / "r.json"
    )
    (report,) = reports.values()
    assert status == 1
    assert [what for what in report["findings"] if what.startswith(finding)]
    assert report["refusals"].keys() <= {"WireError"}
