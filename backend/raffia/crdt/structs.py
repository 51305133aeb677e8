"""Single structs as bytes: reading their parts, cutting and joining them. Updates are read in `raffia.crdt.update`.

Rules (tests quote these ids):
    ST1  The part after a cut has the id before it as left origin and the same right origin; it does not name a parent.
    ST2  Text is cut between UTF-16 units. A cut through a surrogate pair replaces each half with U+FFFD, as Yjs does in
         every copy of the document that has a struct starting at that clock.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import Final

from raffia.crdt.anyvalue import skip_any
from raffia.crdt.update import (
    ANY,
    DELETED,
    GC,
    HAS_ORIGIN,
    HAS_PARENT_KEY,
    HAS_RIGHT_ORIGIN,
    KIND,
    SKIP,
    STRING,
    Section,
    write_number,
)

BARE: Final = frozenset((GC, DELETED, SKIP))  # nothing but a length
_LOW_SURROGATES: Final = range(0xDC00, 0xE000)


def right_origin(update: bytes, offset: int, content: int, info: int) -> bytes:
    """The encoded right origin of the struct at `offset`; empty if it has none."""
    if not info & HAS_RIGHT_ORIGIN:
        return b""
    at = offset + 1
    if info & HAS_ORIGIN:  # skip two numbers
        while update[at] > 127:
            at += 1
        at += 1
        while update[at] > 127:
            at += 1
        at += 1
    return update[at:content]


def payload(update: bytes, kind: int, content: int, end: int) -> bytes:
    """The content of a text or of values without its leading length or count; empty for bare lengths."""
    if kind in BARE:
        return b""
    while update[content] > 127:
        content += 1
    return update[content + 1 : end]


def continued_head(kind: int, client: int, start: int, right: bytes, key: int) -> bytes:
    """Info byte and origins of a struct that was cut off at `start` (ST1)."""
    head = bytearray((HAS_ORIGIN | (HAS_RIGHT_ORIGIN if right else 0) | key | kind,))
    write_number(head, client)
    write_number(head, start - 1)
    return bytes(head) + right


def struct(kind: int, head: bytes, length: int, content: bytes) -> bytes:
    """One whole struct of text, values or a bare length. `length` is in clocks."""
    if kind == STRING:
        length = len(content)
    if length < 128:
        return b"%b%c%b" % (head, length, content)
    number = bytearray()
    write_number(number, length)
    return b"%b%b%b" % (head, bytes(number), content)


def value_offsets(values: bytes, count: int) -> list[int]:
    """The offsets at which each of `count` values begins, and at which the last one ends."""
    cuts = [0]
    for _ in range(count):
        cuts.append(skip_any(values, cuts[-1]))
    return cuts


def after_cut(update: bytes, section: Section, index: int, clock: int) -> bytes:
    """The part of struct `index` from `clock`, which is inside the struct, to its end (ST1, ST2)."""
    is_last = index + 1 == len(section.clocks)
    end = section.end if is_last else section.clocks[index + 1]
    stop = section.stop if is_last else section.offsets[index + 1]
    offset, content = section.offsets[index], section.contents[index]
    info = update[offset]
    kind = info & KIND
    left = end - clock
    if kind in (GC, SKIP):
        return struct(kind, bytes((kind,)), left, b"")
    rest = payload(update, kind, content, stop)
    if kind == ANY:
        rest = rest[value_offsets(rest, clock - section.clocks[index])[-1] :]
    elif kind == STRING:
        units = rest.decode().encode("utf-16-le")[2 * (clock - section.clocks[index]) :]
        if int.from_bytes(units[:2], "little") in _LOW_SURROGATES:
            units = b"\xfd\xff" + units[2:]
        rest = units.decode("utf-16-le").encode()
    right = right_origin(update, offset, content, info)
    return struct(kind, continued_head(kind, section.client, clock, right, info & HAS_PARENT_KEY), left, rest)
