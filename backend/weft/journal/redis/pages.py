"""One reading of a log from where somebody stands in it, and what it means for him. Pure.

Rules (tests quote these ids):
    RP1  The reading begins with the entry that was handed on last. If it is not there although it was not trimmed, the
         log is of another lineage: `Reset`. A log that ends before it, too.
    RP2  What was trimmed is a `Gap` up to the snapshot; the entry at `floor` is the first that is left.
    RP3  Entries follow each other by one. Anything else is a reading between two states, and is read again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from weft.journal.protocol import Gap, Reset
from weft.journal.redis.engine import Command, Reply
from weft.journal.redis.keys import FORMAT, Keys, id_of, position_of, sequence_of
from weft.journal.redis.replies import checked, deleted, parts, too_new
from weft.types import START, DocumentId, Position

PAGE_ENTRIES = 200


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


def reading(keys: Keys, document: DocumentId, cursor: Position) -> list[Command]:
    """The two commands of a reading."""
    meta, log = keys.meta(document), keys.log(document)
    begin = id_of(cursor) if cursor else "-"
    return [
        Command(meta, ("HMGET", meta, "format", "deleted_ms", "last", "floor", "folded")),
        Command(log, ("XRANGE", log, begin, "+", "COUNT", PAGE_ENTRIES)),
    ]


def entries_of(reply: Reply) -> list[tuple[Position, bytes]]:
    """Position and payload of each entry of a stream; fields that are not known are skipped."""
    found = checked(reply)
    assert isinstance(found, list)
    entries = []
    for name, fields in found:
        payload = (
            b"" if fields is None else next((fields[i + 1] for i in range(0, len(fields), 2) if fields[i] == b"u"), b"")
        )
        entries.append((position_of(name), payload))
    return entries


def judge(document: DocumentId, cursor: Position, replies: Sequence[Reply], *, folded_is_gap: bool = False) -> Page:
    """Say what a reading means for who stands at `cursor`.

    Args:
        document: which one.
        cursor: position of the last entry that was handed on.
        replies: of the commands of `reading`.
        folded_is_gap: whether entries that are in the snapshot are a gap although they can still be read.

    Raises:
        DocumentDeletedError: the document has a tombstone.
        FormatTooNewError: a newer Weft has written it.
    """
    form, deleted_ms, last_id, floor, folded_id = parts(replies[0])
    if form is not None and int(form) > FORMAT:
        raise too_new(document, form)
    if deleted_ms is not None:
        raise deleted(document)
    last = START if last_id is None else position_of(last_id)
    folded = START if folded_id is None else position_of(folded_id)
    if sequence_of(last) < sequence_of(cursor) or (sequence_of(last) == sequence_of(cursor) and last != cursor):
        return Page(Reset(last), [], True, False, last)
    if folded > cursor and (folded_is_gap or sequence_of(cursor) < int(floor or 0)):
        return Page(Gap(cursor, folded), [], True, False, last)
    entries = entries_of(replies[1])
    has_more = len(entries) == PAGE_ENTRIES
    if cursor and (not entries or entries[0][0] != cursor):
        return Page(None, [], False, True, last)
    if cursor:
        del entries[0]
    expected = sequence_of(cursor)
    for position, _ in entries:
        expected += 1
        if sequence_of(position) != expected:
            return Page(None, [], False, True, last)
    return Page(None, entries, has_more, not has_more and expected < sequence_of(last), last)
