"""The strict reader of Yjs updates and state vectors (encoding v1), which all bytes from outside go through first.

An update is a list of client sections and a delete set. A section has a client id, the clock of its first struct, and
structs; a struct is an item (text, value, type, ...), GC (deleted, with neither content nor position) or Skip (a gap).
Each covers one or more clocks. The reader does not decode the content: it checks it and reports where the parts are.

Rules (tests quote these ids):
    U1  Counts and lengths are checked against the remaining bytes before they are used, and there are no trailing
        bytes.
    U2  Numbers have their shortest encoding and are at most 2^53 - 1 (client ids) or below 2^31 (clocks and the ends
        of structs and delete ranges).
    U3  A struct covers at least one clock; a section has at least one struct; a client has at most one section.
    U4  A reference (left origin, right origin, parent) to the struct's own client points below the struct's clock.
        References to other clients are reported but not checked: only the document knows whether they exist.
    U5  Flags, kinds of content and types are those that both Yjs 13 and pycrdt read. (The retired ContentJSON, kind 2,
        and XML hooks are refused: pycrdt reads one text too many or too few, and then misreads the rest.)
    U6  Text is valid UTF-8 and counted in UTF-16 code units; values and JSON follow the rules of `anyvalue`.
    U7  A client has at most one list of delete ranges; they are sorted, do not overlap and are not empty. A list
        without ranges is dropped, or it would count as new each time it arrives.
    U8  A refusal is an `UpdateError` that says what is wrong, how much and at which byte; nothing else is raised,
        except `TooLargeError` for the size and `CostlyError` for the allowance.
    U9  An update from outside names at most `MAX_CLIENTS` clients, and its delete set at most `MAX_DELETE_CLIENTS`:
        each takes microseconds and up to 2 KB of memory, but only 6 bytes to send. Our own bytes have no such limit.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Iterable
from typing import Final, NoReturn

from raffia.crdt.anyvalue import check_json, check_utf8, cut_short, read_long, skip_any, skip_bytes, skip_text
from raffia.crdt.shape import DELETES_S, RANGE_S, SECTION_S, Allowance
from raffia.errors import TooLargeError, UpdateError

CLOCK_LIMIT: Final = 1 << 31  # clocks and ends stay below; yrs counts in 32 bits and wraps
# U9. Every editor session that has made an edit is a client for ever. Structs of all clients arrive together only if a
# client sends a whole document that the server lacks: 50,000 are 100 such sessions on every working day for two years.
# Every step 2 has the whole delete set, so no client could open a document that exceeds the limit for deletes.
MAX_CLIENTS: Final = 50_000
MAX_DELETE_CLIENTS: Final = 200_000

# Kinds of structs, the low five bits of the info byte.
GC, DELETED, JSON_VALUES, BINARY, STRING, EMBED, FORMAT, TYPE, ANY, SUBDOCUMENT, SKIP = range(11)
KIND: Final = 31
_PLACELESS: Final = frozenset((GC, SKIP))  # neither origins nor parent
_COUNTED: Final = frozenset((GC, DELETED, SKIP))  # content is only a length
# Flags of the info byte: what follows it. The parent is written only if there is neither origin.
HAS_ORIGIN: Final = 0x80
HAS_RIGHT_ORIGIN: Final = 0x40
HAS_PARENT_KEY: Final = 0x20
HAS_ORIGINS: Final = HAS_ORIGIN | HAS_RIGHT_ORIGIN
ARRAY_TYPE, MAP_TYPE, TEXT_TYPE, XML_ELEMENT, XML_FRAGMENT, XML_HOOK, XML_TEXT = range(7)


class Section:
    """The structs of one client in an update.

    Attributes:
        client: the client id.
        start: clock of the first struct.
        end: clock after the last one.
        clocks: start clock of each struct, including Skips.
        offsets: byte offset of each struct in the update.
        contents: byte offset of the content of each struct (after origins and parent).
        stop: byte offset after the last struct.
        skips: clock ranges of the Skip structs, end exclusive.
        refs: references to other clients: (index of the struct, client, clock).
        chained: indexes of the structs whose left origin is the id just before them, as when typing continues.
    """

    __slots__ = ("chained", "client", "clocks", "contents", "end", "offsets", "refs", "skips", "start", "stop")

    def __init__(self, client: int, start: int) -> None:
        self.client = client
        self.start = start
        self.end = start
        self.clocks: list[int] = []
        self.offsets: list[int] = []
        self.contents: list[int] = []
        self.stop = 0
        self.skips: list[tuple[int, int]] = []
        self.refs: list[tuple[int, int, int]] = []
        self.chained: list[int] = []

    def __repr__(self) -> str:
        return f"Section(client={self.client}, {self.start}..{self.end}, {len(self.clocks)} structs)"


class UpdateFacts:
    """The result of `read_update`.

    Attributes:
        size: size of the update in bytes.
        sections: one per client, in the order of the update.
        deletes: (client, [(start, end), ...]), end exclusive, in the order of the update.
        deletes_at: byte offset of the delete set.
    """

    __slots__ = ("deletes", "deletes_at", "sections", "size")

    def __init__(
        self, size: int, sections: list[Section], deletes: list[tuple[int, list[tuple[int, int]]]], deletes_at: int
    ) -> None:
        self.size = size
        self.sections = sections
        self.deletes = deletes
        self.deletes_at = deletes_at


def read_update(update: bytes, *, limit: int | None = None, allowance: Allowance | None = None) -> UpdateFacts:
    """Read an update strictly (U1-U9).

    Args:
        update: Yjs update bytes, encoding v1.
        limit: for updates from outside, the largest accepted size in bytes. None for our own updates: any size, and
            any number of clients (U9).
        allowance: what reading it may cost; None for anything.

    Raises:
        CostlyError: it costs more than the allowance.
        TooLargeError: over `limit` (closes 4413).
        UpdateError: not an update that a correct client sends (closes 4400).
    """
    size = len(update)
    if limit is not None and size > limit:
        raise TooLargeError(
            f"update of {size} bytes is over the limit of {limit}; split the paste or raise RAFFIA_MAX_UPDATE_BYTES; "
            "what a client brings back when it connects is limited by RAFFIA_MAX_DOCUMENT_BYTES"
        )
    # An IndexError means that the update is truncated; checking each index would take a quarter of the time.
    try:
        count = update[0]
        at = 1
        if count > 127:
            count, at = read_long(update, at, count)
            if count > MAX_CLIENTS and limit is not None:
                _too_many("update", count, MAX_CLIENTS, 0)
        if count > size - at:
            cut_short("update", count, size - at, 0, "clients")
        if allowance is not None:
            allowance.take(count, SECTION_S)
        sections = []
        if count:
            seen = set()
            for _ in range(count):
                if allowance is not None:
                    allowance.take_section(update, at)
                section, at = _read_section(update, at, size)
                if section.client in seen:
                    raise UpdateError(f"client {section.client} has a second section (ends at byte {at})")
                seen.add(section.client)
                sections.append(section)
        deletes_at = at
        if at + 1 == size and update[at] == 0:  # the usual case: no deletes
            return UpdateFacts(size, sections, [], deletes_at)
        deletes, at = _read_deletes(update, at, size, limit is not None, allowance)
    except IndexError:
        raise UpdateError(f"update of {size} bytes is cut short (byte {size})") from None
    if at != size:
        raise UpdateError(f"update ends at byte {at} but {size - at} more bytes follow")
    return UpdateFacts(size, sections, deletes, deletes_at)


def _too_many(what: str, count: int, most: int, at: int) -> NoReturn:
    raise UpdateError(f"{what} names {count} clients; {most} is the most (byte {at})")


def _read_section(update: bytes, at: int, size: int) -> tuple[Section, int]:
    """Read one client's structs; one long function because a call per struct would double its time."""
    begin = at
    count = update[at]
    at += 1
    if count > 127:
        count, at = read_long(update, at, count)
    if count == 0:
        raise UpdateError(f"client section has no structs (byte {begin})")
    if count > size - at:
        cut_short("client section", count, size - at, begin, "structs")
    own_at = at
    client = update[at]
    at += 1
    if client > 127:
        client, at = read_long(update, at, client)
    # Numbers have only one encoding (U2), so the client's own id is recognised by its bytes, which is faster.
    own = update[own_at:at]
    width = at - own_at
    clock = update[at]
    at += 1
    if clock > 127:
        clock, at = read_long(update, at, clock)
    section = Section(client, clock)
    add_clock = section.clocks.append
    add_offset = section.offsets.append
    add_content = section.contents.append
    refs = section.refs
    for index in range(count):
        add_clock(clock)
        add_offset(at)
        info = update[at]
        at += 1
        kind = info & 31
        if info & 0xC0:
            if info & 0x80:
                if update[at : at + width] == own:
                    at += width
                    number = update[at]
                    at += 1
                    if number > 127:
                        number, at = read_long(update, at, number)
                    if number >= clock:
                        _own_future("left origin", number, clock, at)
                    if number == clock - 1:
                        section.chained.append(index)
                else:
                    at = _read_reference(update, at, index, refs)
            if info & 0x40:
                if update[at : at + width] == own:
                    at += width
                    number = update[at]
                    at += 1
                    if number > 127:
                        number, at = read_long(update, at, number)
                    if number >= clock:
                        _own_future("right origin", number, clock, at)
                else:
                    at = _read_reference(update, at, index, refs)
        elif kind not in _PLACELESS:
            at = _read_parent(update, at, section, index, info)
        add_content(at)
        if kind == STRING:
            length = update[at]
            at += 1
            if length > 127:
                length, at = read_long(update, at, length)
            if at + length > size:
                cut_short("text", length, size - at, at)
            text = update[at : at + length]
            if not text.isascii():
                length = utf16_length(check_utf8(text, at))
                at += len(text)
            else:
                at += length
        elif kind in _COUNTED:
            length = update[at]
            at += 1
            if length > 127:
                length, at = read_long(update, at, length)
            if kind != DELETED:
                if info & 0xE0:
                    raise UpdateError(f"struct of kind {kind} has flags {info & 0xE0:#x} (byte {section.offsets[-1]})")
                if kind == SKIP:
                    section.skips.append((clock, clock + length))
        elif kind == ANY:
            length, at = _skip_values(update, at, size)
        else:
            length = 1
            at = _skip_content(update, at, kind)
        if length == 0:
            raise UpdateError(f"struct {client}:{clock} covers no clocks (byte {section.offsets[-1]})")
        clock += length
        if clock >= CLOCK_LIMIT:
            raise UpdateError(f"struct of client {client} ends at clock {clock}, over {CLOCK_LIMIT - 1} (byte {at})")
    section.end = clock
    section.stop = at
    return section, at


