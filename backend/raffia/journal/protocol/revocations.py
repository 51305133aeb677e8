"""What has been revoked: tokens, users, links.

Rules (tests quote these ids):
    J21  A revocation is durable when `add` returns. Several of one kind for one subject are merged; the latest times
         apply. They are kept until they expire, by the time that has certainly passed (raffia.journal.passed_time).
         Each kind has its own limit (`MAX_REVOCATIONS`), beyond which new ones of that kind are refused. The callback
         of `on_added` is called when other replicas may have added some; messages can be lost, so also read from time
         to time.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple, Protocol

from raffia.errors import JournalUnavailableError, RoomFullError
from raffia.types import Revocation, Revoked


class Revocations(NamedTuple):
    """What has been revoked; `mark` identifies this state of it."""

    mark: bytes
    revocations: list[Revocation]


class RevocationStore(Protocol):
    """The revocations that a journal keeps (`Journal.revocations`)."""

    @abstractmethod
    async def add(self, revocation: Revocation) -> None:
        """Keep a revocation (J21).

        Raises:
            RoomFullError: there are too many of this kind.
        """
        ...

    @abstractmethod
    async def read(self, mark: bytes | None = None) -> Revocations | None:
        """Read all revocations that are kept, perhaps including expired ones.

        Args:
            mark: the mark of the previous read; None to read all.

        Returns:
            None if nothing has been revoked since that mark.
        """
        ...

    def on_added(self, heard: Callable[[], None]) -> None:
        """Set the callback for revocations by other replicas: there is only one, run on the event loop (J21).

        Does nothing by default, which suits a journal that is not shared.
        """
        return


class NoRevocations(RevocationStore):
    """The revocations of a journal that keeps none: they apply in this process only, until it ends."""

    async def add(self, revocation: Revocation) -> None:
        """Refuse.

        Raises:
            JournalUnavailableError: always.
        """
        raise JournalUnavailableError("this journal keeps no revocations, so this one counts until the process ends")

    async def read(self, mark: bytes | None = None) -> Revocations | None:
        """Return none."""
        return Revocations(b"", []) if mark is None else None


def too_many_revocations(kind: Revoked, count: int) -> RoomFullError:
    """Build the error for revocations over the limit (J21)."""
    return RoomFullError(
        f"{count} revocations of the kind {kind.value} are kept, as many as can be; set --auth-max-lifetime-s "
        "(RAFFIA_AUTH_MAX_LIFETIME_S), so that they can be forgotten when the tokens have expired"
    )
