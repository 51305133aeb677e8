"""What the contract of every noun needs: the fixtures, and how to break the journal."""

from __future__ import annotations

import pytest

from raffia.journal.protocol import Journal
from raffia.journal.testing.contract.tools import Clock


class Contract:
    """Override the `journal` fixture, `fail` and `mend`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> Clock:
        """The journal's clock."""
        return Clock()

    @pytest.fixture
    def journal(self, clock: Clock) -> Journal:
        """An entered, empty journal with the default retentions, left after the test."""
        raise NotImplementedError("override the fixture `journal`")

    async def reopen(self, journal: Journal) -> Journal:
        """Leave a journal and enter it again, as after a restart; override it where another object is needed."""
        await journal.__aexit__(None, None, None)
        return await journal.__aenter__()

    def fail(self, journal: Journal) -> None:
        """From now on nothing can be written: a full disk, a server that is away."""
        raise NotImplementedError("override `fail`")

    def mend(self, journal: Journal) -> None:
        """Undo `fail`."""
        raise NotImplementedError("override `mend`")