def utf16_length(text: str) -> int:
    """Length in UTF-16 code units, which Yjs counts in."""
    return len(text.encode("utf-16-le")) >> 1


def _own_future(what: str, number: int, clock: int, at: int) -> NoReturn:
    raise UpdateError(f"{what} {number} of struct {clock} is not before it (ends at byte {at})")


def _read_reference(update: bytes, at: int, index: int, refs: list[tuple[int, int, int]]) -> int:
    """Read a reference to another client and record it."""
    begin = at
    client = update[at]
    at += 1
    if client > 127:
        client, at = read_long(update, at, client)
    clock = update[at]
    at += 1
    if clock > 127:
        clock, at = read_long(update, at, clock)
        if clock >= CLOCK_LIMIT:
            raise UpdateError(f"reference to clock {clock} is over {CLOCK_LIMIT - 1} (byte {begin})")
    refs.append((index, client, clock))
    return at


def _read_parent(update: bytes, at: int, section: Section, index: int, info: int) -> int:
    """Read the parent of an item without origins: a root type's name or a type's id, and its key in a map."""
    begin = at
    named = update[at]
    at += 1
    if named == 1:
        at = skip_text(update, at)
    elif named == 0:
        at = _read_reference(update, at, index, section.refs)
        if section.refs[-1][1] == section.client:
            clock = section.refs.pop()[2]
            if clock >= section.clocks[-1]:
                _own_future("parent", clock, section.clocks[-1], at)
    else:
        raise UpdateError(f"parent is marked {named}, neither a name (1) nor an id (0) (byte {begin})")
    if info & HAS_PARENT_KEY:
        at = skip_text(update, at)
    return at


