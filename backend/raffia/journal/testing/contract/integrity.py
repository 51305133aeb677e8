"""Stored bytes that have changed (J23)."""

from __future__ import annotations

import pytest

from raffia.errors import QuarantinedError
from raffia.journal.protocol import Journal, Snapshot
from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.tools import BEGIN_MS, DOCUMENT, OTHER, Typist, canonical, content, edit, take
from raffia.types import START, DocumentId


class IntegrityContract(Contract):
    """Override `damage`, and what `Contract` needs."""

    async def damage(self, journal: Journal, document: DocumentId) -> None:
        """Change one bit of the first entry of a document where it is stored."""
        raise NotImplementedError("override `damage`")

    async def _written(self, journal: Journal) -> list[bytes]:
        typist = Typist(1)
        updates = [typist.type(f"é{number} 😀 ") for number in range(3)]
        for update in updates:
            await journal.append(DOCUMENT, (edit(update),))
            await journal.append(OTHER, (edit(update),))
        return updates

    async def test_j23_changed_bytes_are_never_returned_and_other_documents_are(self, journal: Journal) -> None:
        """A document with a changed bit is refused each time; the other is served."""
        updates = await self._written(journal)
        await self.damage(journal, DOCUMENT)
        for _ in range(2):
            with pytest.raises(QuarantinedError):
                await journal.load(DOCUMENT)
        with pytest.raises(QuarantinedError):
            await take(journal.follow(DOCUMENT, START), 1)
        assert await content(journal, OTHER) == canonical(updates)
        assert len(await take(journal.follow(OTHER, START), 3)) == 3

    async def test_j23_changed_bytes_are_not_folded(self, journal: Journal) -> None:
        """A document with a changed bit is not compacted, and nothing changes."""
        updates = await self._written(journal)
        upto = (await journal.load(DOCUMENT)).position
        await self.damage(journal, DOCUMENT)
        with pytest.raises(QuarantinedError):
            await journal.compact(DOCUMENT, Snapshot(canonical(updates), b"i"), upto)
        with pytest.raises(QuarantinedError):
            await journal.load(DOCUMENT)
        listing = await journal.directory.documents()
        assert {info.document for info in listing.documents} == {DOCUMENT, OTHER}
        assert all(info.updated_ms == BEGIN_MS for info in listing.documents)
