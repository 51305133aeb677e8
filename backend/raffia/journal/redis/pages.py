"""One reading of a log from where somebody stands in it, and what it means for him. Pure.

Rules (tests quote these ids):
    RP1  The reading begins with the entry that was handed on last. If it is not there although it was not trimmed, the
         log is of another lineage: `Reset`. A log that ends before it, too.
    RP2  What was trimmed is a `Gap` up to the snapshot; the entry at `floor` is the first that is left.
    RP3  Entries follow each other by one, up to the log's end as its meta says. Anything else is read again, once.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from raffia.journal.protocol import Gap, Reset
from raffia.journal.redis.engine import Argument, Reply, Script
from raffia.journal.redis.keys import FORMAT, Keys, id_of, position_of, sequence_of
from raffia.journal.redis.replies import deleted, parts, too_new
from raffia.journal.redis.scripts import load_script
from raffia.types import START, DocumentId, Position

PAGE_ENTRIES = 200
PAGE_BYTES = 1024 * 1024


class Page(NamedTuple):
    """What a reading means.

    Attributes:
        turn: a `Gap` or `Reset` that comes instead of entries; the reader goes on at its position.
        entries: position and payload of each, in order.
        has_more: whether there may be more behind them now.
        is_doubtful: neither could be said (RP3): read again; if it stays so, the lineage is another one (RP1).
        last: position of the log's last entry, as it was at least.
    """

    turn: Gap | Reset | None
    entries: list[tuple[Position, bytes]]
    has_more: bool
    is_doubtful: bool
    last: Position


class Stretch(NamedTuple):
    """What one reading found, at one moment.

    Attributes:
        deleted_ms: the tombstone.
        last, folded: positions of the log's end and of the snapshot.
        floor: sequence of the first entry that is left.
        has_more: whether there may be more entries behind these now.
        entries: position and payload of each; fields that are not known are skipped.
    """

    deleted_ms: bytes | None
    last: Position
    folded: Position
    floor: int
    has_more: bool
    entries: list[tuple[Position, bytes]]


def reading(
    keys: Keys, document: DocumentId, after: Position, *, with_it: bool = True, upto: Position | None = None
) -> tuple[Script, list[str], list[Argument]]:
    """The call that reads what stands behind a position.

    Args:
        keys: the names.
        document: which one.
        after: the position.
        with_it: whether the entry at the position itself comes too.
        upto: the last position that is wanted; None for the end.
    """
    begin = ("" if with_it else "(") + id_of(after) if after else "-"
    end = "+" if upto is None else id_of(upto)
    return load_script("read"), [keys.meta(document), keys.log(document)], [begin, end, PAGE_ENTRIES, PAGE_BYTES]


def read(document: DocumentId, reply: Reply) -> Stretch:
    """The reply of a `reading`.

    Raises:
        FormatTooNewError: a newer Raffia has written the document.
    """
    found: list[Any] = parts(reply)
    form, deleted_ms, last, floor, folded, more, stored = found
    if form is not None and int(form) > FORMAT:
        raise too_new(document, form)
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
    )


def judge(document: DocumentId, cursor: Position, reply: Reply, *, folded_is_gap: bool = False) -> Page:
    """Say what a reading means for who stands at `cursor`.

    Args:
        document: which one.
        cursor: position of the last entry that was handed on.
        reply: of the call of `reading`.
        folded_is_gap: whether entries that are in the snapshot are a gap although they can still be read.

    Raises:
        DocumentDeletedError: the document has a tombstone.
        FormatTooNewError: a newer Raffia has written it.
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
