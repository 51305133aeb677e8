"""Strict reader of one client's frames: bytes in, messages out. No I/O.

It replaces `websockets.Protocol`, which keeps a generator and a stream reader for each connection (about 3 KB) and
takes ten times as long for a short message. It reads the client's direction only, without compression.

Rules (tests quote these ids; sections are those of RFC 6455):
    FR1  Every frame is masked (5.1) and has no reserved bit and no reserved opcode (5.2). A length uses as few bytes as
         possible and is below 2^63 (5.2). Violations close with 1002.
    FR2  Control frames carry at most 125 bytes and are not fragmented (5.5). They may come between fragments (5.4),
         including a close: it ends the connection, and the unfinished message is dropped.
    FR3  A continuation needs a message to continue, and a new message starts only after the last one has ended (5.4).
         Violations close with 1002.
    FR4  A message, with all its fragments, has at most `limit_bytes`, which may change between frames. A larger one is
         refused (1009) when its length is announced, before any of it is kept. Empty fragments cost nothing, and many
         small ones no more than one large one. With `skips`, a binary message over the limit is dropped instead: an
         OVERSIZED event tells its size and its start (O7 of transport.py), and nothing more of it is kept.
    FR5  Text is UTF-8 (8.1). It is checked as it arrives, across fragments and pieces of frames, and refused (1007) at
         the first byte that makes it invalid whatever follows.
    FR6  A close frame is empty, or holds a code that may be sent (7.4) and UTF-8. Violations close with 1002 or 1007.
    FR7  It makes no difference how the bytes are split into pieces.
    FR8  After `MAX_FRAMES` frames of one message, `next` returns `MORE`, so that its caller can do something else.
"""

from __future__ import annotations

import codecs
import io
from typing import Final, Literal

from websockets.exceptions import ProtocolError
from websockets.frames import Close

from raffia.sockets.server.masking import apply_mask
from raffia.wire.transport import SKIP_FACTOR, START_BYTES

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
OVERSIZED: Final = 0x100  # an event, not an opcode
MAX_FRAMES = 256

Event = tuple[Literal[1], str] | tuple[Literal[0, 2, 8, 9, 10], bytes] | tuple[Literal[0x100], tuple[int, bytes]]
MORE: Event = (0, b"")

KEPT, DROPPED, TOLD = 0, 1, 2  # the current message: TOLD is dropped too, and its event has been returned

_utf8 = codecs.getincrementaldecoder("utf-8")


def _joined(kept: bytes | bytearray, more: bytes) -> bytes | bytearray:
    """Return `kept + more`; from the second piece on, `kept` grows in place."""
    if not kept:
        return more
    if isinstance(kept, bytes):
        kept = bytearray(kept)
    kept += more
    return kept


class FrameError(Exception):
    """A client broke RFC 6455 or sent a message that is too large.

    Attributes:
        code: the close code for it: 1002, 1007 or 1009.
        reason: what is wrong, at most 123 bytes.
        size_bytes: with 1009, the announced size of the message so far.
    """

    def __init__(self, code: int, reason: str, size_bytes: int = 0) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason
        self.size_bytes = size_bytes


