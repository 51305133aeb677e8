"""A small app for the server tests: what a path does stands beside it. Events are noted per connection (`?id=`)."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any
from urllib.parse import parse_qs

from raffia.errors import DrainingError, ForbiddenError, SchemaError, UnauthenticatedError
from raffia.sockets.asgi import refuse, serve
from raffia.wire.transport import Frame, Limits, Transport

ERRORS = {"401": UnauthenticatedError, "403": ForbiddenError, "409": SchemaError, "503": DrainingError}
BOUNDED = Limits(high_bytes=64 * 1024, low_bytes=16 * 1024, max_bytes=20_000_000)
LIMITS = Limits(message_bytes=100_000, high_bytes=64 * 1024, low_bytes=16 * 1024, close_timeout_s=0.5)


class Echo:
    """Sends every message back."""

    def __init__(self, notes: list[Any], action: str) -> None:
        self.notes = notes
        self.action = action
        self.transport: Transport | None = None
        self.most = 0

    def opened(self, transport: Transport) -> None:
        self.transport = transport
        self.notes.append("opened")
        if self.action == "flood":
            frame = Frame(b"x" * 10_000)
            while not transport.congested:
                transport.write(frame)
            transport.close(4000, "flooded")
        elif self.action == "hoard":
            for _ in range(400):
                transport.send(b"z" * 100_000)
                self.most = max(self.most, transport.buffered())
            self.notes.append(self.most)
        elif self.action == "held":
            transport.limit_messages(50_000, lambda size_bytes: size_bytes <= 20_000)
        elif self.action == "goodbye":
            transport.close(1013, "é" * 100)
        elif self.action == "fill":
            transport.send(b"y" * 8_000_000)
        elif self.action == "pause":
            transport.pause_reading()
            asyncio.get_running_loop().call_later(0.2, self._resume)

    def _resume(self) -> None:
        self.notes.append("resumed")
        assert self.transport is not None
        self.transport.resume_reading()

    def message(self, payload: bytes) -> None:
        assert self.transport is not None
        if self.action == "raise":
            raise ValueError("on purpose")
        if self.action == "pause":
            self.notes.append(payload)
        if self.action == "held" and payload == b"close":
            self.transport.close(4000, "closed")
        if self.action == "held" and payload == b"sign in":
            self.transport.limit_messages(LIMITS.message_bytes, lambda _size_bytes: True)
        if self.action == "held" and payload == b"raise":
            self.transport.limit_messages(200_000)
        if self.action == "close-each":
            self.notes.append(payload)
            self.transport.close(4001, "one is enough")
        if self.action == "write":
            self.transport.write(Frame(payload))
        else:
            self.transport.send(payload)

    def text(self, payload: str) -> None:
        assert self.transport is not None
        self.transport.send(b"text:" + payload.encode())

    def oversized(self, size_bytes: int, limit_bytes: int, start: bytes) -> None:
        self.notes.append(("oversized", size_bytes, start))

    def refused(self, code: int, reason: str) -> None:
        self.notes.append(("refused", code))

    def congested(self) -> None:
        self.notes.append("congested")

    def drained(self) -> None:
        self.notes.append("drained")

    def closed(self, code: int) -> None:
        self.notes.append(("closed", code))


class Slow:
    """A `Turn` that lets every other batch wait, and none be longer than three messages."""

    def __init__(self, echo: Echo) -> None:
        self.echo = echo
        self.asked = self.handled = 0

    def begin(self) -> bool:
        self.asked += 1
        if self.asked % 2:
            self._wait()
            return False
        self.handled = 0
        return True

    def check(self) -> None:
        self.handled += 1
        if self.handled == 3:
            self._wait()

    def end(self) -> None:
        self.echo.notes.append("batch")

    def _wait(self) -> None:
        assert self.echo.transport is not None
        self.echo.transport.pause_reading()
        asyncio.get_running_loop().call_later(0.001, self.echo.transport.resume_reading)


class EchoApp:
    """The app; `notes[id]` holds what happened to a connection."""

    def __init__(self) -> None:
        self.notes: dict[str, list[Any]] = defaultdict(list)
        self.direct = True

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            if scope["path"] in ("/read", "/read-later"):
                await read(scope, receive, send)
                return
            if scope["path"] == "/never":
                while (await receive())["type"] != "http.disconnect":
                    pass
                return
            if scope["path"] == "/large":
                await respond(send, b"x" * 50_000_000)
                return
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        assert scope["type"] == "websocket"
        query = parse_qs(scope["query_string"].decode())
        notes = self.notes[query.get("id", ["-"])[0]]
        path, _, rest = scope["path"].strip("/").partition("/")
        if path == "plain":
            await plain(receive, send, notes)
        elif path == "refuse":
            await refuse(send, ERRORS[rest]("not for you, é"), scope)
        elif path == "return":
            return
        elif path == "crash":
            raise RuntimeError("on purpose")
        else:
            if path == "later":
                await asyncio.sleep(0.3)
            offered = scope["subprotocols"]
            subprotocol = offered[-1] if path == "last-subprotocol" and offered else None
            limits = BOUNDED if path == "hoard" else LIMITS
            echo = Echo(notes, path)
            turn = Slow(echo) if path == "turns" else None
            await serve(scope, receive, send, echo, subprotocol=subprotocol, limits=limits, turn=turn)
            notes.append("served")


async def read(scope: Any, receive: Any, send: Any) -> None:
    """Respond with the size of the body, which is read at once or after a while."""
    size = 0
    if scope["path"] == "/read-later":
        await asyncio.sleep(0.5)
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            return
        size += len(event["body"])
        if not event["more_body"]:
            await respond(send, str(size).encode())
            return


async def respond(send: Any, body: bytes) -> None:
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def plain(receive: Any, send: Any, notes: list[Any]) -> None:
    """An ASGI app that has never heard of Raffia."""
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.accept", "headers": [(b"x-kind", b"plain")]})
    while True:
        event = await receive()
        if event["type"] == "websocket.disconnect":
            notes.append(("disconnect", event["code"]))
            return
        if (event.get("text") or "").startswith("close "):
            await send({"type": "websocket.close", "code": int(event["text"].split()[1])})
        elif event.get("text") == "close":
            await send({"type": "websocket.close", "code": 4002, "reason": "asked"})
        elif event.get("text") is not None:
            await send({"type": "websocket.send", "text": event["text"]})
        else:
            await send({"type": "websocket.send", "bytes": event["bytes"]})
