"""A simulated client: a Yjs document, a link that can lose frames in flight, and a log of what was acknowledged."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pycrdt import Doc, Map, Text

from raffia.crdt.update import read_state_vector
from raffia.rooms.hub import Hub
from raffia.sockets.connection import Connection
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import Access, DocumentId, Grant
from raffia.wire.lib0 import read_buf, write_buf, write_string
from raffia.wire.transport import Frame, Holds
from tests.simulation.awareness import SimAwareness

DOCUMENT = DocumentId("sim/1")
HIGH_BYTES, LOW_BYTES = 600, 200

Enter = Callable[..., Any]
"""Calls a function as the server that a client is connected to."""


def here(call: Callable[..., Any], *args: Any) -> Any:
    return call(*args)


@dataclass(frozen=True, slots=True)
class Token:
    """One insert in the document: its text and its ids."""

    text: str
    client: int
    start: int
    end: int


class Link:
    """Both directions of one connection; the server's transport. Frames move when the simulation says so."""

    def __init__(self, connection: Connection, enter: Enter = here) -> None:
        self.connection = connection
        self.enter = enter
        self.up: deque[bytes] = deque()
        self.down: deque[bytes] = deque()
        self.congested = False
        self.reading = True
        self.is_open = True
        enter(connection.opened, self)

    def buffered(self) -> int:
        return sum(map(len, self.down))

    def write(self, frame: Frame) -> None:
        self.send(frame.payload)

    def send(self, payload: bytes) -> None:
        if self.is_open:
            self.down.append(payload)
            if not self.congested and self.buffered() > HIGH_BYTES:
                self.congested = True
                self.connection.congested()

    def close(self, code: int, reason: str = "") -> None:
        if self.is_open:
            self.is_open = False
            asyncio.get_running_loop().call_soon(self.connection.closed, code)

    def probe(self) -> None:
        self.is_answered = False

    def answered(self) -> bool:
        return self.is_answered

    def abort(self) -> None:
        self.close(1013)

    def limit_messages(self, size_bytes: int, holds: Holds | None = None) -> None:
        """Do nothing: a simulated client sends only small messages."""

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def receive(self) -> bytes:
        """Take the next frame from the server."""
        payload = self.down.popleft()
        if self.congested and self.is_open and self.buffered() <= LOW_BYTES:
            self.congested = False
            self.enter(self.connection.drained)
        return payload

    def forward(self) -> None:
        """Let the next frame reach the server."""
        if self.is_open and self.reading and self.up:
            self.enter(self._deliver)

    def _deliver(self) -> None:
        turn = self.connection.turn
        if turn.begin():
            self.connection.message(self.up.popleft())
            turn.check()
            turn.end()

    def end(self) -> None:
        """The client's side has gone, and the server is told."""
        if self.is_open:
            self.is_open = False
            self.enter(self.connection.closed, 1006)


