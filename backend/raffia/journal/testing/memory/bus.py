"""A bus within one process: for tests and simulation, where several hubs stand for replicas."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from raffia.journal.bus import ChannelListener
from raffia.types import DocumentId


class MemoryNetwork:
    """What connects memory buses.

    Attributes:
        buses: those that are open, by replica.
        messages: how many were sent, whoever heard them.
    """

    def __init__(self) -> None:
        self.buses: dict[str, MemoryBus] = {}
        self.messages = 0

    def send(self, sender: str, document: DocumentId, payload: bytes) -> None:
        """Deliver to all others, in the next turn of the event loop."""
        self.messages += 1
        for replica, bus in tuple(self.buses.items()):
            if replica != sender and not bus.is_cut:
                asyncio.get_running_loop().call_soon(bus.hear, document, payload)

    def die(self, replica: str) -> None:
        """A replica is gone; the others find out (BS4)."""
        if self.buses.pop(replica, None) is not None:
            for bus in tuple(self.buses.values()):
                bus.lose(frozenset((replica,)))


class MemoryBus:
    """`Bus` over a `MemoryNetwork`.

    Attributes:
        is_cut: whether nothing comes or goes.
    """

    def __init__(self, network: MemoryNetwork, replica: str) -> None:
        self.replica = replica
        self.is_cut = False
        self._network = network
        self._ears: dict[DocumentId, ChannelListener] = {}
        self._gone: Callable[[frozenset[str]], None] = lambda _: None

    async def __aenter__(self) -> Self:
        """Be there."""
        self._network.buses[self.replica] = self
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave; the others are told at once."""
        self._network.die(self.replica)

    def join(self, document: DocumentId, ear: ChannelListener) -> None:
        """Hear of a document."""
        self._ears[document] = ear
        asyncio.get_running_loop().call_soon(self._connect, document)

    def _connect(self, document: DocumentId) -> None:
        ear = self._ears.get(document)
        if ear is not None and not self.is_cut:
            ear.connected()

    def leave(self, document: DocumentId) -> None:
        """Hear no more of it."""
        self._ears.pop(document, None)

    def publish(self, document: DocumentId, payload: bytes) -> None:
        """Tell all others."""
        if not self.is_cut:
            self._network.send(self.replica, document, payload)

    def on_gone(self, gone: Callable[[frozenset[str]], None]) -> None:
        """Say who is told."""
        self._gone = gone

    def hear(self, document: DocumentId, payload: bytes) -> None:
        """Another replica has said something."""
        ear = self._ears.get(document)
        if ear is not None:
            ear.heard(payload)

    def lose(self, gone: frozenset[str]) -> None:
        """Replicas are gone."""
        self._gone(gone)

    def cut(self) -> None:
        """Close the way."""
        self.is_cut = True

    def heal(self) -> None:
        """Open it again."""
        self.is_cut = False
        for document in tuple(self._ears):
            self._connect(document)
