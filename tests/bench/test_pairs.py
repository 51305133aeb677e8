"""The comparison of two builds: PAR1 and PAR2 of tools/bench/pairs.py."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tools.bench.pairs import interval, rows
from tools.bench.workloads import WORKLOADS


@pytest.mark.parametrize(
    ("ratios", "bounds"),
    [
        ([1.0, 1.1], (1.0, 1.1)),
        ([float(number) for number in range(10)], (1.0, 8.0)),
        ([float(number) for number in range(20)], (5.0, 14.0)),
    ],
)
def test_par2_the_interval_holds_the_median_of_what_was_drawn(ratios: list[float], bounds: tuple[float, float]) -> None:
    assert interval(list(reversed(ratios))) == bounds


def test_par2_ratios_are_taken_within_pairs() -> None:
    """A machine that is three times slower in one pair slows both builds: the ratio stays."""
    pairs = [({"cpu_us_per_delivery": 2.0 * speed}, {"cpu_us_per_delivery": 1.0 * speed}) for speed in (1, 3, 1)]
    (row,) = rows(WORKLOADS[0], pairs)
    assert "ratio 2.000 [2.000, 2.000] of 3 pairs" in row


def test_the_commands_of_both_builds_are_started(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    """A command that does not start ends the comparison with what it said."""
    from tools.bench import pairs

    broken = tmp_path / "broken.py"
    broken.write_text("raise SystemExit('this build does not start')\n")
    with pytest.raises(RuntimeError, match="this build does not start"):
        pairs.main([f"{sys.executable} {broken} {{port}} {{data}}", "--quick", "--pairs", "1", "--only", "type-100"])
    assert capsys.readouterr().out == ""
