"""A bus within one process, for tests and simulations in which several hubs act as replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from raffia.journal.bus import ChannelListener
from raffia.types import DocumentId


class MemoryNetwork:
    """Connects memory buses.

    Attributes:
        buses: maps replica names to open buses.
        messages: number of messages sent, received or not.
    """

    def __init__(self) -> None:
        self.buses: dict[str, MemoryBus] = {}
        self.messages = 0

    def send(self, sender: str, document: DocumentId, payload: bytes) -> None:
        """Deliver to all other replicas, in the next turn of the event loop."""
        self.messages += 1
        for replica, bus in tuple(self.buses.items()):
            if replica != sender and not bus.is_cut:
                asyncio.get_running_loop().call_soon(bus.hear, document, payload)

    def die(self, replica: str) -> None:
        """Remove a replica and report it to the others (BS4)."""
        if self.buses.pop(replica, None) is not None:
            for bus in tuple(self.buses.values()):
                bus.lose(frozenset((replica,)))


class MemoryBus:
    """`Bus` over a `MemoryNetwork`.

    Attributes:
        is_cut: whether it neither sends nor receives.
    """

    def __init__(self, network: MemoryNetwork, replica: str) -> None:
        self.replica = replica
        self.is_cut = False
        self._network = network
        self._listeners: dict[DocumentId, ChannelListener] = {}
        self._gone: Callable[[frozenset[str]], None] = lambda _: None

    async def __aenter__(self) -> Self:
        """Join the network."""
        self._network.buses[self.replica] = self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave the network; the others are told at once."""
        self._network.die(self.replica)

    def join(self, document: DocumentId, listener: ChannelListener) -> None:
        """Subscribe to other replicas' messages about a document."""
        self._listeners[document] = listener
        asyncio.get_running_loop().call_soon(self._connect, document)

    def _connect(self, document: DocumentId) -> None:
        listener = self._listeners.get(document)
        if listener is not None and not self.is_cut:
            listener.connected()

    def leave(self, document: DocumentId) -> None:
        """Unsubscribe."""
        self._listeners.pop(document, None)

    def publish(self, document: DocumentId, payload: bytes) -> None:
        """Send a message to all other replicas."""
        if not self.is_cut:
            self._network.send(self.replica, document, payload)

    def on_gone(self, gone: Callable[[frozenset[str]], None]) -> None:
        """Set the callback that receives the names of replicas that are gone."""
        self._gone = gone

    def hear(self, document: DocumentId, payload: bytes) -> None:
        """Receive a message from another replica."""
        listener = self._listeners.get(document)
        if listener is not None:
            listener.heard(payload)

    def lose(self, gone: frozenset[str]) -> None:
        """Report replicas that are gone."""
        self._gone(gone)

    def cut(self) -> None:
        """Cut the connection to the network."""
        self.is_cut = True

    def heal(self) -> None:
        """Restore the connection."""
        self.is_cut = False
        for document in tuple(self._listeners):
            self._connect(document)
