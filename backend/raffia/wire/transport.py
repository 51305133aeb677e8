"""The interface between rooms and sockets: frames out, messages in. No I/O here.

Rules (tests quote these ids):
    O1  A frame is built once, however many readers it has. `wire` is built for the first reader that needs it.
    O2  No method of a transport blocks, and none raises because the peer has disconnected: writes are then dropped.
    O3  `congested` is set when more than `Limits.high_bytes` wait for the peer, and cleared when at most `low_bytes`
        do. The listener is told of both, after `opened` and before `closed`.
    O4  A transport never drops part of what was written to it. When more than `max_bytes` wait the whole connection is
        cut off: `closed(1013)`.
    O5  A listener gets `closed` exactly once, as its last call, whether or not it got `opened`. After the listener has
        called `close` it gets nothing but `closed`.
    O6  Until a listener has called `limit_messages`, `Limits.message_bytes` applies. A message over a lower limit is
        refused with 1013 and "overloaded", because it may be sent later; one over `Limits.message_bytes` always with
        `too_large_code`. While `holds` is set, a connection that is closed keeps little of what its peer sends, and
        one for which `holds` returns False is aborted.
    O7  A listener is told why its connection is refused (`refused`) before `closed`. With `Limits.skips_too_large`, a
        binary message over `message_bytes` does not close the connection: the listener is told its size and its first
        `START_BYTES` (`oversized`), and the rest is read and dropped. This needs no memory, and it lets a dialect with
        many sessions end only one of them. Beyond `SKIP_FACTOR` times the limit the connection is closed after all.
    O8  A transport that was given a `Turn` asks it before each batch of messages and tells it afterwards. A batch is
        what has arrived at once, or a single message.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

KIB = 1024
MIB = 1024 * KIB

START_BYTES = 2048  # of an oversized message, for the listener (O7)
SKIP_FACTOR = 16

_FIN = 0x80
_TEXT = 0x1
_BINARY = 0x2


Holds = Callable[[int], bool]
"""Called with the number of bytes kept of an unfinished message; returns whether they may be kept."""


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of one connection.

    Attributes:
        message_bytes: largest message that is accepted, with all its fragments; a larger one closes the connection with
            `too_large_code`.
        high_bytes: when more than this waits for the peer, the transport is congested.
        low_bytes: when no more than this waits, the congestion ends.
        max_bytes: when more than this waits, the connection is cut off. Must be larger than the largest document.
        close_timeout_s: how long the peer has to read what waits and to answer a close, in seconds.
        too_large_code: 1009 in RFC 6455; protocols whose clients reconnect after that may use a code of their own.
        skips_too_large: whether the listener decides about binary messages over `message_bytes` (O7).
    """

    message_bytes: int = 16 * MIB
    high_bytes: int = 64 * KIB
    low_bytes: int = 16 * KIB
    max_bytes: int = 256 * MIB
    close_timeout_s: float = 10.0
    too_large_code: int = 1009
    skips_too_large: bool = False


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
        payload: the message itself, for transports that do their own framing.
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


class Turn(Protocol):
    """Measures what a connection costs, and lets it wait (O8)."""

    def begin(self) -> bool:
        """Ask before a batch; if the answer is no, reading has been paused, and the batch is kept until it resumes."""

    def check(self) -> None:
        """Tell that a message has been handled, and another one may follow; may pause reading."""

    def end(self) -> None:
        """Tell that the batch is over."""


class Transport(Protocol):
    """The sending side of a connection (O2)."""

    congested: bool

    def buffered(self) -> int:
        """Bytes that wait for the peer."""

    def write(self, frame: Frame) -> None:
        """Send a prepared message."""

    def send(self, payload: bytes) -> None:
        """Send one binary message to this connection only."""

    def close(self, code: int, reason: str = "") -> None:
        """Close after everything that was written. Does nothing if called again.

        Args:
            code: the close code.
            reason: the close reason; cut to 123 bytes of UTF-8.
        """

    def abort(self) -> None:
        """End the connection at once: `closed(1013)`. What waits for the peer may be lost."""

    def limit_messages(self, size_bytes: int, holds: Holds | None = None) -> None:
        """Change the largest message that is accepted, with all its fragments, from the next frame on (O6).

        Args:
            size_bytes: the limit; the server's own, `uvicorn.Config.ws_max_size`, applies as well.
            holds: called whenever part of a message has arrived and is kept, and with 0 afterwards.
        """

    def probe(self) -> None:
        """Ask the peer for a sign of life, such as a pong."""

    def answered(self) -> bool:
        """Whether anything has arrived from the peer since the last `probe`."""

    def pause_reading(self) -> None:
        """Deliver no messages until `resume_reading`; TCP slows the peer down meanwhile."""

    def resume_reading(self) -> None:
        """Deliver messages again: from the event loop, never within this call."""


class Listener(Protocol):
    """The receiving side of a connection: plain calls on the event loop, in order (O5)."""

    def opened(self, transport: Transport) -> None:
        """The handshake is done; `transport` may be written to from now on."""

    def message(self, payload: bytes) -> None:
        """One whole binary message."""

    def text(self, payload: str) -> None:
        """One whole text message, valid UTF-8."""

    def oversized(self, size_bytes: int, limit_bytes: int, start: bytes) -> None:
        """A binary message over `Limits.message_bytes` is being dropped (O7); the listener may close the connection.

        Args:
            size_bytes: its size, as far as it is known: that of all fragments that were announced.
            limit_bytes: the limit that it is over: the server's own may be lower than `Limits.message_bytes`.
            start: its first `START_BYTES`, or fewer if the message or its first fragments are shorter.
        """

    def refused(self, code: int, reason: str) -> None:
        """The transport closes the connection with this code because of what the peer did (O7)."""

    def congested(self) -> None:
        """More is sent to the peer than it reads (O3)."""

    def drained(self) -> None:
        """The congestion has ended (O3)."""

    def closed(self, code: int) -> None:
        """The connection is over; `code` is 1005 if the peer gave none, 1006 if the connection was lost."""


def close_payload(code: int, reason: str) -> bytes:
    """Build the payload of a close frame; cuts the reason to 123 bytes, never within a character."""
    encoded = reason.encode()
    if len(encoded) > 123:
        encoded = encoded[:123].decode(errors="ignore").encode()
    return code.to_bytes(2, "big") + encoded
