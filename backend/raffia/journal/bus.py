"""What replicas tell each other that is not worth keeping: presence, and who is alive.

Rules (tests quote these ids):
    BS1  Nothing here is durable and nothing waits: what is said while the way is closed is lost, and whoever hears is
         told when the way is open (again), to ask anew.
    BS2  A replica does not hear itself.
    BS3  What is said of one document before the next turn of the sender is one message, however many replicas there
         are.
    BS4  A replica that has said nothing for `DEAD_S` is gone, and everybody is told once; one that leaves is gone at
         once. While nobody can be heard, nobody is gone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from raffia.types import DocumentId

DEAD_S = 15.0  # presence of a dead replica has to disappear within 30 s, whatever the ticks add


class ChannelListener(Protocol):
    """Who hears of one document; called on the event loop, must return at once."""

    def heard(self, payload: bytes) -> None:
        """Another replica said this."""
        ...

    def connected(self) -> None:
        """From here on others are heard: the first time, and again after a loss (BS1)."""
        ...


@runtime_checkable
class Bus(Protocol):
    """The way between replicas; a journal whose documents are shared brings one along (`Journal.bus`)."""

    @property
    def replica(self) -> str:
        """This replica's name; no other has it, not even the same process after a restart."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def join(self, document: DocumentId, ear: ChannelListener) -> None:
        """Hear what others say of a document; one ear for each document."""
        ...

    def leave(self, document: DocumentId) -> None:
        """Hear no more of it."""
        ...

    def publish(self, document: DocumentId, payload: bytes) -> None:
        """Tell all others; never waits (BS1)."""
        ...

    def on_gone(self, gone: Callable[[frozenset[str]], None]) -> None:
        """Say who is told which replicas are gone (BS4); once."""
        ...
