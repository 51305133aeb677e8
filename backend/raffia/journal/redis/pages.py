"""One read of a log from a reader's position, and what it means for that reader. Pure.

Rules (tests quote these ids):
    RP1  A read starts with the last delivered entry. If that is missing although it was not trimmed, or if the log ends
         before it, the log is of another lineage: `Reset`.
    RP2  Trimmed entries become a `Gap` up to the snapshot; the entry at `floor` is the first one left.
    RP3  Sequence numbers increase by one, up to the end of the log as recorded in its meta. If they do not, the log is
         read once more.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from raffia.journal.protocol import Gap, Reset
from raffia.journal.redis.engine import Argument, Reply
from raffia.journal.redis.keys import Keys, id_of, position_of, sequence_of
from raffia.journal.redis.replies import check_format, deleted, parts
from raffia.journal.redis.scripts import Script, load_script
from raffia.types import START, DocumentId, Position

PAGE_ENTRIES = 200
PAGE_BYTES = 1024 * 1024


class Page(NamedTuple):
    """What a read means for a reader.

    Attributes:
        turn: a `Gap` or `Reset` instead of entries; the reader continues at its position.
        entries: position and payload of each, in order.
        has_more: whether there may be more after them now.
        is_doubtful: inconclusive (RP3): read again; if it is inconclusive again, the log is of another lineage (RP1).
        last: position of the last entry of the log at the time of the read.
    """

    turn: Gap | Reset | None
    entries: list[tuple[Position, bytes]]
    has_more: bool
    is_doubtful: bool
    last: Position


class Stretch(NamedTuple):
    """What one atomic read found.

    Attributes:
        deleted_ms: the tombstone.
        last, folded: positions of the log's end and of the snapshot.
        floor: sequence of the first entry that is left.
        has_more: whether there may be more entries after these now.
        entries: position and payload of each; unknown fields are skipped.
        newest: position of the last entry that is in the log; equal to `last`, unless the meta is damaged.
    """

    deleted_ms: bytes | None
    last: Position
    folded: Position
    floor: int
    has_more: bool
    entries: list[tuple[Position, bytes]]
    newest: Position


def reading(
    keys: Keys, document: DocumentId, after: Position, *, with_it: bool = True, upto: Position | None = None
) -> tuple[Script, list[str], list[Argument]]:
    """Build the call that reads what comes after a position.

    Args:
        keys: the key names.
        document: the document.
        after: the position.
        with_it: whether to read the entry at the position itself too.
        upto: the last position to read; None for the end.
    """
    begin = ("" if with_it else "(") + id_of(after) if after else "-"
    end = "+" if upto is None else id_of(upto)
    return load_script("read"), [keys.meta(document), keys.log(document)], [begin, end, PAGE_ENTRIES, PAGE_BYTES]


def read(document: DocumentId, reply: Reply) -> Stretch:
    """Decode the reply to a `reading`.

    Raises:
        FormatTooNewError: the document was written by a newer Raffia.
    """
    found: list[Any] = parts(reply)
    form, deleted_ms, last, floor, folded, more, stored, newest = found
    check_format(document, form)
    entries = []
    for name, fields in stored:
        if len(fields) == 2 and fields[0] == b"u":
            payload = fields[1]
        else:
            payload = dict(zip(fields[::2], fields[1::2], strict=True)).get(b"u", b"")
        entries.append((position_of(name), payload))
    return Stretch(
        deleted_ms,
        START if last is None else position_of(last),
        START if folded is None else position_of(folded),
        int(floor or 0),
        more == b"1",
        entries,
        START if newest is None else position_of(newest),
    )


def judge(document: DocumentId, cursor: Position, reply: Reply, *, folded_is_gap: bool = False) -> Page:
    """Decide what a read means for a reader at `cursor`.

    Args:
        document: the document.
        cursor: position of the last delivered entry.
        reply: the reply to the call that `reading` built.
        folded_is_gap: whether entries in the snapshot count as a gap even if they can still be read.

    Raises:
        DocumentDeletedError: the document has a tombstone.
        FormatTooNewError: it was written by a newer Raffia.
    """
    found = read(document, reply)
    if found.deleted_ms is not None:
        raise deleted(document)
    last, entries = found.last, found.entries
    if sequence_of(last) < sequence_of(cursor) or (sequence_of(last) == sequence_of(cursor) and last != cursor):
        return Page(Reset(last), [], True, False, last)
    if found.folded > cursor and (folded_is_gap or sequence_of(cursor) < found.floor):
        return Page(Gap(cursor, found.folded), [], True, False, last)
    if cursor and (not entries or entries[0][0] != cursor):
        return Page(None, [], False, True, last)
    if cursor:
        del entries[0]
    expected = sequence_of(cursor)
    for position, _ in entries:
        expected += 1
        if sequence_of(position) != expected:
            return Page(None, [], False, True, last)
    return Page(None, entries, found.has_more, not found.has_more and expected < sequence_of(last), last)
