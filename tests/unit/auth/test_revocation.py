"""What was revoked while the store took nothing is stored later (REV4, REV5 of revocation)."""

from __future__ import annotations

import pytest

from raffia.auth.revocation import RevocationList
from raffia.errors import JournalUnavailableError
from raffia.journal.testing.memory import MemoryJournal
from raffia.journal.testing.memory.revocations import MemoryRevocations
from raffia.types import Revocation, Revoked


class Refusing(MemoryRevocations):
    """A store that can be read but takes no revocation, as a Redis that is read-only or whose disk is full."""

    refuses = False

    async def add(self, revocation: Revocation) -> None:
        if self.refuses:
            raise JournalUnavailableError("Redis takes no command now: READONLY")
        await super().add(revocation)


async def test_rev4_what_could_not_be_stored_is_stored_when_the_store_takes_it_though_it_could_be_read_all_along() -> (
    None
):
    async with MemoryJournal() as journal:
        store = journal.revocations = Refusing(journal.connection)
        revocations = RevocationList()
        async with revocations.following(journal, tuple):
            await revocations.revoke(Revoked.USER, "bo")
            await revocations.read()
            store.refuses = True
            with pytest.raises(JournalUnavailableError):
                await revocations.revoke(Revoked.USER, "ana")
            await revocations.read()
            await revocations.read()
            store.refuses = False
            await revocations.read()
            stored = await journal.revocations.read()
            assert stored is not None
            assert {one.subject for one in stored.revocations} == {"ana", "bo"}
