"""Files and functions keep to the sizes of the guide, or tools/sizes.toml says why not."""

from __future__ import annotations

from pathlib import Path

from tools.map import EXCEPTIONS, exceptions, oversized

PROJECT = Path(__file__).parents[2]
LONG = oversized(PROJECT)
KNOWN = exceptions(PROJECT)


def test_what_is_long_has_a_reason() -> None:
    assert {name: lines for name, lines in LONG.items() if name not in KNOWN} == {}, f"divide it, or see {EXCEPTIONS}"


def test_each_exception_is_needed_and_has_a_reason() -> None:
    assert set(KNOWN) - set(LONG) == set(), f"not long: remove it from {EXCEPTIONS}"
    assert all(reason.strip() for reason in KNOWN.values())
