"""The payload of an awareness message: presence states as both dialects carry them.

A payload is `n, n x (client id, clock, string(JSON))`; a removal has the JSON `null`.

Rules (tests quote these ids):
    AW1  The count is checked against the remaining bytes (an entry has at least 3) and against `max_entries`.
    AW2  A state has at most `max_state_bytes`. A larger one is read as None: it is not relayed, but the other states of
         its message are, and the session continues.
    AW3  A state is exactly one JSON object in UTF-8, at most `MAX_DEPTH` levels deep, without NaN and Infinity. States
         are relayed, so every client must be able to read them, including those that parse recursively.
    AW4  Nothing follows the last entry.
    AW5  Reading also returns each entry's own bytes, so that relaying it needs no encoding.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import json
from typing import Any, NoReturn

from raffia.crdt.nesting import nests_deeper
from raffia.errors import PresenceError, TooLargeError, WireError
from raffia.wire.lib0 import read_buf, read_varuint, write_buf, write_varuint

MAX_DEPTH = 32
MAX_ENTRIES = 10_000
MAX_STATE_BYTES = 16 * 1024

NULL = b"null"
_MIN_ENTRY_BYTES = 3  # client id, clock, empty string

RawEntry = tuple[int, int, bytes | None, bytes]
"""Client id, clock, JSON of the state (None if it is too large, AW2), and the entry's own bytes (AW5)."""


def read_entries(
    payload: bytes, *, max_entries: int = MAX_ENTRIES, max_state_bytes: int = MAX_STATE_BYTES
) -> list[RawEntry]:
    """Read the entries of an awareness payload, without checking their JSON (see `check_state`).

    Args:
        payload: the whole payload.
        max_entries: how many entries are allowed (AW1).
        max_state_bytes: how large one state may be (AW2).

    Raises:
        PresenceError: the payload is cut short, or continues after the last entry (closes 4400).
        TooLargeError: it has more entries than allowed.
    """
    try:
        return _read_entries(payload, max_entries, max_state_bytes)
    except WireError as error:
        raise PresenceError(f"awareness: {error}") from None


def _read_entries(payload: bytes, max_entries: int, max_state_bytes: int) -> list[RawEntry]:
    count, at = read_varuint(payload, 0, "count of states")
    if count > (len(payload) - at) // _MIN_ENTRY_BYTES:
        raise PresenceError(f"awareness announces {count} states but {len(payload) - at} bytes follow (byte {at})")
    if count > max_entries:
        raise TooLargeError(f"awareness message with {count} states is over the limit of {max_entries}")
    entries: list[RawEntry] = []
    for _ in range(count):
        start = at
        client, at = read_varuint(payload, at, "client id")
        clock, at = read_varuint(payload, at, "clock")
        state, at = read_buf(payload, at, "state")
        if len(state) > max_state_bytes:
            entries.append((client, clock, None, b""))
        else:
            entries.append((client, clock, state, payload[start:at]))
    if at != len(payload):
        raise PresenceError(f"awareness: {len(payload) - at} bytes follow the last state (byte {at})")
    return entries


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)


def check_state(state: bytes) -> dict[str, Any]:
    """Check that clients can read a state (AW3).

    Returns:
        The parsed state.

    Raises:
        PresenceError: not UTF-8, not JSON, too deep, or not an object (closes 4400).
    """
    if nests_deeper(state, MAX_DEPTH):
        raise PresenceError(f"presence state is nested more than {MAX_DEPTH} levels deep")
    try:
        text = state.decode()
        value, end = _DECODER.raw_decode(text)
    except RecursionError:
        raise PresenceError(f"presence state is nested more than {MAX_DEPTH} levels deep") from None
    except ValueError as error:
        raise PresenceError(f"presence state is not JSON: {error}") from None
    if end != len(text):
        raise PresenceError(f"presence state continues after its JSON (character {end})")
    if type(value) is not dict:
        raise PresenceError(f"presence state is a JSON {type(value).__name__}; expected an object or null")
    return value


def write_entry(client: int, clock: int, state: bytes | None) -> bytes:
    """Write one entry; None is a removal."""
    return write_varuint(client) + write_varuint(clock) + write_buf(NULL if state is None else state)
