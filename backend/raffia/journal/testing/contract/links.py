"""Share links."""

# A test's name says what it tests:
# ruff: noqa: D102

from __future__ import annotations

import pytest

from raffia.errors import DocumentDeletedError, ForbiddenError
from raffia.journal.protocol import Journal, Links
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import DOCUMENT, OTHER, edit


class LinksContract(Contract):
    """The contract of `Journal.links`."""

    async def test_links_are_noted_once_and_reset(self, journal: Journal) -> None:
        await journal.append(DOCUMENT, (edit(b"\x00\x00"),))
        assert await journal.links.add(DOCUMENT, "read", 5) == Links(0, 5, None)
        assert await journal.links.add(DOCUMENT, "read", 9) == Links(0, 5, None)
        assert await journal.links.add(DOCUMENT, "edit", 7) == Links(0, 5, 7)
        journal = await self.reopen(journal)
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.links == Links(0, 5, 7)
        assert await journal.links.reset(DOCUMENT) == Links(1)
        assert await journal.links.add(DOCUMENT, "edit", 11) == Links(1, None, 11)
        for attempt in (journal.links.add(OTHER, "read", 1), journal.links.reset(OTHER)):
            with pytest.raises(ForbiddenError):
                await attempt
        await journal.directory.delete(DOCUMENT)
        for attempt in (journal.links.add(DOCUMENT, "read", 1), journal.links.reset(DOCUMENT)):
            with pytest.raises(DocumentDeletedError):
                await attempt
