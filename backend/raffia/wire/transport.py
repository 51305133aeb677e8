"""The interface between rooms and sockets: frames out, messages in. No I/O here.

Rules (tests quote these ids):
    O1  A frame is built once, however many readers it has; `wire` is made at the first reader that needs it.
    O2  No method of an outlet blocks, and none raises because the peer has gone: what is written then is dropped.
    O3  `congested` is set when more than `Limits.high_bytes` wait for the peer, and cleared when no more than
        `low_bytes` do. The listener hears both, after `opened` and before `closed`.
    O4  An outlet never drops a part of what was written to it. When more than `max_bytes` wait it is cut off as a
        whole: `closed(1013)`.
    O5  A listener that was handed over hears `closed` exactly once, as its last call, whether or not it heard `opened`.
        After its own `close` it hears nothing but that.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

KIB = 1024
MIB = 1024 * KIB

_FIN = 0x80
_TEXT = 0x1
_BINARY = 0x2


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of one connection.

    Attributes:
        message_bytes: largest message taken, its fragments added up; a larger one closes with `too_large_code`.
        high_bytes: so much may wait for the peer before the outlet is congested.
        low_bytes: congestion ends when no more than this waits.
        most_bytes: more than this never waits: the connection is cut off. Larger than the largest document.
        close_timeout_s: seconds that a peer has to take what waits and to answer a close.
        too_large_code: RFC 6455 says 1009; a protocol whose clients try again after that may say it in its own code.
    """

    message_bytes: int = 16 * MIB
    high_bytes: int = 64 * KIB
    low_bytes: int = 16 * KIB
    max_bytes: int = 256 * MIB
    close_timeout_s: float = 10.0
    too_large_code: int = 1009


DEFAULT_LIMITS = Limits()


def wire_frame(opcode: int, payload: bytes) -> bytes:
    """One whole, unmasked RFC 6455 frame.

    Args:
        opcode: 1 text, 2 binary, 8 close, 9 ping, 10 pong.
        payload: the payload; at most 125 bytes for 8, 9 and 10.
    """
    size = len(payload)
    if size < 126:
        return bytes((_FIN | opcode, size)) + payload
    if size < 0x10000:
        return bytes((_FIN | opcode, 126, size >> 8, size & 0xFF)) + payload
    return bytes((_FIN | opcode, 127)) + size.to_bytes(8, "big") + payload


class Frame:
    """One binary message, prepared once for many readers (O1).

    Attributes:
        payload: the message itself, for outlets that frame it themselves.
    """

    __slots__ = ("_wire", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._wire: bytes | None = None

    @property
    def wire(self) -> bytes:
        """The payload as one unmasked binary frame."""
        wire = self._wire
        if wire is None:
            wire = self._wire = wire_frame(_BINARY, self.payload)
        return wire


class Transport(Protocol):
    """One connection as those above it see it: where its messages go (O2)."""

    congested: bool

    def buffered(self) -> int:
        """Bytes that wait for the peer."""

    def write(self, frame: Frame) -> None:
        """Send a prepared message."""

    def send(self, payload: bytes) -> None:
        """Send one binary message to this connection alone."""

    def close(self, code: int, reason: str = "") -> None:
        """Close after what was written; a reason longer than 123 bytes of UTF-8 is cut. A second close does nothing."""

    def probe(self) -> None:
        """Ask the peer for a sign of life, such as a pong."""

    def answered(self) -> bool:
        """Whether anything has arrived from the peer since the last `probe`."""

    def pause_reading(self) -> None:
        """Deliver no message until `resume_reading`; the peer feels it through TCP."""

    def resume_reading(self) -> None:
        """Deliver again, from the event loop, never from within this call."""


class Listener(Protocol):
    """What a connection tells those above it: plain calls on the event loop, in order (O5)."""

    def opened(self, transport: Transport) -> None:
        """The handshake is done; `transport` may be written to from here on."""

    def message(self, payload: bytes) -> None:
        """One whole binary message."""

    def text(self, payload: str) -> None:
        """One whole text message, valid UTF-8."""

    def congested(self) -> None:
        """The peer reads more slowly than it is sent to (O3)."""

    def drained(self) -> None:
        """The congestion has ended (O3)."""

    def closed(self, code: int) -> None:
        """It is over; `code` is 1005 when the peer gave none, 1006 when the connection was lost."""


def close_payload(code: int, reason: str) -> bytes:
    """The payload of a close frame; the reason is cut to 123 bytes, never within a character."""
    encoded = reason.encode()
    if len(encoded) > 123:
        encoded = encoded[:123].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + encoded
