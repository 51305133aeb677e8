"""The threat model names tests; they exist."""

from __future__ import annotations

import re

from tests.support.server import ROOT

TEXT = (ROOT / "docs/security.md").read_text()


def test_the_tests_of_the_threat_model_exist() -> None:
    named = set(re.findall(r"`(test_\w+)`", TEXT))
    paths = [path for path in (ROOT / "tests").rglob("test_*.py") if "node_modules" not in path.parts]
    paths += (ROOT / "backend/raffia/journal/testing/contract").glob("*.py")  # run for every journal by tests/contract
    sources = [path.read_text() for path in paths]
    there = {name for source in sources for name in re.findall(r"^ *(?:async )?def (test_\w+)", source, re.MULTILINE)}
    assert len(named) > 30
    assert named <= there


def test_every_row_names_one() -> None:
    rows = re.findall(
        r"^\| (?!cannot|---)([^|]+) \| ([^|]+) \|$", TEXT.split("\n## Threat model\n", 1)[1], re.MULTILINE
    )
    assert len(rows) > 15
    assert [what for what, tests in rows if "`test_" not in tests] == []
