"""A WebSocket client that can do everything wrong: a blocking socket and hand-made frames."""

from __future__ import annotations

import os
import socket
import struct
from types import TracebackType
from typing import Self

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
CONT, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10


def head(path: str = "/echo", *, method: str = "GET", version: str = "1.1", **headers: str | None) -> bytes:
    """An opening handshake; a header given as None is left out, `_` stands for `-`."""
    fields: dict[str, str | None] = {
        "host": "localhost",
        "upgrade": "websocket",
        "connection": "Upgrade",
        "sec-websocket-key": KEY,
        "sec-websocket-version": "13",
    }
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [
        f"{method} {path} HTTP/{version}",
        *(f"{name}: {value}" for name, value in fields.items() if value is not None),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def frame(
    opcode: int,
    payload: bytes = b"",
    *,
    fin: bool = True,
    rsv: int = 0,
    mask: bytes | None = b"\x37\xfa\x21\x3d",
    wide: int = 0,
) -> bytes:
    """A client's frame.

    Args:
        opcode: 0 to 15.
        payload: before masking.
        fin: whether the message ends here.
        rsv: reserved bits, 0 to 7.
        mask: four bytes, or None for an unmasked frame.
        wide: 2 or 8 to write the length in so many bytes though fewer would do.
    """
    size = len(payload)
    first = (0x80 if fin else 0) | rsv << 4 | opcode
    masked = 0x80 if mask is not None else 0
    if wide == 8 or size > 0xFFFF:
        start = struct.pack("!BBQ", first, masked | 127, size)
    elif wide == 2 or size > 125:
        start = struct.pack("!BBH", first, masked | 126, size)
    else:
        start = struct.pack("!BB", first, masked | size)
    if mask is None:
        return start + payload
    repeated = (mask * (size // 4 + 1))[:size]
    return start + mask + (int.from_bytes(payload, "big") ^ int.from_bytes(repeated, "big")).to_bytes(size, "big")


def close_frame(code: int | None = None, reason: bytes = b"") -> bytes:
    return frame(CLOSE, b"" if code is None else struct.pack("!H", code) + reason)


class Raw:
    """One connection."""

    def __init__(
        self, port: int, request: bytes | None = None, *, expect: int | None = 101, timeout_s: float = 5
    ) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=timeout_s)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.kept = b""
        self.status = 0
        self.headers: dict[str, str] = {}
        if request is not None:
            self.send(request)
            if expect is not None:
                self.response()
                assert self.status == expect, (self.status, self.headers)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def _more(self) -> None:
        data = self.socket.recv(1 << 16)
        if not data:
            raise EOFError(self.kept)
        self.kept += data

    def take(self, size: int) -> bytes:
        while len(self.kept) < size:
            self._more()
        data, self.kept = self.kept[:size], self.kept[size:]
        return data

    def response(self) -> bytes:
        """Read an HTTP response; its body."""
        while b"\r\n\r\n" not in self.kept:
            self._more()
        start, self.kept = self.kept.split(b"\r\n\r\n", 1)
        lines = start.decode().split("\r\n")
        self.status = int(lines[0].split()[1])
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
        return self.take(int(self.headers.get("content-length", "0")))

    def frame(self) -> tuple[int, bytes]:
        """Read a server's frame, which must be whole, unmasked and without reserved bits."""
        first, second = self.take(2)
        assert first & 0xF0 == 0x80, f"{first:x}"
        assert not second & 0x80
        size = second
        if second == 126:
            (size,) = struct.unpack("!H", self.take(2))
            assert size > 125
        elif second == 127:
            (size,) = struct.unpack("!Q", self.take(8))
            assert size > 0xFFFF
        return first & 0x0F, self.take(size)

    def closed(self) -> tuple[int | None, str]:
        """Read a close frame; its code and reason."""
        opcode, payload = self.frame()
        assert opcode == CLOSE, (opcode, payload[:50])
        return (struct.unpack("!H", payload[:2])[0], payload[2:].decode()) if payload else (None, "")

    def end(self) -> None:
        """Assert that the server ends the connection with nothing more in it, and without a reset."""
        assert self.kept == b""
        assert self.socket.recv(1) == b""

    def reset(self) -> None:
        """Go away abruptly."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


def random_id() -> str:
    return os.urandom(6).hex()


def ended(client: Raw) -> bool:
    """Read until the server ends the connection, with or without a reset."""
    try:
        while client.socket.recv(1 << 16):
            pass
    except ConnectionError:
        pass
    return True
