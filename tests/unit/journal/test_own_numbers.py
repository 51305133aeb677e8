"""A journal says its own warnings and exports its own numbers, whichever it is."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from raffia import Access, Grant, Raffia, Settings
from raffia.journal.testing.memory import MemoryJournal
from raffia.runtime.metrics import Metrics


class Own(MemoryJournal):
    """One whose disk is not to be trusted, and that counts."""

    async def warnings(self) -> list[str]:
        return ["it forgets on Sundays, é", "and on Mondays"]

    def export(self, metrics: Metrics) -> None:
        metrics.redis_gaps = 7


def authorize(*_: object) -> Grant:
    return Grant(Access.EDIT)


async def test_its_warnings_are_logged_at_the_start(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "raffia"):
        async with Raffia(authorize=authorize, settings=Settings(data=tmp_path), journal=Own()):
            pass
    said = [record for record in caplog.records if "the journal may lose documents" in record.getMessage()]
    assert len(said) == 2


async def test_its_numbers_are_among_the_metrics(tmp_path: Path) -> None:
    raffia = Raffia(authorize=authorize, settings=Settings(data=tmp_path), journal=Own())
    async with raffia:
        assert raffia.read_metrics().redis_gaps == 7


async def test_a_journal_without_either_says_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    raffia = Raffia(authorize=authorize, settings=Settings(data=tmp_path), journal=MemoryJournal())
    with caplog.at_level(logging.WARNING, "raffia"):
        async with raffia:
            assert raffia.read_metrics().redis_gaps == 0
    assert caplog.records == []
