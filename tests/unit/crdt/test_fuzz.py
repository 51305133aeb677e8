"""The fuzz of the reader, in a process of its own: an abort inside pycrdt is seen as its exit status."""

from __future__ import annotations

import subprocess
import sys

import pytest
from tests.traces import PROJECT

MUTANTS = 3_000


def fuzz(seed: int, count: int) -> tuple[int, int]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.unit.crdt.fuzz", str(seed), str(count)],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    accepted, refused = done.stdout.split()
    return int(accepted), int(refused)


@pytest.mark.parametrize("seed", range(3))
def test_mutants_are_refused_or_harmless(seed: int) -> None:
    accepted, refused = fuzz(seed, MUTANTS)
    assert accepted > MUTANTS / 20  # both sides are really exercised
    assert refused > MUTANTS / 2


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1000, *(pytest.param(n, marks=pytest.mark.thorough) for n in range(1001, 1004))])
def test_many_mutants_are_refused_or_harmless(seed: int) -> None:
    accepted, refused = fuzz(seed, 30_000)
    assert accepted + refused > 30_000