class SimClient:
    """One person with one editor, who keeps the document across disconnects.

    Attributes:
        may_write: whether it may edit, or only read.
        tokens: its inserts, by text.
        inserted: tokens inserted by this client; those in `stored` were acknowledged.
        deleted: tokens that it has deleted; for those in `gone`, that was acknowledged.
    """

    def __init__(self, number: int, *, hocuspocus: bool, may_write: bool = True) -> None:
        self.number = number
        self.hocuspocus = hocuspocus
        self.may_write = may_write
        self.grant = Grant(Access.EDIT if may_write else Access.READ, user=f"user-{number}é")
        self.awareness = SimAwareness(number + 1, echoes=not hocuspocus)
        self.tokens: dict[str, Token] = {}
        self.doc: Doc[Any] = Doc(client_id=number + 1)
        self.text: Text = self.doc.get("t", type=Text)
        self.map: Map[int] = self.doc.get("m", type=Map)
        self.link: Link | None = None
        self.inserted: list[str] = []
        self.deleted: list[str] = []
        self.stored: set[str] = set()
        self.gone: set[str] = set()
        self._log: list[tuple[str, str]] = []  # ("+" or "-", token): everything it ever did
        self._sent: dict[bytes, list[tuple[str, str]]] = {}  # on this connection (y-websocket)
        self._unsynced = 0  # as Hocuspocus providers count
        self._prefix = write_string(f"{DOCUMENT}\0{number}é") if hocuspocus else b""

    # -- the connection ---------------------------------------------------------------------------------------------

    @property
    def is_online(self) -> bool:
        return self.link is not None and self.link.is_open

    async def _admit(self, _token: str | None, _document: DocumentId) -> Grant:
        await asyncio.sleep(0)
        return self.grant

    def connect(self, hub: Hub, enter: Enter = here) -> None:
        if self.hocuspocus:
            self.link = Link(Connection(hub, HocuspocusDialect(self._admit, hub.settings)), enter)
        else:
            self.link = Link(Connection(hub, YWebsocketDialect(DOCUMENT, self.grant)), enter)
        self._sent = {}
        self._unsynced = 1
        if self.hocuspocus:
            self.link.up.append(self._prefix + b"\x02\x00" + write_string("tk"))
        self.link.up.append(self._prefix + b"\x00\x00" + write_buf(self.doc.get_state()))
        self._send_awareness(self.awareness.own())

    def disconnect(self) -> None:
        link = self.drop()
        if link is not None:
            link.end()

    def drop(self) -> Link | None:
        """Leave without telling the server: a half-open socket."""
        link, self.link = self.link, None
        self.awareness.disconnected()
        return link

    def lose(self) -> None:
        """The server has died without telling any client."""
        if self.link is not None:
            self.link.is_open = False
        self.drop()

    def be_present(self, state: bytes | None, now_s: float) -> None:
        """Set the presence state that others see; None removes it."""
        self._send_awareness(self.awareness.set(state, now_s))

    def tick(self, now_s: float) -> None:
        """The work that editors do every three seconds."""
        self._send_awareness(self.awareness.tick(now_s))

    def _send_awareness(self, payload: bytes | None) -> None:
        if payload is not None and self.link is not None and self.link.is_open:
            self.link.up.append(self._prefix + b"\x01" + write_buf(payload))

    # -- editing ----------------------------------------------------------------------------------------------------

    def insert(self, at: float, token: str) -> None:
        """Insert a token at a fraction of the text, between two tokens."""
        self.inserted.append(token)
        ends = [0, *(index + 1 for index, letter in enumerate(str(self.text)) if letter == ">")]
        start = len(str(self.text)[: ends[int(at * len(ends))]].encode())
        before = self.doc.get_state()
        clock = read_state_vector(before).get(self.number + 1, 0)
        self.text.insert(start, token)
        self.tokens[token] = Token(token, self.number + 1, clock, clock + len(token.encode("utf-16-le")) // 2)
        self._edited(before, [("+", token)])

    def delete(self, token: str) -> None:
        """Delete one of its own tokens."""
        content = str(self.text)
        start = content.find(token)
        if start < 0 or token in self.deleted:
            return
        self.deleted.append(token)
        at = len(content[:start].encode())
        before = self.doc.get_state()
        del self.text[at : at + len(token.encode())]
        self._edited(before, [("-", token)])

    def set(self, key: str, value: int) -> None:
        """Set a key of the map. Of concurrent values all but one are deleted, without a delete being sent."""
        before = self.doc.get_state()
        self.map[key] = value
        self._edited(before, [])

    def _edited(self, before: bytes, done: list[tuple[str, str]]) -> None:
        self._log += done
        if self.is_online:
            self.send_update(self.doc.get_update(before), done)

    def send_update(self, update: bytes, done: list[tuple[str, str]]) -> None:
        assert self.link is not None
        self._sent[update] = done
        self._unsynced += 1
        self.link.up.append(self._prefix + b"\x00\x02" + write_buf(update))

    def repeat(self, which: float) -> None:
        """Send one update of this connection a second time."""
        if self.is_online and self._sent:
            update = list(self._sent)[int(which * len(self._sent))]
            self.send_update(update, self._sent[update])

    def swap(self) -> None:
        """Swap the last two updates in flight."""
        head = self._prefix + b"\x00\x02"
        if self.link is not None and len(self.link.up) > 1:
            up = self.link.up
            if up[-1].startswith(head) and up[-2].startswith(head):
                up[-1], up[-2] = up[-2], up[-1]

    # -- from the server ---------------------------------------------------------------------------------------------

    def receive(self) -> None:
        """Take one frame from the server."""
        now_s = asyncio.get_running_loop().time()
        assert self.link is not None
        payload = self.link.receive()
        assert payload.startswith(self._prefix), payload
        body = payload[len(self._prefix) :]
        if body[0] == 0:
            self._sync(body[1], read_buf(body, 2, "sync")[0])
        elif self.hocuspocus and body[0] == 8:
            assert body[1] == 1 or not self.may_write, "nothing may be refused here"
            self._unsynced -= 1
            assert self._unsynced >= 0, "more statuses than updates"
            if self._unsynced == 0:
                self._acknowledge(self._log)
        elif self.hocuspocus and (body[0] == 7 or body[:2] == b"\x02\x01"):
            self.disconnect()
        elif body[0] == 1:
            self._send_awareness(self.awareness.receive(read_buf(body, 1, "presence")[0], now_s))
        else:
            assert body[0] == 2, body

    def _sync(self, kind: int, content: bytes) -> None:
        if kind == 0:
            assert self.link is not None
            self.link.up.append(self._prefix + b"\x00\x01" + write_buf(self.doc.get_update(content)))
            return
        self.doc.apply_update(content)
        if kind == 2 and not self.hocuspocus and content in self._sent:
            self._acknowledge(self._sent[content])

    def _acknowledge(self, done: list[tuple[str, str]]) -> None:
        self.stored.update(token for sign, token in done if sign == "+")
        self.gone.update(token for sign, token in done if sign == "-")

    @property
    def is_acknowledged(self) -> bool:
        """Whether everything this client did was acknowledged (Hocuspocus)."""
        return self._unsynced == 0
