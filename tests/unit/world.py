"""Rooms without sockets: a hub on a memory journal that can be held, and outlets that keep what they are sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from pycrdt import Doc, Text

from raffia.crdt.merge import merge
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.rooms.hub import Hub
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings
from raffia.sockets.connection import Connection
from raffia.sockets.hocuspocus import Ask, HocuspocusDialect
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import Access, DocumentId, Grant
from raffia.wire import ywebsocket
from raffia.wire.lib0 import write_buf
from raffia.wire.messages import Step2, Update
from raffia.wire.transport import Frame, Holds

EDIT = Grant(Access.EDIT, user="ana")
READ = Grant(Access.READ, user="bo")
DOCUMENT = DocumentId("notes/1")


class KeptOutlet:
    """An outlet that keeps what it is sent; `congest` and `drain` play a slow peer.

    With `high_bytes` set it congests by itself, from within a write, as transports do; then `drain` reads it empty.
    """

    def __init__(self) -> None:
        self.congested = False
        self.high_bytes: int | None = None
        self.waiting_bytes = 0
        self.on_congested: Callable[[], None] = lambda: None
        self.sent: list[bytes] = []
        self.closed: tuple[int, str] | None = None
        self.reading = True
        self.limits: list[int] = []

    @property
    def limit_bytes(self) -> int:
        return self.limits[-1]

    def buffered(self) -> int:
        return self.waiting_bytes

    def write(self, frame: Frame) -> None:
        self.send(frame.payload)

    def send(self, payload: bytes) -> None:
        self.sent.append(payload)
        if self.high_bytes is not None:
            self.waiting_bytes += len(payload)
            if self.waiting_bytes > self.high_bytes and not self.congested:
                self.congested = True
                self.on_congested()

    def close(self, code: int, reason: str = "") -> None:
        self.closed = self.closed or (code, reason)

    def abort(self) -> None:
        self.close(1013)

    def limit_messages(self, size_bytes: int, holds: Holds | None = None) -> None:
        self.limits.append(size_bytes)

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def take(self) -> list[bytes]:
        sent, self.sent = self.sent, []
        return sent


class Client:
    """One connection with its outlet."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.transport = KeptOutlet()
        self.transport.on_congested = connection.congested
        connection.opened(self.transport)

    def send(self, payload: bytes) -> None:
        self.connection.message(payload)

    def update(self, update: bytes) -> None:
        self.send(b"\x00\x02" + write_buf(update))

    def step2(self, update: bytes) -> None:
        self.send(b"\x00\x01" + write_buf(update))

    def congest(self) -> None:
        self.transport.congested = True
        self.connection.congested()

    def drain(self) -> None:
        self.transport.congested = False
        self.transport.waiting_bytes = 0
        self.connection.drained()

    def updates(self) -> list[bytes]:
        """Updates that came since the last call (y-websocket); everything else that came is dropped."""
        return [m.update for m in map(ywebsocket.decode, self.transport.take()) if isinstance(m, Update)]

    def kinds(self) -> list[str]:
        """What came since the last call, by type (y-websocket)."""
        return [type(ywebsocket.decode(payload)).__name__ for payload in self.transport.take()]


class World:
    """A hub and its journal."""

    def __init__(self, hub: Hub, store: MemoryStore) -> None:
        self.hub = hub
        self.store = store
        self.metrics = hub.metrics

    async def yws(self, grant: Grant = EDIT, document: DocumentId = DOCUMENT, *, synced: bool = True) -> Client:
        client = Client(Connection(self.hub, YWebsocketDialect(document, grant)))
        await until(lambda: client.transport.reading and bool(client.transport.sent))
        if synced:
            client.send(b"\x00\x00\x01\x00")
            await until(lambda: any(isinstance(ywebsocket.decode(p), Step2) for p in client.transport.sent))
            client.transport.take()
        return client

    async def hocuspocus(self, grant: Grant = EDIT, ask: Ask | None = None) -> Client:
        async def authorize(token: str | None, document: DocumentId) -> Grant:
            return grant

        return Client(Connection(self.hub, HocuspocusDialect(ask or authorize, self.hub.settings)))

    async def flushed(self, document: DocumentId = DOCUMENT) -> None:
        """Wait until nothing is pending in the document's room and, unless the journal is held, all is durable."""
        self.hub.rooms[document].flush()
        await turns(8)


@asynccontextmanager
async def world(**settings: object) -> AsyncIterator[World]:
    store = MemoryStore()
    # Work that a test holds for ever is not waited for at the end.
    defaults: dict[str, object] = {"journal_pause_s": 0.0, "coalesce_factor": 0.0, "drain_s": 1.0}
    chosen = Settings(**(defaults | settings))
    async with (
        Workers(1) as workers,
        MemoryJournal(store=store) as journal,
        Hub(journal, workers, chosen, Metrics()) as hub,
    ):
        try:
            yield World(hub, store)
        finally:
            store.release()


async def turns(count: int) -> None:
    """Let the event loop run a few turns."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> None:
    """Poll for a condition; fails after the deadline."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0)


class Author:
    """A Yjs client's document: makes updates and takes in what it hears."""

    def __init__(self, client: int) -> None:
        self.doc: Doc[Text] = Doc(client_id=client)
        self.text = self.doc.get("t", type=Text)

    def type(self, text: str) -> bytes:
        before = self.doc.get_state()
        self.text += text
        return self.doc.get_update(before)

    def delete(self, start: int, stop: int) -> bytes:
        before = self.doc.get_state()
        del self.text[start:stop]
        return self.doc.get_update(before)

    def hear(self, updates: list[bytes]) -> None:
        if updates:
            self.doc.apply_update(merge(updates))


def text_of(update: bytes) -> str:
    doc: Doc[Text] = Doc()
    doc.apply_update(update)
    return str(doc.get("t", type=Text))
