"""Where attacks are played: a real server with keys, or two replicas on Redis, and people who must not notice.

Vera types and Walt reads, all the time, while a test attacks. Behind it everything that they could have noticed is
looked at: connections, content, answers, presence, latency, what Walt's browser was sent.

Rules:
    SCN1  Vera is a Hocuspocus client, so that each of her updates has an answer to be counted; Walt speaks y-websocket.
    SCN2  Vera's text is in the root text `t`. Whoever else writes there has to be undone or refused; attackers who may
        write use other roots.
    SCN3  What stands at the end is compared with what a newcomer reads, in both dialects, at every server of the place.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import socket
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from pycrdt import Doc, Text

from tests.integration.server.raw import head
from tests.support.client import Client, HocuspocusClient, YClient
from tests.support.lib0 import insert, read_string, read_varuint
from tests.support.server import RaffiaServer
from tests.support.tokens import token

VERA = 0x7EAA  # the client id that attackers are after
LATENCY_S = 5.0  # of any single edit, from Vera over the server to Walt and to Vera's answer, on a busy machine
TYPICAL_S = 0.5  # of the median one
SHOWN_S = 10.0
POLL_S = 0.02
DIALECTS = ("y-websocket", "hocuspocus")
ALL_CORNERS = [f"{place} {dialect}" for place in ("alone", "replicas") for dialect in DIALECTS]
BAD = "BÖSE"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Place:
    """Where it happens.

    Attributes:
        victims: the server that Vera and Walt use.
        attacker: the one that attackers use: the same, or another replica.
    """

    victims: RaffiaServer
    attacker: RaffiaServer

    @property
    def servers(self) -> list[RaffiaServer]:
        """Each of them once."""
        return [self.victims] if self.victims is self.attacker else [self.victims, self.attacker]

    def metric(self, name: str) -> float:
        """A sample of the attacker's server; 0 while there is none."""
        return self.attacker.metrics().get(name, 0.0)

    def rss_bytes(self) -> int:
        """Resident memory of all servers."""
        return sum(server.rss_bytes() for server in self.servers)


def new_document(word: str = "attacked") -> str:
    """A document of its own for each test."""
    return f"team/{word}-{next(_numbers)}"


def pass_for(user: str | None, document: str, can: str = "edit", **more: Any) -> str:
    """A token that opens one document."""
    return token(sub=user, raffia={document: can}, **more)


async def enter(
    server: RaffiaServer, document: str, dialect: str, *, user: str | None = "mallory", can: str = "edit", **more: Any
) -> Client:
    """Somebody who has got a grant, synced."""
    made = pass_for(user, document, can, **more)
    if dialect == "hocuspocus":
        return await HocuspocusClient(document, token=made, inspect=True).join(server.ws)
    return await YClient(inspect=True).join(server.ws, f"{document}?token={made}")


async def ending(client: Client) -> str:
    """How the server ends a session that has gone too far: "close 4413", or "CLOSE too-large" where that is in band."""
    if not isinstance(client, HocuspocusClient):
        return f"close {(await client.until_closed())[0]}"
    async with asyncio.timeout(15):
        while client.closed is None and not client.closes:
            await client.changed()
    # What is on the way when a session ends may be too much for an address that is not open; that ends the socket too.
    return f"CLOSE {client.closes[0].partition(':')[0]}" if client.closes else f"close {(client.closed or (0,))[0]}"


def text_in(updates: Iterable[bytes], root: str = "t") -> str:
    """The text that a browser would show that was sent these updates."""
    doc: Doc[Text] = Doc()
    text = doc.get(root, type=Text)
    for update in updates:
        doc.apply_update(update)
    return str(text)


async def shown(server: RaffiaServer, document: str, dialect: str = "y-websocket", root: str = "t") -> str:
    """What a newcomer with the right to read is shown."""
    async with await enter(server, document, dialect, user="newcomer", can="read") as reader:
        return text_in(reader.updates, root)


