"""Attacks on the whole server in a short form: honest people beside them must not notice (tools/attacks).

Each test plays one attack for some seconds and checks its bounds (tools/attacks/figures.py). `python -m tools.attacks`
plays all of them at length. They measure times, so nothing else should run beside them.
"""

from __future__ import annotations

import asyncio

import pytest
from tools.attacks.place import Build
from tools.attacks.registry import all_attacks

SECONDS, CALM_S = 1.5, 0.4

# What still bites. Whoever mends it removes its line: an attack in this table that is held fails its test.
BITES: dict[str, str] = {}


# What `make test` plays, a few kinds that differ; `make attacks` plays all of the short form.
ALWAYS = {"01-meta restart", "02-trailers many", "05-revocations full", "06-preauth half-sent", "09-uploads one-net"}


def played() -> list[object]:
    """All attacks of the short form; those in the table are expected to bite."""
    found: list[object] = []
    for name, attack in all_attacks().items():
        if attack.short:
            marks = [pytest.mark.alone] if name in ALWAYS else [pytest.mark.thorough]
            if name in BITES:
                marks.append(pytest.mark.xfail(strict=True, reason=BITES[name]))
            found.append(pytest.param(name, marks=marks))
    return found


@pytest.mark.slow
@pytest.mark.parametrize("name", played())
def test_honest_people_do_not_notice(name: str) -> None:
    attack = all_attacks()[name]
    for is_last in (name in BITES, True):
        figures = asyncio.run(attack(Build.of(), SECONDS, CALM_S))
        print(figures.line)
        # A machine that hiccups once may say nothing about the server: what is to hold may try twice.
        if figures.holds or is_last:
            break
    assert figures.faults == [], figures.line


def test_the_table_names_attacks() -> None:
    short = {name for name, attack in all_attacks().items() if attack.short}
    assert set(BITES) | ALWAYS <= short