def _skip_values(update: bytes, at: int, size: int) -> tuple[int, int]:
    """Skip the values of a ContentAny; returns their count and the offset after them."""
    begin = at
    count = update[at]
    at += 1
    if count > 127:
        count, at = read_long(update, at, count)
    if count > size - at:
        cut_short("list of values", count, size - at, begin, "values")
    for _ in range(count):
        at = skip_any(update, at)
    return count, at


def _skip_content(update: bytes, at: int, kind: int) -> int:
    """Skip content that covers one clock."""
    if kind == TYPE:
        number = update[at]
        if number > XML_TEXT or number == XML_HOOK:
            raise UpdateError(f"type has the unknown number {number} (byte {at})")
        at += 1
        return skip_text(update, at) if number == XML_ELEMENT else at
    if kind in (FORMAT, EMBED):
        if kind == FORMAT:
            at = skip_text(update, at)
        end = skip_bytes(update, at)
        length = update[at]
        begin = at + 1 if length < 128 else read_long(update, at + 1, length)[1]
        check_json(update[begin:end], begin)
        return end
    if kind == BINARY:
        return skip_bytes(update, at)
    if kind == SUBDOCUMENT:
        return skip_any(update, skip_text(update, at))
    raise UpdateError(f"content has the unknown kind {kind} (before byte {at})")


