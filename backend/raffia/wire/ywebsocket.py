"""The y-websocket dialect: one document per socket, one message per frame.

Encoders return whole payloads, without the WebSocket header.

Rules (tests quote these ids):
    W1  A frame contains one whole message: not cut short, and followed by nothing. Exceptions: W4.
    W2  Known types are 0 (with subtypes 0, 1, 2), 1, 3 and, from y-sweet's clients, 102. Everything else is refused,
        including type 2 (denied), which only servers send; the error gives the type number and the byte offset.
    W3  We send one message per frame, of types 0, 1, 2 and 102 only: clients up to 3.1 read only the first message of a
        frame and throw on unknown types.
    W4  @y/websocket 4.0 release candidates answer packed messages with packed replies, in which the reply to an update
        is only a header, the byte `00`. So trailing `00` bytes after a sync message are ignored, and a frame of only
        `00` bytes is no message. In `00 00 01 buf`, where buf is the rest of the frame and not an empty state vector,
        the first `00` is such a header.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.errors import WireError
from raffia.wire.lib0 import read_buf, read_varuint, write_buf, write_string
from raffia.wire.messages import (
    Awareness,
    Message,
    Nothing,
    QueryAwareness,
    Step1,
    Step2,
    SyncStatusRequest,
    Update,
)

SYNC = 0
AWARENESS = 1
DENIED = 2
QUERY_AWARENESS = 3
SYNC_STATUS = 102

STEP1 = 0
STEP2 = 1
UPDATE = 2

KEEP_ALIVE = b"\x01\x01\x00"  # an awareness message without entries
_MAX_HEADS = 64  # bare headers that one packed reply may contain (W4)


def decode(frame: bytes) -> Message:
    """Read the message of one binary WebSocket frame.

    Args:
        frame: one whole frame; not kept.

    Returns:
        One of Step1, Step2, Update, Awareness, QueryAwareness, SyncStatusRequest, Nothing.

    Raises:
        WireError: it is not a message of this dialect, is cut short, or is followed by more bytes (closes 4400).
    """
    # Nearly all frames are updates or presence of less than 128 bytes, which the first three bytes describe fully.
    size = len(frame)
    if size > 2:
        kind = frame[0]
        if kind == 0:
            if frame[1] == 2 and frame[2] == size - 3 < 128:
                return Update(frame[3:])
        elif kind == 1 and frame[1] == size - 2 < 128:
            return Awareness(frame[2:])
    return _decode(frame)


def _decode(frame: bytes) -> Message:
    kind, at = read_varuint(frame, 0, "message type")
    if kind == SYNC:
        return _decode_sync(frame, at)
    if kind == AWARENESS:
        payload, at = read_buf(frame, at, "awareness")
        message: Message = Awareness(payload)
    elif kind == QUERY_AWARENESS:
        message = QueryAwareness()
    elif kind == SYNC_STATUS:
        payload, at = read_buf(frame, at, "sync status")
        message = SyncStatusRequest(payload)
    else:
        raise WireError(f"unknown message type {kind} (byte 0); known are 0, 1, 3 and 102")
    if at != len(frame):
        raise WireError(f"{len(frame) - at} bytes follow the message (byte {at}); send one message per frame")
    return message


def _decode_sync(frame: bytes, at: int) -> Message:
    if len(frame) <= _MAX_HEADS and not any(frame):
        return Nothing()
    kind, body = read_varuint(frame, at, "sync message type")
    if kind == STEP1:
        if _is_head_before_step2(frame):
            return _decode_sync(frame[1:], 1)
        content, end = read_buf(frame, body, "state vector")
        message: Message = Step1(content)
    elif kind == STEP2:
        content, end = read_buf(frame, body, "step 2")
        message = Step2(content)
    elif kind == UPDATE:
        content, end = read_buf(frame, body, "update")
        message = Update(content)
    else:
        raise WireError(f"unknown sync message type {kind} (byte {at}); known are 0, 1 and 2")
    if end != len(frame) and (len(frame) - end > _MAX_HEADS or any(frame[end:])):
        raise WireError(f"{len(frame) - end} bytes follow the message (byte {end}); send one message per frame")
    return message


def _is_head_before_step2(frame: bytes) -> bool:
    """Whether this is `00` and then a whole step 2 (W4), and not a step 1 with a state vector of one byte."""
    if len(frame) < 4 or frame[2] != 1 or frame[3] == 0:
        return False
    size_bytes, start = read_varuint(frame, 3, "step 2")
    return start + size_bytes == len(frame)


def step1(sv: bytes) -> bytes:
    """Ask for what we lack, given our state vector."""
    return b"\x00\x00" + write_buf(sv)


def step2(update: bytes) -> bytes:
    """Answer a step 1."""
    return b"\x00\x01" + write_buf(update)


def update(update: bytes) -> bytes:
    """Relay an edit."""
    return b"\x00\x02" + write_buf(update)


def awareness(payload: bytes) -> bytes:
    """Relay presence."""
    return b"\x01" + write_buf(payload)


def denied(reason: str) -> bytes:
    """Say that permission is denied; clients only log this."""
    return b"\x02\x00" + write_string(reason)


def echo_status(payload: bytes) -> bytes:
    """Echo a sync status request: all earlier updates of its session are durable."""
    return b"\x66" + write_buf(payload)
