"""The bytes that a client sends, for both dialects, and the updates that a typist makes. No I/O.

Independent of the server's codec, so that a mistake there cannot hide here, and cheap for the load generator: an update
is built directly instead of by a CRDT.

Rules:
    BN1  Every edit carries a token (`k` and seven digits) that can be found in any frame it arrives in, even if a
         server merges updates. Latency and acknowledgements are measured with it.
    BN2  A typist's updates are those of Yjs for appending to a text: each begins right of its predecessor.
"""

from __future__ import annotations

import json
import re
from typing import Literal

Dialect = Literal["yws", "hp"]

TOKEN = re.compile(rb"k\d{7}")
STEP1 = b"\x00\x00\x01\x00"  # with the empty state vector
STEP2 = b"\x00\x01\x02\x00\x00"  # with the empty update
PROVIDER_VERSION = b"4.7.0"
ROOT = b"content"


def varuint(number: int) -> bytes:
    """LEB128 of a non-negative integer, as lib0 writes it."""
    out = bytearray()
    while number > 127:
        out.append(128 | (number & 127))
        number >>= 7
    out.append(number)
    return bytes(out)


def buffer(content: bytes) -> bytes:
    """Bytes with their length in front."""
    return varuint(len(content)) + content


def token(number: int) -> bytes:
    """The mark of one edit (BN1)."""
    return b"k%07d" % number


def client_id(index: int) -> int:
    """A Yjs client id of full length (five bytes on the wire, as random ids have), different for every index."""
    return 0x8000_0000 | (index * 2_654_435_761 & 0x7FFF_FFFF)


def hello(dialect: Dialect, access_token: str) -> list[bytes]:
    """What a provider sends as soon as its socket opens, without the address."""
    if dialect == "yws":
        return [STEP1]
    return [b"\x02\x00" + buffer(access_token.encode()) + buffer(PROVIDER_VERSION), STEP1]


def update_message(update: bytes) -> bytes:
    """Update bytes as a sync message of either dialect, without the address."""
    return b"\x00\x02" + buffer(update)


def pointer_message(index: int, clock: int, mark: bytes) -> bytes:
    """An awareness message: client `index` has moved its cursor."""
    state = {
        "user": {"name": f"Zoë {index} 🎈", "color": "#30bced"},
        "cursor": {"x": 100 + index, "y": 200, "t": mark.decode()},
    }
    content = json.dumps(state, ensure_ascii=False).encode()
    return b"\x01" + buffer(varuint(1) + varuint(client_id(index)) + varuint(clock) + buffer(content))


class Typist:
    """Makes the updates of one client that types at the end of its own text (BN2)."""

    __slots__ = ("_client", "_clock")

    def __init__(self, client: int) -> None:
        self._client = varuint(client)
        self._clock = 0

    def type(self, text: bytes) -> bytes:
        """The update that appends `text`, which has to be ASCII: its length in bytes advances the clock."""
        head = b"\x01\x01" + self._client + varuint(self._clock)
        if self._clock == 0:
            struct = b"\x04\x01" + buffer(ROOT) + buffer(text)
        else:
            struct = b"\x84" + self._client + varuint(self._clock - 1) + buffer(text)
        self._clock += len(text)
        return head + struct + b"\x00"
