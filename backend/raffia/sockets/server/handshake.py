"""The opening handshake, checked by the `websockets` library. No I/O.

Rules (tests quote these ids):
    HS1 A request has one `Host`, one `Sec-WebSocket-Key` of 16 bytes, one `Sec-WebSocket-Version`, and a list of
        subprotocols that can be parsed. Otherwise the answer is 400 (RFC 6455, 4.2.1).
    HS2 Versions other than 13 are answered with 426, and every refusal names the version that is supported (4.2.2,
        4.4).
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeaderFormat, SecurityError
from websockets.headers import parse_subprotocol
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = "13"

# Shared by all connections: `accept` only reads the request and builds the response, without extensions (so without
# compression).
_judge = ServerProtocol()


class HandshakeError(Exception):
    """A handshake that RFC 6455 forbids.

    Attributes:
        response: the whole HTTP response, which says why.
    """

    def __init__(self, response: bytes) -> None:
        super().__init__(response[:64])
        self.response = response


@dataclass(frozen=True, slots=True)
class Handshake:
    """A valid request for a WebSocket.

    Attributes:
        target: path and query, as sent.
        headers: with names in lower case.
        subprotocols: those that the client offers, in the client's order.
        accept_key: value of `Sec-WebSocket-Accept`.
    """

    target: str
    headers: list[tuple[bytes, bytes]]
    subprotocols: list[str]
    accept_key: str

    def accept(
        self,
        subprotocol: str | None,
        default_headers: Iterable[tuple[bytes, bytes]],
        headers: Iterable[tuple[bytes, bytes]],
    ) -> bytes:
        """The 101 response.

        Raises:
            ValueError: the client did not offer this subprotocol (it would fail the connection), or a header contains
                a line break.
        """
        lines = [
            b"HTTP/1.1 101 Switching Protocols",
            b"Upgrade: websocket",
            b"Connection: Upgrade",
            b"Sec-WebSocket-Accept: " + self.accept_key.encode("ascii"),
        ]
        if subprotocol is not None:
            if subprotocol not in self.subprotocols:
                raise ValueError(f"subprotocol {subprotocol!r} was not offered; the client offers {self.subprotocols}")
            lines.append(b"Sec-WebSocket-Protocol: " + subprotocol.encode("ascii"))
        for name, value in (*default_headers, *headers):
            if b"\n" in name + value or b"\r" in name + value:
                raise ValueError(f"header {name!r} contains a line break")
            lines.append(name + b": " + value)
        return b"\r\n".join(lines) + b"\r\n\r\n"


def response_bytes(status: int, headers: Iterable[tuple[str, str]], body: bytes) -> bytes:
    """A whole HTTP response that ends the connection."""
    rejection = _judge.reject(HTTPStatus.FORBIDDEN, "")
    merged = Headers(headers)
    for name in ("Date", "Content-Type"):
        merged.setdefault(name, rejection.headers[name])
    for name, value in (("Connection", "close"), ("Content-Length", str(len(body)))):
        if name in merged:
            del merged[name]
        merged[name] = value
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = ""
    return Response(status, phrase, merged, body).serialize()


def _parse(reader: StreamReader) -> Request:
    """Parse the request whose whole head is in `reader`."""
    parsing = Request.parse(reader.read_line)
    try:
        next(parsing)
    except StopIteration as stop:
        request: Request = stop.value
    else:
        raise EOFError("the head is cut short")
    hosts = len(request.headers.get_all("Host"))
    if hosts != 1:
        raise ValueError(f"expected one Host header, got {hosts}")
    return request


def _refusal(response: Response) -> HandshakeError:
    response.headers["Sec-WebSocket-Version"] = VERSION  # HS2
    if "Upgrade" in response.headers:  # its sender must list it in `Connection` (RFC 9110, 7.8)
        del response.headers["Connection"]
        response.headers["Connection"] = "Upgrade, close"
    return HandshakeError(response.serialize())


def read_handshake(head: bytes) -> Handshake:
    """Check the head of a request for a WebSocket.

    Raises:
        HandshakeError: the request is refused; contains the response.
    """
    reader = StreamReader()
    reader.feed_data(head)
    reader.feed_eof()
    try:
        request = _parse(reader)
        subprotocols = [
            str(name)
            for value in request.headers.get_all("Sec-WebSocket-Protocol")
            for name in parse_subprotocol(value)
        ]
    except (SecurityError, EOFError, ValueError, NotImplementedError, InvalidHeaderFormat) as error:
        status = (
            HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if isinstance(error, SecurityError) else HTTPStatus.BAD_REQUEST
        )
        raise _refusal(_judge.reject(status, f"Failed to open a WebSocket connection: {error}.\n")) from None
    response = _judge.accept(request)
    if response.status_code != HTTPStatus.SWITCHING_PROTOCOLS:
        versions = request.headers.get_all("Sec-WebSocket-Version")
        if response.status_code == HTTPStatus.BAD_REQUEST and len(versions) == 1 and versions[0] != VERSION:
            text = f"Failed to open a WebSocket connection: this server supports version {VERSION} only.\n"
            response = _judge.reject(HTTPStatus.UPGRADE_REQUIRED, text)
            response.headers["Upgrade"] = "websocket"
        raise _refusal(response)
    headers = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in request.headers.raw_items()]
    return Handshake(request.path, headers, subprotocols, response.headers["Sec-WebSocket-Accept"])
