"""Messages between replicas that are not stored: presence, and which replicas are alive.

Rules (tests quote these ids):
    BS1  Messages are neither stored nor queued: what is published while the channel is down is lost. Listeners are told
         when the channel is up, at first and again after a loss, so that they can request what they missed.
    BS2  A replica does not receive its own messages.
    BS3  Everything published about one document between two sends becomes one message, however many replicas there are.
    BS4  A replica is gone when it leaves or has been silent for `DEAD_S`; the `on_gone` callback is then called once.
         While no replica can be heard, none is declared gone.
"""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Protocol, Self, runtime_checkable

from raffia.types import DocumentId

DEAD_S = 15.0  # the presence of a dead replica has to disappear within 30 s, including the delays of both ticks


class ChannelListener(Protocol):
    """Receives the messages about one document; its methods are called on the event loop and must return quickly."""

    def heard(self, payload: bytes) -> None:
        """Receive a message from another replica."""
        ...

    def connected(self) -> None:
        """Called when the channel is up, at first and again after a loss (BS1)."""
        ...


@runtime_checkable
class Bus(Protocol):
    """The channel between replicas; a shared journal provides one (`Journal.bus`)."""

    @property
    def replica(self) -> str:
        """This replica's name, unique even across restarts of one process."""
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    def join(self, document: DocumentId, listener: ChannelListener) -> None:
        """Subscribe to other replicas' messages about a document; one listener per document."""
        ...

    def leave(self, document: DocumentId) -> None:
        """Unsubscribe."""
        ...

    def publish(self, document: DocumentId, payload: bytes) -> None:
        """Send a message to all other replicas, without waiting (BS1)."""
        ...

    def on_gone(self, gone: Callable[[frozenset[str]], None]) -> None:
        """Set the callback that receives the names of replicas that are gone (BS4)."""
        ...
