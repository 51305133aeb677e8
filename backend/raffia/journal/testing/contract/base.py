"""What every contract needs: the fixtures, and how to break the journal."""

from __future__ import annotations

import pytest

from raffia.journal.protocol import Journal
from raffia.journal.testing.contract.tools import Clock


class Contract:
    """Override the `journal` fixture, `fail` and `mend`."""

    pytestmark = pytest.mark.asyncio

    @pytest.fixture
    def clock(self) -> Clock:
        """The clock of the journal."""
        return Clock()

    @pytest.fixture
    def journal(self, clock: Clock) -> Journal:
        """An empty journal with the default retention periods, entered before the test and exited after it."""
        raise NotImplementedError("override the fixture `journal`")

    async def reopen(self, journal: Journal) -> Journal:
        """Exit a journal and enter it again, as after a restart; override this if that needs a new object."""
        await journal.__aexit__(None, None, None)
        return await journal.__aenter__()

    def fail(self, journal: Journal) -> None:
        """Make all writes fail, as with a full disk or an unreachable server."""
        raise NotImplementedError("override `fail`")

    def mend(self, journal: Journal) -> None:
        """Undo `fail`."""
        raise NotImplementedError("override `mend`")
