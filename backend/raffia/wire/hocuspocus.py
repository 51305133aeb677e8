"""The Hocuspocus dialect: many documents on one socket, each message with an address.

Encoders take the address, or its `prefix` as bytes, and return whole payloads, without the WebSocket header. With the
prefix `b""` they return only the body. A frame is prefix + body, and the bodies of sync and awareness messages are byte
for byte the frames of `raffia.wire.ywebsocket`, so a room prepares a body once for both dialects.

`raffia.sockets.conversation` decides what each message asks for.

Rules (tests quote these ids):
    HO1  A frame contains one address and one whole message: not cut short, and followed by nothing.
    HO2  An address is a document's name, or name + NUL + session id, split at the first NUL. Messages to a session
         carry exactly the address that the client uses.
    HO3  Types 4 and 6 are internal to Hocuspocus servers, and 8 is only sent by servers. They are refused like unknown
         types; the error gives the type number and the byte offset.
    HO4  Ping and pong are the single bytes `09` and `0a` without an address. We never send a ping, because v2 and v3
         providers throw on it.
    HO5  An Auth from a client is `00`, the token and, in v4, the provider's version.
    HO6  A CLOSE from a client may carry a reason; the published providers send none.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.errors import WireError
from raffia.wire.lib0 import read_buf, read_string, read_varuint, write_buf, write_string
from raffia.wire.messages import (
    Auth,
    Awareness,
    CloseDocument,
    Message,
    Ping,
    Pong,
    QueryAwareness,
    Stateless,
    Step1,
    Step2,
    Update,
)

SYNC = 0
AWARENESS = 1
AUTH = 2
QUERY_AWARENESS = 3
STATELESS = 5
CLOSE = 7
SYNC_STATUS = 8
PING = 9
PONG = 10

MAX_ADDRESS_BYTES = 1024  # a document id has at most 256; the rest is for the session id

Address = str | bytes
"""An address, or its prefix as `prefix` returns it."""


def decode(frame: bytes) -> tuple[str, Message]:
    """Read the address and the message of one binary WebSocket frame.

    Args:
        frame: one whole frame; not kept.

    Returns:
        The exact address (empty for Ping and Pong) and one of Step1, Step2, Update, Awareness, Auth, QueryAwareness,
        Stateless, CloseDocument, Ping, Pong.

    Raises:
        WireError: it is not a message of this dialect, is cut short, or is followed by more bytes (closes 4400).
    """
    # As in y-websocket: nearly all frames are updates or presence with one-byte lengths.
    size = len(frame)
    if size > 4:
        at = frame[0] + 1
        if 1 < at < 129 and at + 3 < size:
            kind = frame[at]
            if kind == 0:
                if frame[at + 1] == 2 and frame[at + 2] == size - at - 3 < 128:
                    return _address(frame, 1, at), Update(frame[at + 3 :])
            elif kind == 1 and frame[at + 1] == size - at - 2 < 128:
                return _address(frame, 1, at), Awareness(frame[at + 2 :])
    return _decode(frame)


def _address(frame: bytes, start: int, end: int) -> str:
    try:
        return frame[start:end].decode()
    except UnicodeDecodeError as error:
        raise WireError(f"address is not UTF-8 (byte {start + error.start})") from None


def _decode(frame: bytes) -> tuple[str, Message]:
    if len(frame) == 1:
        if frame[0] == PING:
            return "", Ping()
        if frame[0] == PONG:
            return "", Pong()
    size_bytes, start = read_varuint(frame, 0, "address")
    if not 0 < size_bytes <= MAX_ADDRESS_BYTES:
        raise WireError(f"address has {size_bytes} bytes; 1 to {MAX_ADDRESS_BYTES} are allowed (byte 0)")
    at = start + size_bytes
    if at > len(frame):
        raise WireError(f"address announces {size_bytes} bytes but {len(frame) - start} follow (byte {start})")
    address = _address(frame, start, at)
    message, end = _decode_body(frame, at)
    if end != len(frame):
        raise WireError(f"{len(frame) - end} bytes follow the message (byte {end}); send one message per frame")
    return address, message


def decode_start(start: bytes) -> tuple[str, Step2 | Update | None]:
    """Read the start of a frame that is too large.

    Returns:
        The address, and an empty message of the frame's kind if clients expect an answer to that kind, otherwise None.

    Raises:
        WireError: there is no address.
    """
    size_bytes, at = read_varuint(start, 0, "address")
    end = at + size_bytes
    if not 0 < size_bytes <= MAX_ADDRESS_BYTES or end > len(start):
        raise WireError(f"address has {size_bytes} bytes; 1 to {MAX_ADDRESS_BYTES} are allowed (byte 0)")
    kinds: dict[bytes, Step2 | Update] = {b"\x00\x01": Step2(b""), b"\x00\x02": Update(b"")}
    return _address(start, at, end), kinds.get(start[end : end + 2])


def _decode_body(frame: bytes, start: int) -> tuple[Message, int]:
    kind, at = read_varuint(frame, start, "message type")
    if kind == SYNC:
        return _decode_sync(frame, at)
    if kind == AWARENESS:
        payload, at = read_buf(frame, at, "awareness")
        return Awareness(payload), at
    if kind == AUTH:
        return _decode_auth(frame, at)
    if kind == QUERY_AWARENESS:
        return QueryAwareness(), at
    if kind == STATELESS:
        text, at = read_string(frame, at, "stateless message")
        return Stateless(text), at
    if kind == CLOSE:
        reason = ""
        if at < len(frame):
            reason, at = read_string(frame, at, "close reason")
        return CloseDocument(reason), at
    raise WireError(f"unknown message type {kind} (byte {start}); known are 0, 1, 2, 3, 5 and 7")


def _decode_sync(frame: bytes, start: int) -> tuple[Message, int]:
    kind, at = read_varuint(frame, start, "sync message type")
    if kind == 0:
        sv, at = read_buf(frame, at, "state vector")
        return Step1(sv), at
    if kind == 1:
        update, at = read_buf(frame, at, "step 2")
        return Step2(update), at
    if kind == 2:
        update, at = read_buf(frame, at, "update")
        return Update(update), at
    raise WireError(f"unknown sync message type {kind} (byte {start}); known are 0, 1 and 2")


def _decode_auth(frame: bytes, start: int) -> tuple[Message, int]:
    kind, at = read_varuint(frame, start, "auth message type")
    if kind != 0:
        raise WireError(f"unknown auth message type {kind} (byte {start}); a client sends 0")
    token, at = read_string(frame, at, "token")
    version = None
    if at < len(frame):
        version, at = read_string(frame, at, "provider version")
    return Auth(token, version), at


def split_address(address: str) -> tuple[str, str | None]:
    """Split an address at its first NUL (HO2).

    Returns:
        The document's name, which is not checked, and the session id, or None without one.
    """
    name, separator, session_id = address.partition("\0")
    return name, session_id if separator else None


def prefix(address: str) -> bytes:
    """The bytes that every frame with this address starts with."""
    return write_string(address)


def _prefix(address: Address) -> bytes:
    return address if isinstance(address, bytes) else write_string(address)


def step1(address: Address, sv: bytes) -> bytes:
    """Ask for what we lack, given our state vector."""
    return _prefix(address) + b"\x00\x00" + write_buf(sv)


def step2(address: Address, update: bytes) -> bytes:
    """Answer a step 1."""
    return _prefix(address) + b"\x00\x01" + write_buf(update)


def update(address: Address, update: bytes) -> bytes:
    """Relay an edit."""
    return _prefix(address) + b"\x00\x02" + write_buf(update)


def awareness(address: Address, payload: bytes) -> bytes:
    """Relay presence."""
    return _prefix(address) + b"\x01" + write_buf(payload)


def keep_alive(address: Address) -> bytes:
    """An awareness message without entries, which keeps v2, v3 and v4 providers alive."""
    return _prefix(address) + b"\x01\x01\x00"


def ask_token(address: Address) -> bytes:
    """Ask for the token again; providers of v3 and v4 send an Auth, v2 does nothing."""
    return _prefix(address) + b"\x02\x00"


def authenticated(address: Address, *, read_only: bool) -> bytes:
    """Say that the session is open, and whether it may write."""
    return _prefix(address) + b"\x02\x02" + write_string("readonly" if read_only else "read-write")


def denied(address: Address, reason: str) -> bytes:
    """Refuse a session; the socket stays open and a new Auth may follow."""
    return _prefix(address) + b"\x02\x01" + write_string(reason)


def stateless(address: Address, text: str) -> bytes:
    """Relay an application message."""
    return _prefix(address) + b"\x05" + write_string(text)


def close(address: Address, reason: str) -> bytes:
    """End a session for good: the provider does not reconnect it. The socket stays open."""
    return _prefix(address) + b"\x07" + write_string(reason)


def sync_status(address: Address, *, ok: bool) -> bytes:
    """Answer one Step2 or Update: stored (`ok`) or refused."""
    return _prefix(address) + (b"\x08\x01" if ok else b"\x08\x00")


def pong() -> bytes:
    """Answer a ping."""
    return b"\x0a"
