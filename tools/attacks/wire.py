"""A WebSocket and an HTTP client for attacks: as fast as Python goes, and free to leave messages half sent.

Frames are masked with zeros: the server unmasks them all the same, and the attacker pays nothing for it.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import struct
from typing import Any, Self

from tests.integration.server.raw import head
from tests.support.lib0 import buf, insert, string

BINARY, CONTINUED = 2, 0
NO_MASK = b"\0\0\0\0"
LIMIT_BYTES = 1 << 27
CONNECT_S = 10.0


def framed(payload: bytes, opcode: int = BINARY, *, fin: bool = True, announced: int | None = None) -> bytes:
    """A client's frame; `announced` writes another length than the payload has."""
    size = len(payload) if announced is None else announced
    first = (0x80 if fin else 0) | opcode
    if size > 0xFFFF:
        start = struct.pack("!BBQ", first, 0xFF, size)
    elif size > 125:
        start = struct.pack("!BBH", first, 0xFE, size)
    else:
        start = struct.pack("!BB", first, 0x80 | size)
    return start + NO_MASK + payload


def update(data: bytes) -> bytes:
    """A sync message with an update."""
    return b"\x00\x02" + buf(data)


def step1(vector: bytes = b"\x00") -> bytes:
    """A sync message that asks for the state."""
    return b"\x00\x00" + buf(vector)


def typed(client: int, clock: int, text: str, root: str = "t") -> bytes:
    """An update of somebody who types on at the end of his own text."""
    return insert(client, clock, text, clock - 1 if clock else None, root)


async def push(writer: asyncio.StreamWriter, data: bytes) -> None:
    """Write, and wait while the server does not read.

    Raises:
        ConnectionResetError: the connection has ended; some event loops say something else then.
    """
    if writer.is_closing():
        raise ConnectionResetError("the connection has ended")
    writer.write(data)
    await writer.drain()


class Wire:
    """One WebSocket connection.

    Attributes:
        status: of the handshake.
        close_code: once the server has closed; 1006 when the connection just ended.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.status = 0
        self.close_code: int | None = None
        self._task: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        port: int,
        path: str = "/sync",
        *,
        token: str | None = None,
        address: str | None = None,
        **headers: str | None,
    ) -> Self:
        """Connect and shake hands; `status` says what came of it.

        Raises:
            OSError, TimeoutError: no answer.
        """
        reader, writer = await asyncio.wait_for(
            asyncio.open_connection("127.0.0.1", port, limit=LIMIT_BYTES), CONNECT_S
        )
        wire = cls(reader, writer)
        given: dict[str, Any] = {"host": f"127.0.0.1:{port}", "x_forwarded_for": address, **headers}
        if token is not None:
            given["authorization"] = f"Bearer {token}"
        try:
            writer.write(head(path, **given))
            answer = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), CONNECT_S)
        except asyncio.IncompleteReadError as error:
            writer.transport.abort()
            raise ConnectionResetError("the server ended the connection before it answered") from error
        except BaseException:
            writer.transport.abort()
            raise
        wire.status = int(answer.split()[1])
        return wire

    async def send(self, payload: bytes) -> None:
        """Send one message and wait while the server does not read.

        Raises:
            ConnectionResetError: the server has closed.
        """
        if self.close_code is not None:
            raise ConnectionResetError(f"closed with {self.close_code}")
        await push(self.writer, framed(payload))

    async def receive(self) -> bytes:
        """The next message of the server.

        Raises:
            ConnectionResetError: it has closed; `close_code` says why.
        """
        try:
            while True:
                first, second = await self.reader.readexactly(2)
                size = second
                if second == 126:
                    (size,) = struct.unpack("!H", await self.reader.readexactly(2))
                elif second == 127:
                    (size,) = struct.unpack("!Q", await self.reader.readexactly(8))
                payload = await self.reader.readexactly(size)
                if first & 15 == 8:
                    self.close_code = int.from_bytes(payload[:2], "big") if payload else 1005
                    raise ConnectionResetError(f"closed with {self.close_code}")
                if first & 15 <= BINARY:
                    return payload
        except (asyncio.IncompleteReadError, OSError) as error:
            self.close_code = self.close_code or 1006
            raise ConnectionResetError(f"closed with {self.close_code}") from error

    def swallow(self) -> None:
        """Read from now on whatever the server sends, and drop it."""

        async def read() -> None:
            with contextlib.suppress(ConnectionResetError):
                while True:
                    await self.receive()

        self._task = asyncio.create_task(read())

    async def until(self, start: bytes) -> bytes:
        """The first message that begins so."""
        while not (message := await self.receive()).startswith(start):
            pass
        return message

    async def settle(self) -> None:
        """Wait until everything sent so far on this y-websocket connection is durable."""
        await self.send(b"\x66" + buf(b"settled"))
        await self.until(b"\x66")

    def end(self) -> None:
        """Drop the connection."""
        if self._task is not None:
            self._task.cancel()
        self.writer.transport.abort()


def request_head(
    method: str, path: str, *, token: str | None = None, address: str | None = None, **headers: str | int
) -> bytes:
    """The head of an HTTP request; `_` in the name of a header stands for `-`."""
    fields: dict[str, str | int] = {"host": "127.0.0.1", **headers}
    if token is not None:
        fields["authorization"] = f"Bearer {token}"
    if address is not None:
        fields["x-forwarded-for"] = address
    lines = [f"{method} {path} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


async def rest(
    port: int,
    method: str,
    path: str,
    body: Any = b"",
    *,
    token: str | None = None,
    address: str | None = None,
    timeout_s: float = 30.0,
    local: str | None = None,
) -> tuple[int, bytes]:
    """One request on a connection of its own; a body that is not bytes goes as JSON.

    Raises:
        OSError, TimeoutError: no answer.
    """
    headers: dict[str, str | int] = {"connection": "close"}
    if not isinstance(body, bytes):
        body, headers["content_type"] = json.dumps(body).encode(), "application/json"
    headers["content_length"] = len(body)
    async with asyncio.timeout(timeout_s):
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, limit=LIMIT_BYTES, local_addr=(local, 0) if local else None
        )
        try:
            writer.write(request_head(method, path, token=token, address=address, **headers) + body)
            answer = await reader.read()
        finally:
            writer.transport.abort()
    if not answer:
        raise ConnectionResetError("the server ended the connection without an answer")
    start, _, content = answer.partition(b"\r\n\r\n")
    return int(start.split()[1]), content


def hocuspocus(document: str, message: bytes) -> bytes:
    """A message to one document of a Hocuspocus connection."""
    return string(document) + message


def sign_in(document: str, token: str) -> bytes:
    """The message that opens a document."""
    return hocuspocus(document, b"\x02\x00" + string(token))
