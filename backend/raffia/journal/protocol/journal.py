"""The journal: the durable, ordered log of every document, and everything else that is stored for it.

The methods of the log (`append`, `load`, `follow`, `compact`) are the journal's own; the rest is in attributes:
`journal.history.at(...)`, `journal.versions.save(...)`, `journal.directory.info(...)`, `journal.links.add(...)`,
`journal.revocations.read()`. Their rules, J1-J24, are in the module of each noun; these are the rules of the whole.
`raffia.journal.testing.contract` tests those that can be observed from outside.

Rules (tests quote these ids):
    J7   While nothing can be made durable, reads continue if the store can still be read; the journal recovers without
         being reopened.
    J16  A store of a newer format is refused with `FormatTooNewError` before a byte of it is changed.
    J17  One lifecycle, `async with`: leaving it makes everything appended before durable.
    J18  Nothing here blocks the event loop.
"""

from __future__ import annotations

from abc import abstractmethod
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from raffia.journal.bus import Bus
from raffia.journal.passed_time import PassedTime
from raffia.journal.protocol.directory import Directory
from raffia.journal.protocol.history import History, NoHistory
from raffia.journal.protocol.links import NoShareLinks, ShareLinks
from raffia.journal.protocol.log import DocumentLog
from raffia.journal.protocol.revocations import NoRevocations, RevocationStore
from raffia.journal.protocol.stats import JournalStats
from raffia.journal.protocol.versions import NoVersions, Versions

if TYPE_CHECKING:
    # Worker processes import the journal's history, and the Prometheus client would slow their start.
    from raffia.runtime.metrics import Metrics


class Journal(DocumentLog, Protocol):
    """Where documents are stored. Inherit from it to write your own; attributes with a default are optional.

    Every method, including those of the attributes, may raise `JournalUnavailableError`.

    Attributes:
        stats: counters for metrics.
        directory: which documents exist.
        history: past states, and who edited when; refused by default.
        versions: saved states; refused by default.
        links: share links; refused by default.
        revocations: what was revoked; by default none are kept.
        passed_time: the time that has certainly passed; None if it trusts the system clock.
        is_shared: whether others write to the same documents at the same time, so that rooms have to follow (J20).
        bus: the channel to the other replicas; None when there are none. The journal enters and leaves it.
    """

    stats: JournalStats
    directory: Directory
    history: History = NoHistory()
    versions: Versions = NoVersions()
    links: ShareLinks = NoShareLinks()
    revocations: RevocationStore = NoRevocations()
    passed_time: PassedTime | None = None
    is_shared: bool = False
    bus: Bus | None = None

    @abstractmethod
    async def __aenter__(self) -> Self:
        """Open it.

        Raises:
            DataFolderInUseError: another process has it open.
            FormatTooNewError: see J16.
            JournalUnavailableError: the store cannot be opened.
        """
        ...

    @abstractmethod
    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Make everything appended before durable, then close (J17)."""
        ...

    @abstractmethod
    async def healthy(self) -> None:
        """Check whether the journal is available; call it with a deadline.

        Raises:
            JournalUnavailableError: it is not.
        """
        ...

    async def warnings(self) -> list[str]:
        """Describe, in one sentence each, how the store's setup could lose data; Raffia logs them at startup.

        None by default. Raffia does not refuse such a store: the operator decides what may be lost.
        """
        return []

    def export(self, metrics: Metrics) -> None:
        """Write this journal's own numbers into the metrics, each time they are read; none by default.

        Raffia exports `stats` by itself.
        """
        return

    @abstractmethod
    async def prune(self) -> None:
        """Drop expired history and revocations, and the content of documents deleted long ago (J11).

        Call it every few minutes.
        """
        ...
