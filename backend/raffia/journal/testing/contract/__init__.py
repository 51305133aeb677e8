"""The contract suite that every journal has to pass, one class per part. Import it to test your own journal:

    from raffia.journal.testing.contract import Clock, JournalContract

    class TestMine(JournalContract):
        @pytest_asyncio.fixture
        async def journal(self, clock: Clock) -> AsyncIterator[Journal]:
            async with MyJournal(now_ms=clock) as journal:
                yield journal

        def fail(self, journal: Journal) -> None: ...  # from now on nothing can be written
        def mend(self, journal: Journal) -> None: ...  # and now it can again

A journal without some optional parts inherits the contracts of the others instead of `JournalContract`: `LogContract`
and `DirectoryContract` in any case, and those of `HistoryContract`, `VersionsContract`, `LinksContract` and
`RevocationsContract` whose parts it has. A journal that stores bytes inherits `IntegrityContract` too, and overrides
`damage`.

The suite needs pytest and pytest-asyncio, which Raffia itself does not. Tests quote the rules J1-J24 of
`raffia.journal.protocol`.
"""

from raffia.journal.testing.contract.base import Contract
from raffia.journal.testing.contract.directory import DirectoryContract
from raffia.journal.testing.contract.history import HistoryContract
from raffia.journal.testing.contract.integrity import IntegrityContract
from raffia.journal.testing.contract.links import LinksContract
from raffia.journal.testing.contract.log import LogContract
from raffia.journal.testing.contract.passed_time import PassedTimeContract
from raffia.journal.testing.contract.revocations import RevocationsContract
from raffia.journal.testing.contract.tools import (
    BEGIN_MS,
    DEADLINE_S,
    DOCUMENT,
    OTHER,
    Clock,
    Typist,
    canonical,
    content,
    edit,
    take,
    updates_of,
)
from raffia.journal.testing.contract.versions import VersionsContract


class JournalContract(
    LogContract,
    HistoryContract,
    VersionsContract,
    DirectoryContract,
    LinksContract,
    RevocationsContract,
    PassedTimeContract,
):
    """The contract of a journal that has every part."""


__all__ = [
    "BEGIN_MS",
    "DEADLINE_S",
    "DOCUMENT",
    "OTHER",
    "Clock",
    "Contract",
    "DirectoryContract",
    "HistoryContract",
    "IntegrityContract",
    "JournalContract",
    "LinksContract",
    "LogContract",
    "PassedTimeContract",
    "RevocationsContract",
    "Typist",
    "VersionsContract",
    "canonical",
    "content",
    "edit",
    "take",
    "updates_of",
]
