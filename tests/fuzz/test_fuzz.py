"""A short run of the fuzzer, and proof that it finds what it looks for."""

from __future__ import annotations

import json
import logging
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tools.fuzz import corpus
from tools.fuzz.guided import KEPT, kept
from tools.fuzz.known import KNOWN, is_known
from tools.fuzz.parts import MAX_PARTS, join, mutate_parts, split
from tools.fuzz.registry import TARGETS, seeds
from tools.fuzz.targets import REFUSALS

NAMED = {
    *("WireError", "UpdateError", "PresenceError", "TooLargeError", "QuarantinedError", "UnauthenticatedError"),
    *("LaterError", "RoomFullError", "FrameError"),
}


def run(*arguments: str, report: Path) -> tuple[int, dict[str, Any]]:
    command = [sys.executable, "-m", "tools.fuzz", *arguments, "--json", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert report.exists(), done.stderr
    return done.returncode, json.loads(report.read_text())


def test_the_corpus_is_accepted_whole() -> None:
    material = corpus.build(1)
    for name in ("ywebsocket", "hocuspocus", "update", "sv", "presence", "document", "documents", "exact", "views"):
        target = TARGETS[name](material)
        inputs = seeds(name, material)
        assert inputs
        for data in inputs:
            target.run(data)


@pytest.mark.parametrize("name", TARGETS)
def test_c4_what_was_once_reached_is_run_again(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)
    inputs = kept(name)
    assert inputs, f"tools/fuzz/corpus/{name}.txt is missing: python -m tools.fuzz --minutes 5 --targets {name} --keep"
    target = TARGETS[name](corpus.build(1))
    accepted = 0
    for data in inputs:
        try:
            target.run(data)
            accepted += 1
        except REFUSALS:
            pass
    assert accepted


def test_c4_what_is_kept_stays_small() -> None:
    assert {path.stem for path in KEPT.iterdir()} == set(TARGETS)
    assert sum(path.stat().st_size for path in KEPT.iterdir()) < 300_000


def test_parts_any_bytes_are_a_sequence() -> None:
    rng = random.Random(1)
    for _ in range(300):
        data = rng.randbytes(rng.randrange(30))
        parts = split(data)
        assert split(join(parts)) == parts
        assert len(split(mutate_parts(rng, data, lambda rng: rng.randbytes(3), lambda _, part: part[1:]))) <= MAX_PARTS


SHOW = """
import logging, sys
from tools.fuzz import corpus
from tools.fuzz.child import what_broke
from tools.fuzz.registry import TARGETS
logging.disable()
target = TARGETS[sys.argv[1]](corpus.build(1))
try:
    target.run(bytes.fromhex(sys.argv[2]))
except Exception as error:
    print(what_broke(error))
"""


def test_what_is_known_is_still_so() -> None:
    for known in KNOWN:
        command = [sys.executable, "-c", SHOW, known.target, known.data.hex()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        shown = "death" if done.returncode < 0 else done.stdout
        assert shown.startswith(known.what), f"it is mended, or shows itself otherwise: {done}"


def test_the_same_seed_gives_the_same_inputs() -> None:
    for name, make in TARGETS.items():
        one, two = (make(corpus.build(3)) for _ in range(2))
        assert [one.make(random.Random(f"{name}{n}")) for n in range(50)] == [
            two.make(random.Random(f"{name}{n}")) for n in range(50)
        ]


# Executions of each target, and how many inputs have to be accepted; `make fuzz` runs a million, and C4 above repeats
# what those have reached.
EXECUTIONS = [(40, 0), pytest.param((200, 10), marks=pytest.mark.thorough)]


@pytest.mark.slow
@pytest.mark.parametrize("size", EXECUTIONS)
def test_a_short_run_finds_nothing_and_names_every_refusal(tmp_path: Path, size: tuple[int, int]) -> None:
    executions, accepted = size
    count = str(executions * len(TARGETS))
    status, reports = run("--executions", count, "--seed", "20", report=tmp_path / "report.json")
    assert not [(name, found) for name, report in reports.items() for found in report["findings"].items()
                if not is_known(name, found[0])]  # fmt: skip
    assert status == 0
    for report in reports.values():
        assert report["executions"] == executions
        if not report["findings"]:
            assert report["accepted"] + sum(report["refusals"].values()) == executions
        assert report["accepted"] > accepted
        assert set(report["refusals"]) <= NAMED


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