async def shows(
    expected: str, server: RaffiaServer, document: str, dialect: str = "y-websocket", root: str = "t"
) -> None:
    """Newcomers are shown this text: at once where it was written, within moments at another replica."""
    end = time.monotonic() + SHOWN_S
    while (text := await shown(server, document, dialect, root)) != expected:
        assert time.monotonic() < end, f"shown at {server.http}: {text[-200:]!r}, not {expected[-200:]!r}"
        await asyncio.sleep(POLL_S)


class Walt(YClient):
    """Reads along, and keeps what presence he was told.

    Attributes:
        told: (client, clock, state) in order.
        bytes_in: of updates.
    """

    def __init__(self) -> None:
        super().__init__(inspect=True)
        self.told: list[tuple[int, int, Any]] = []
        self.bytes_in = 0

    def message(self, payload: bytes) -> None:
        self.bytes_in += len(payload)
        super().message(payload)

    def _awareness(self, payload: bytes) -> None:
        count, at = read_varuint(payload, 0)
        for _ in range(count):
            client, at = read_varuint(payload, at)
            clock, at = read_varuint(payload, at)
            state, at = read_string(payload, at)
            self.told.append((client, clock, json.loads(state)))
        super()._awareness(payload)


@dataclass
class Victims:
    """Vera and Walt on a document, as an async context manager that at its end checks that they noticed nothing.

    Args:
        place: where.
        document: which; a new one when not given.
        has_presence: whether Vera announces herself.
        is_erased: whether what she types is deleted by somebody who may.

    Attributes:
        typed: what Vera has typed.
        latencies_s: of each of her edits.
    """

    place: Place
    document: str = field(default_factory=new_document)
    has_presence: bool = True
    is_erased: bool = False
    typed: str = ""
    latencies_s: list[float] = field(default_factory=list)

    async def __aenter__(self) -> Self:
        self.vera = HocuspocusClient(self.document, token=pass_for("vera", self.document), inspect=True)
        self.walt = Walt()
        self._clock = self._presence_clock = 0
        self._stop = asyncio.Event()
        self._typed = asyncio.Event()
        await self.vera.join(self.place.victims.ws)
        await self.walt.join(self.place.victims.ws, f"{self.document}?token={pass_for('walt', self.document)}")
        self.announce()
        if self.has_presence:
            await self.walt.until(lambda: VERA in self.walt.presence, "Vera's presence")
            if self.place.attacker is not self.place.victims:
                await self._is_known_elsewhere()
        await self._type()
        self._task = asyncio.create_task(self._go_on())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if error is None:
                await self.go_on()
            self._stop.set()
            await self._task
            if error is None:
                await self.check()
        finally:
            self._task.cancel()
            await self.vera.close()
            await self.walt.close()

    @property
    def clock(self) -> int:
        """Vera's next clock."""
        return self._clock

    def announce(self) -> None:
        """Vera says that she is here, as browsers do every 15 s."""
        if self.has_presence:
            self._presence_clock += 1
            self.vera.announce(VERA, self._presence_clock, {"name": "Vera é😀"})

    async def _is_known_elsewhere(self) -> None:
        """Another replica guards her id from when it has heard of her, which takes a moment (docs/security.md)."""
        scout = await enter(self.place.attacker, self.document, "y-websocket", user="walt")
        await scout.until(lambda: VERA in scout.presence, "Vera's presence on the other replica")
        await scout.close()

    async def _type(self) -> None:
        words = f"<{len(self.latencies_s):04}é>"
        began = time.monotonic()
        seen = len(self.walt.updates)
        # Named before it is sent: the server may be asked for it while the answer is on its way.
        update = insert(VERA, self._clock, words, self._clock - 1 if self._clock else None)
        self.typed += words
        self._clock += len(words)
        self.vera.update(update)
        await self.vera.until_stored()
        heard = words.encode()
        await self.walt.until(lambda: any(heard in part for part in self.walt.updates[seen:]), f"{words} at Walt's")
        self.latencies_s.append(time.monotonic() - began)
        self._typed.set()

    async def _go_on(self) -> None:
        while not self._stop.is_set():
            await self._type()
            if len(self.latencies_s) % 10 == 0:
                self.announce()

    async def go_on(self, rounds: int = 3) -> None:
        """Wait until Vera has typed some more."""
        goal = len(self.latencies_s) + rounds
        while len(self.latencies_s) < goal:
            self._typed.clear()
            waits = asyncio.create_task(self._typed.wait())
            await asyncio.wait([waits, self._task], return_when=asyncio.FIRST_COMPLETED)
            waits.cancel()
            if self._task.done():
                await self._task  # says what went wrong
                raise AssertionError("Vera has stopped typing")

    async def check(self) -> None:
        """Nobody has noticed anything."""
        assert self.vera.closed is None
        assert self.walt.closed is None
        assert self.vera.denied == self.vera.closes == []
        assert self.vera.statuses == [1] * self.vera.sent
        assert self.walt.skips == []
        assert self.vera.skips == []
        said = [state for client, _, state in self.walt.told if client == VERA]
        assert said == [{"name": "Vera é😀"}] * len(said), said
        assert bool(said) == self.has_presence
        assert max(self.latencies_s) < LATENCY_S, sorted(self.latencies_s)[-5:]
        assert statistics.median(self.latencies_s) < TYPICAL_S
        if self.is_erased:
            return
        assert text_in(self.walt.updates) == self.typed
        for server in self.place.servers:
            for dialect in DIALECTS:
                await shows(self.typed, server, self.document, dialect)