def _read_deletes(
    update: bytes, at: int, size: int, outside: bool, allowance: Allowance | None
) -> tuple[list[tuple[int, list[tuple[int, int]]]], int]:
    """Read a delete set (U7, U9)."""
    begin = at
    count = update[at]
    at += 1
    if count > 127:
        count, at = read_long(update, at, count)
        if count > MAX_DELETE_CLIENTS and outside:
            _too_many("delete set", count, MAX_DELETE_CLIENTS, begin)
    if count > size - at:
        cut_short("delete set", count, size - at, begin, "clients")
    if allowance is not None:
        allowance.take(count, DELETES_S)
    deletes: list[tuple[int, list[tuple[int, int]]]] = []
    seen = set()
    for _ in range(count):
        begin = at
        client = update[at]
        at += 1
        if client > 127:
            client, at = read_long(update, at, client)
        if client in seen:
            raise UpdateError(f"client {client} has a second list of delete ranges (byte {begin})")
        seen.add(client)
        ranges, at = _read_ranges(update, at, size)
        if ranges:
            deletes.append((client, ranges))
        if allowance is not None:
            allowance.take(len(ranges), RANGE_S)
    return deletes, at


def _read_ranges(update: bytes, at: int, size: int) -> tuple[list[tuple[int, int]], int]:
    begin = at
    count = update[at]
    at += 1
    if count > 127:
        count, at = read_long(update, at, count)
    if count > size - at:
        cut_short("list of delete ranges", count, size - at, begin, "ranges")
    ranges = []
    last = 0
    for _ in range(count):
        begin = at
        start = update[at]
        at += 1
        if start > 127:
            start, at = read_long(update, at, start)
        length = update[at]
        at += 1
        if length > 127:
            length, at = read_long(update, at, length)
        if length == 0:
            raise UpdateError(f"delete range at clock {start} is empty (byte {begin})")
        if start < last:
            raise UpdateError(f"delete range at clock {start} begins before the last one ends, {last} (byte {begin})")
        last = start + length
        if last >= CLOCK_LIMIT:
            raise UpdateError(f"delete range ends at clock {last}, over {CLOCK_LIMIT - 1} (byte {begin})")
        ranges.append((start, last))
    return ranges, at


def read_state_vector(state_vector: bytes) -> dict[int, int]:
    """Read a state vector strictly; returns a map of client ids to next clocks.

    Raises:
        UpdateError: counts too large for the bytes, duplicate clients, numbers out of range, or trailing bytes.
    """
    size = len(state_vector)
    clocks: dict[int, int] = {}
    try:
        count = state_vector[0]
        at = 1
        if count > 127:
            count, at = read_long(state_vector, at, count)
        if count > (size - at) // 2:
            cut_short("state vector", count, size - at, 0, "clients")
        for _ in range(count):
            client = state_vector[at]
            at += 1
            if client > 127:
                client, at = read_long(state_vector, at, client)
            clock = state_vector[at]
            at += 1
            if clock > 127:
                clock, at = read_long(state_vector, at, clock)
                if clock >= CLOCK_LIMIT:
                    raise UpdateError(f"state vector has clock {clock}, over {CLOCK_LIMIT - 1} (before byte {at})")
            if client in clocks:
                raise UpdateError(f"state vector has client {client} twice (before byte {at})")
            clocks[client] = clock
    except IndexError:
        raise UpdateError(f"state vector of {size} bytes is cut short (byte {size})") from None
    if at != size:
        raise UpdateError(f"state vector ends at byte {at} but {size - at} more bytes follow")
    return clocks


def write_number(out: bytearray, number: int) -> None:
    """Append a number, 7 bits per byte, lowest first."""
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)


def write_state_vector(clocks: dict[int, int]) -> bytes:
    """Write a state vector, clients in descending order as in Yjs; clients at clock 0 are left out."""
    known = sorted(((client, clock) for client, clock in clocks.items() if clock), reverse=True)
    out = bytearray()
    write_number(out, len(known))
    for client, clock in known:
        write_number(out, client)
        write_number(out, clock)
    return bytes(out)


def write_update(
    sections: Iterable[tuple[int, int, int, bytes]], deletes: Iterable[tuple[int, Iterable[tuple[int, int]]]]
) -> bytes:
    """Write an update from parts of others.

    Args:
        sections: (client, start clock, number of structs, their bytes); those without structs are left out.
        deletes: (client, ranges with the end exclusive, sorted); those without ranges are left out.
    """
    out = bytearray()
    kept = sorted((section for section in sections if section[2]), reverse=True)
    write_number(out, len(kept))
    for client, start, count, structs in kept:
        write_number(out, count)
        write_number(out, client)
        write_number(out, start)
        out += structs
    write_deletes(out, deletes)
    return bytes(out)


def write_deletes(out: bytearray, deletes: Iterable[tuple[int, Iterable[tuple[int, int]]]]) -> None:
    """Append a delete set, clients in descending order as in Yjs; clients without ranges are left out."""
    listed = sorted(((client, list(ranges)) for client, ranges in deletes), reverse=True)
    kept = [entry for entry in listed if entry[1]]
    write_number(out, len(kept))
    for client, ranges in kept:
        write_number(out, client)
        write_number(out, len(ranges))
        for start, end in ranges:
            write_number(out, start)
            write_number(out, end - start)
