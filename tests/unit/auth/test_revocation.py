"""Stores that fail: REV4, REV5, REV6 and REV9 of revocation."""

from __future__ import annotations

from pathlib import Path

import pytest

from raffia.auth.revocation import RevocationList
from raffia.embed import Raffia
from raffia.errors import JournalUnavailableError, QuarantinedError, RaffiaError, RevokedError
from raffia.journal.protocol import Revocations
from raffia.journal.testing.memory import MemoryJournal
from raffia.journal.testing.memory.revocations import MemoryRevocations
from raffia.settings import Settings
from raffia.types import Access, DocumentId, Grant, Revocation, Revoked


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


class Unreadable(MemoryRevocations):
    """A store that cannot be read while `error` is set."""

    error: RaffiaError | None = None

    async def read(self, mark: bytes | None = None) -> Revocations | None:
        if self.error is not None:
            raise self.error
        return await super().read(mark)


ERRORS = [QuarantinedError("damaged"), JournalUnavailableError("away")]


@pytest.mark.parametrize("error", ERRORS, ids=["damaged", "away"])
async def test_rev9_raffia_does_not_start_without_what_is_revoked(error: RaffiaError, tmp_path: Path) -> None:
    journal = MemoryJournal()
    store = journal.revocations = Unreadable(journal.connection)
    settings = Settings(data=tmp_path, host="127.0.0.1")
    raffia = Raffia(authorize=None, settings=settings, journal=journal)
    store.error = error
    with pytest.raises(type(error)):
        async with raffia:
            pass
    assert raffia.unready_reason() is not None
    store.error = None
    async with raffia:
        pass


async def test_rev6_what_is_known_applies_while_the_store_cannot_be_read() -> None:
    ana = Grant(Access.EDIT, user="ana", issued_s=1.0)
    async with MemoryJournal() as journal:
        store = journal.revocations = Unreadable(journal.connection)
        revocations = RevocationList()
        async with revocations.following(journal, tuple):
            await revocations.revoke(Revoked.USER, "ana")
            for error in ERRORS:
                store.error = error
                await revocations.read()
                with pytest.raises(RevokedError):
                    revocations.check(ana, DocumentId("d"))
            store.error = None
            await revocations.read()