class FrameReader:
    """Reads one client's frames.

    Args:
        limit_bytes: the largest message (FR4).
        skips: whether a binary message over the limit is dropped; otherwise it is an error (FR4).
    """

    __slots__ = (
        "_at",
        "_binary",
        "_buffer",
        "_decoder",
        "_fin",
        "_kind",
        "_mask",
        "_missing",
        "_size",
        "_skipping",
        "_text",
        "_texts",
        "idle",
        "limit_bytes",
        "skips",
    )

    def __init__(self, limit_bytes: int, *, skips: bool = False) -> None:
        self.limit_bytes = limit_bytes
        self.skips = skips
        self._skipping = KEPT
        self._buffer: bytes | bytearray = b""
        self._at = 0  # first byte of the buffer that has not been read
        self._mask = b""  # of the current data frame, rotated to its next byte; empty between frames
        self._missing = 0  # bytes of that frame's payload that have not arrived
        self._fin = False  # whether that frame ends its message
        self._kind = CONTINUATION  # TEXT or BINARY within a message
        self._size = 0  # bytes announced for that message so far
        self._binary: bytes | bytearray = b""  # the part of it that has arrived
        self._text = ""  # the same for text in one piece
        self._texts: io.StringIO | None = None  # the same for text in several pieces
        self._decoder: codecs.IncrementalDecoder | None = None
        self.idle = True  # the buffer is empty, and the next byte starts a message

    @property
    def waiting_bytes(self) -> int:
        """Number of bytes that were fed but not yet read."""
        return len(self._buffer) - self._at

    @property
    def held_bytes(self) -> int:
        """Bytes of memory that the unfinished message and what waits behind it take, at most."""
        here = len(self._binary) if self._skipping else self._size - self._missing
        return self.waiting_bytes + (4 * here if self._kind == TEXT else here)  # Python has up to 4 bytes a character

    def feed(self, data: bytes) -> None:
        """Add bytes from the network; then call `next` until it returns None."""
        self.idle = False
        self._buffer = _joined(self._buffer, data)

    def next(self) -> Event | None:
        """Return the next message or control frame, or None if more bytes are needed.

        Returns:
            `(TEXT, str)`, `(BINARY, bytes)`, `(PING, bytes)`, `(PONG, bytes)`, `(CLOSE, bytes)` or, with `skips`,
            `(OVERSIZED, (size, start))`. The payload of a close has been checked and can be sent back as it is. Don't
            call `next` after it. After `MORE`, call it again (FR8).

        Raises:
            FrameError: the client broke a rule. Don't call `next` after it.
        """
        for _ in range(MAX_FRAMES):
            if self._mask:
                whole = self._payload()
                if self._skipping:
                    event = self._skip(ends=whole and self._fin)
                    if event is not None:
                        return event
                elif whole and self._fin:
                    return self._message()
                if not whole:
                    self._wait()
                    return None
                continue
            opcode = self._head()
            if opcode is None:
                self._wait()
                return None
            if opcode >= CLOSE:
                return self._control(opcode)
        return MORE

    def _wait(self) -> None:
        # Once for each feed, so that no byte is copied more than twice, however small the pieces are.
        if self._at:
            rest = self._buffer[self._at :]
            self._buffer = bytearray(rest) if rest else b""
            self._at = 0
        self.idle = not self._buffer and not self._mask and self._kind == CONTINUATION

    def _head(self) -> int | None:
        """Read a frame's header; that of a control frame only once its payload has arrived too."""
        buffer, at = self._buffer, self._at
        left = len(buffer) - at
        if left < 2:
            return None
        first, second = buffer[at], buffer[at + 1]
        opcode = first & 0x0F
        if first & 0x70:
            raise FrameError(1002, "reserved bits are set")
        if not second & 0x80:
            raise FrameError(1002, "client frames must be masked")
        size = second & 0x7F
        if opcode >= CLOSE:
            if opcode > PONG:
                raise FrameError(1002, f"opcode {opcode} is reserved")
            if not first & 0x80:
                raise FrameError(1002, "control frames may not be fragmented")
            if size > 125:
                raise FrameError(1002, "control frames carry at most 125 bytes")
            return opcode if left >= 6 + size else None
        if opcode > BINARY:
            raise FrameError(1002, f"opcode {opcode} is reserved")
        if (opcode == CONTINUATION) != (self._kind != CONTINUATION):
            raise FrameError(
                1002, "nothing to continue" if opcode == CONTINUATION else "the last message has not ended"
            )
        head = 6
        if size > 125:
            wide = 2 if size == 126 else 8
            head += wide
            if left < 2 + wide:
                return None
            size = int.from_bytes(buffer[at + 2 : at + 2 + wide], "big")
            if size < (126 if wide == 2 else 0x10000):
                raise FrameError(1002, "a length must be written in the fewest bytes")
            if size >> 63:
                raise FrameError(1002, "a length must be below 2^63")
        if self._size + size > self.limit_bytes:
            total = self._size + size
            is_text = (opcode or self._kind) == TEXT
            if is_text or not self.skips or total > SKIP_FACTOR * self.limit_bytes:
                raise FrameError(1009, f"message of {total} bytes is over the limit of {self.limit_bytes}", total)
            if left >= head and not self._skipping:
                self._skipping = DROPPED
                self._binary = self._binary[:START_BYTES]
        if left < head:
            return None
        self._size += size
        self._missing = size
        self._fin = first >= 0x80
        if opcode:
            self._kind = opcode
        self._mask = bytes(buffer[at + head - 4 : at + head])
        self._at = at + head
        return opcode

    def _payload(self) -> bool:
        """Read the part of the current frame's payload that has arrived; returns whether that completed it."""
        buffer, at, missing, mask = self._buffer, self._at, self._missing, self._mask
        here = min(len(buffer) - at, missing)
        whole = here == missing
        if self._skipping:
            here_kept = min(here, START_BYTES - len(self._binary))
            if here_kept > 0:
                self._binary = _joined(self._binary, apply_mask(buffer[at : at + here_kept], mask))
            self._at = at + here
        elif here or whole:
            piece = apply_mask(buffer[at : at + here], mask)
            self._at = at + here
            if self._kind == TEXT:
                self._add_text(piece, final=whole and self._fin)
            else:
                self._binary = _joined(self._binary, piece)
        if whole:
            self._mask = b""
            self._missing = 0
            return True
        self._missing = missing - here
        turn = here & 3
        self._mask = mask[turn:] + mask[:turn]
        return False

    def _skip(self, *, ends: bool) -> Event | None:
        """Return the event of a message that is dropped, once, as soon as its start has arrived."""
        event: Event | None = None
        if self._skipping == DROPPED and (ends or len(self._binary) == START_BYTES):
            self._skipping = TOLD
            event = OVERSIZED, (self._size, bytes(self._binary))
        if ends:
            self._skipping = KEPT
            self._kind = CONTINUATION
            self._size = 0
            self._binary = b""
        return event

    def _add_text(self, piece: bytes, *, final: bool) -> None:
        if self._decoder is None:
            self._decoder = _utf8()
        try:
            text = self._decoder.decode(piece, final)
        except UnicodeDecodeError as error:
            raise FrameError(1007, f"text is not UTF-8: {error.reason}") from None
        if not final:
            # Python's decoder waits for the third byte of a surrogate, although no third byte makes it valid.
            waiting = self._decoder.getstate()[0]
            if len(waiting) == 2 and waiting[0] == 0xED and waiting[1] >= 0xA0:
                raise FrameError(1007, "text is not UTF-8: a surrogate")
        if not self._text:
            self._text = text
        elif text:
            if self._texts is None:  # in a list, each string would cost 76 bytes, however short
                self._texts = io.StringIO()
                self._texts.write(self._text)
            self._texts.write(text)

    def _message(self) -> Event:
        kind = self._kind
        self._kind = CONTINUATION
        self._size = 0
        if kind == TEXT:
            text = self._text if self._texts is None else self._texts.getvalue()
            self._text, self._texts, self._decoder = "", None, None
            return 1, text
        binary, self._binary = self._binary, b""
        return 2, bytes(binary)  # no copy if it came in one piece

    def _control(self, opcode: int) -> Event:
        buffer, at = self._buffer, self._at
        end = at + 6 + (buffer[at + 1] & 0x7F)
        payload = apply_mask(buffer[at + 6 : end], bytes(buffer[at + 2 : at + 6]))
        self._at = end
        if opcode == PING:
            return 9, payload
        if opcode == PONG:
            return 10, payload
        try:
            Close.parse(payload)
        except ProtocolError as error:
            raise FrameError(1002, f"close: {error}") from None
        except UnicodeDecodeError:
            raise FrameError(1007, "close: the reason is not UTF-8") from None
        return 8, payload
