"""Just enough of lib0 and the Yjs update format for byte-level tests, independent of `raffia.wire` and `raffia.crdt`.

If tests used the package's own codec, they would not notice a fault in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

EMPTY_UPDATE = b"\x00\x00"
EMPTY_VECTOR = b"\x00"


def varuint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(128 | (number & 127))
        number >>= 7
    out.append(number)
    return bytes(out)


def buf(data: bytes) -> bytes:
    return varuint(len(data)) + data


def string(text: str) -> bytes:
    return buf(text.encode())


def read_varuint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return number, at


def read_buf(data: bytes, at: int) -> tuple[bytes, int]:
    size, at = read_varuint(data, at)
    if at + size > len(data):
        raise ValueError(f"buffer announces {size} bytes but {len(data) - at} follow")
    return data[at : at + size], at + size


def read_string(data: bytes, at: int) -> tuple[str, int]:
    raw, at = read_buf(data, at)
    return raw.decode(), at


@dataclass
class Parsed:
    """The content of an update: clock ranges by client, Skip structs, delete ranges."""

    structs: dict[int, tuple[int, int]] = field(default_factory=dict)
    skips: list[tuple[int, int, int]] = field(default_factory=list)
    deletes: dict[int, list[tuple[int, int]]] = field(default_factory=dict)


def _skip_any(data: bytes, at: int) -> int:
    tag = data[at]
    at += 1
    if tag in (127, 126, 121, 120):
        return at
    if tag == 125:
        return read_varuint(data, at)[1]
    if tag == 124:
        return at + 4
    if tag in (123, 122):
        return at + 8
    if tag in (119, 116):
        return read_buf(data, at)[1]
    count, at = read_varuint(data, at)
    for _ in range(count):
        if tag == 118:
            _, at = read_buf(data, at)
        at = _skip_any(data, at)
    return at


def _content(data: bytes, at: int, kind: int) -> tuple[int, int]:
    """The length of one item's content in clocks, and its end."""
    if kind == 1:
        return read_varuint(data, at)
    if kind in (2, 8):
        count, at = read_varuint(data, at)
        for _ in range(count):
            at = read_buf(data, at)[1] if kind == 2 else _skip_any(data, at)
        return count, at
    if kind == 4:
        text, at = read_string(data, at)
        return len(text.encode("utf-16-le")) // 2, at
    if kind in (3, 5):
        return 1, read_buf(data, at)[1]
    if kind == 6:
        return 1, read_buf(data, read_buf(data, at)[1])[1]
    if kind == 7:
        shape, at = read_varuint(data, at)
        return 1, read_buf(data, at)[1] if shape in (3, 5) else at
    if kind == 9:
        _, at = read_buf(data, at)
        return 1, _skip_any(data, at)
    raise ValueError(f"unknown content {kind} at byte {at}")


def _struct(data: bytes, at: int) -> tuple[int, int, int]:
    info = data[at]
    at += 1
    kind = info & 31
    if kind in (0, 10):
        length, at = read_varuint(data, at)
        return kind, length, at
    for flag in (0x80, 0x40):
        if info & flag:
            _, at = read_varuint(data, at)
            _, at = read_varuint(data, at)
    if not info & 0xC0:
        named, at = read_varuint(data, at)
        if named:
            _, at = read_buf(data, at)
        else:
            _, at = read_varuint(data, at)
            _, at = read_varuint(data, at)
        if info & 0x20:
            _, at = read_buf(data, at)
    length, at = _content(data, at, kind)
    return kind, length, at


def parse_update(data: bytes) -> Parsed:
    """Parse a whole update (encoding v1); raises ValueError or IndexError if it is malformed."""
    parsed = Parsed()
    clients, at = read_varuint(data, 0)
    for _ in range(clients):
        count, at = read_varuint(data, at)
        client, at = read_varuint(data, at)
        start, at = read_varuint(data, at)
        clock = start
        for _ in range(count):
            kind, length, at = _struct(data, at)
            if kind == 10:
                parsed.skips.append((client, clock, length))
            clock += length
        parsed.structs[client] = (start, clock)
    clients, at = read_varuint(data, at)
    for _ in range(clients):
        client, at = read_varuint(data, at)
        count, at = read_varuint(data, at)
        for _ in range(count):
            clock, at = read_varuint(data, at)
            length, at = read_varuint(data, at)
            parsed.deletes.setdefault(client, []).append((clock, clock + length))
    if at != len(data):
        raise ValueError(f"{len(data) - at} bytes behind the update")
    return parsed


def write_vector(clocks: dict[int, int]) -> bytes:
    return varuint(len(clocks)) + b"".join(varuint(client) + varuint(clock) for client, clock in clocks.items())


def insert(client: int, clock: int, text: str, after: int | None = None, root: str = "t") -> bytes:
    """An update that inserts `text` at the start of a root text, or right of this client's own clock `after`."""
    head = b"\x01\x01" + varuint(client) + varuint(clock)
    if after is None:
        return head + b"\x04\x01" + string(root) + string(text) + b"\x00"
    return head + b"\x84" + varuint(client) + varuint(after) + string(text) + b"\x00"
