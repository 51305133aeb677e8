"""The history of a document: what it contained at a given time, and who edited it when.

Rules (tests quote these ids):
    J9   `at(document, t)` returns updates that merge to the document with exactly those edits whose 10 s window
         begins at or before `t`, within the retention period, whatever has been compacted since.
    J10  Within one document an edit counts as no earlier than any edit before it, so that every past state is a prefix
         of the log without gaps, even if the clock was set back.
    J11  `Journal.prune` (and `compact`) drop history and the content of deleted documents, but never before their
         retention period is over, by the time that has certainly passed (raffia.journal.passed_time).
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Protocol

from raffia.errors import NotConfiguredError
from raffia.types import DocumentId

WINDOW_MS = 10_000  # the resolution of the history (J9)
DAY_MS = 86_400_000
RETENTION_MS = DAY_MS


@dataclass(frozen=True, slots=True)
class Window:
    """What one author did in one window of the history.

    Attributes:
        start_ms: start of the window; `at(document, start_ms)` includes all of its edits.
        author: as in `Edit`.
        size_bytes: size of the updates kept for it.
    """

    start_ms: int
    author: str | None
    size_bytes: int


class History(Protocol):
    """The history of every document (`Journal.history`)."""

    @abstractmethod
    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Return updates that merge to the document as it was (J9, J10); none for a time before its first edit.

        Raises:
            ForbiddenError: the history does not reach back that far, or there is no such document.
        """
        ...

    @abstractmethod
    async def windows(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """List who edited when, oldest first: one item per window and author."""
        ...


class NoHistory(History):
    """The history of a journal that keeps none."""

    async def at(self, document: DocumentId, time_ms: int) -> list[bytes]:
        """Refuse.

        Raises:
            NotConfiguredError: always.
        """
        raise NotConfiguredError(f"this journal keeps no history, so {document} cannot be shown as it was")

    async def windows(self, document: DocumentId, since_ms: int = 0) -> list[Window]:
        """Refuse.

        Raises:
            NotConfiguredError: always.
        """
        raise NotConfiguredError(f"this journal keeps no history of {document}")