class Stream:
    """A connection of bytes for what no client would send; nothing of it blocks the victims' loop.

    Attributes:
        status, headers, body: of the answer to the request.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""

    @classmethod
    async def open(cls, server: RaffiaServer, request: bytes = b"", window_bytes: int | None = None) -> Self:
        """Connect, perhaps with a small window for what comes, and send a request, or nothing."""
        sock = socket.socket()
        sock.setblocking(False)
        if window_bytes is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", server.port))
        stream = cls(*await asyncio.open_connection(sock=sock))
        stream.writer.write(request)
        return stream

    async def answer(self) -> Self:
        """Read the answer to the request."""
        async with asyncio.timeout(15):
            start = await self.reader.readuntil(b"\r\n\r\n")
            lines = start.decode("latin-1").split("\r\n")
            self.status = int(lines[0].split()[1])
            self.headers = {key.lower(): value for key, _, value in (line.partition(": ") for line in lines[1:])}
            self.body = await self.reader.readexactly(int(self.headers.get("content-length", "0")))
        return self

    async def frame(self) -> tuple[int, bytes]:
        """Read one frame: its first byte and its payload."""
        async with asyncio.timeout(15):
            first, size = await self.reader.readexactly(2)
            if size > 125:
                size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8), "big")
            return first, await self.reader.readexactly(size)

    async def close_code(self) -> int:
        """Read until the close frame; its code."""
        while True:
            first, payload = await self.frame()
            if first & 15 == 8:
                return int.from_bytes(payload[:2], "big")

    def end(self) -> None:
        """Go away."""
        self.writer.transport.abort()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
        with contextlib.suppress(OSError):
            await self.writer.wait_closed()


async def knock(server: RaffiaServer, path: str, *, window_bytes: int | None = None, **headers: str | None) -> Stream:
    """Ask for a WebSocket and read the answer; `host` and `origin` are said or left out as given."""
    host = headers.pop("host", f"127.0.0.1:{server.port}")
    return await (await Stream.open(server, head(path, host=host, **headers), window_bytes)).answer()


async def refused(server: RaffiaServer, path: str, **headers: str | None) -> tuple[int, bytes]:
    """As `knock`, for those who are expected not to be let in: status and body."""
    async with await knock(server, path, **headers) as stream:
        return stream.status, stream.body
