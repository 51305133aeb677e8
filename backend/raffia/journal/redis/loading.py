"""Reading a whole document: the snapshot, and every entry after it.

Rules (tests quote these ids):
    RL1  The stream is read before the snapshot. A compaction in between shows as a missing snapshot or as entries that
         do not continue it; then everything is read again. Only if that persists is the document quarantined.
    RL2  The result includes at least the entries that were in the log when reading began (J4).
    RL3  `last` in the meta has no checksum. It must be the position of the entry at the end of the log, which is read
         in the same script, and `folded` must have a snapshot. So a changed bit in either quarantines the document.
"""

from __future__ import annotations

import asyncio

from raffia.errors import QuarantinedError
from raffia.journal.protocol import Entry, Loaded, Snapshot
from raffia.journal.redis.base import Base
from raffia.journal.redis.blobs import GoneError, read_blob
from raffia.journal.redis.keys import id_of, position_of, sequence_of
from raffia.journal.redis.pages import read, reading
from raffia.journal.redis.records import BaseRecord, decode_entry, read_base
from raffia.journal.redis.replies import deleted, pairs
from raffia.types import START, DocumentId, Position

TRIES = 5


class UnsteadyError(Exception):
    """The parts that were read do not match, because the log changed in between."""


async def load(base: Base, document: DocumentId) -> Loaded:
    """Read a document (J4)."""
    reason: Exception | None = None
    for attempt in range(TRIES):
        try:
            return await _load(base, document)
        except (GoneError, UnsteadyError, QuarantinedError, ValueError) as error:
            reason = error  # ValueError: a number or an id in its meta is damaged
        await asyncio.sleep(0.01 * attempt)
    raise QuarantinedError(f"document {document} cannot be read: {reason}") from reason


async def _load(base: Base, document: DocumentId) -> Loaded:
    deleted_ms, last_id, folded_id = await base.head(document, "deleted_ms", "last", "folded")
    if deleted_ms is not None:
        raise deleted(document)
    last = START if last_id is None else position_of(last_id)
    folded = START if folded_id is None else position_of(folded_id)
    entries = await read_entries(base, document, folded, last)
    snapshot = None
    if folded:
        record = await base_at(base, document, folded)
        state, index = await read_blob(base, document, record.blob, record.state_bytes, record.index_bytes)
        snapshot = Snapshot(state, index)
    return Loaded(snapshot, entries, entries[-1].position if entries else folded)


async def read_entries(
    base: Base, document: DocumentId, after: Position, last: Position, *, upto: Position | None = None
) -> list[Entry]:
    """Read the entries after a position: at least those up to `last`, none after `upto`.

    Raises:
        UnsteadyError: some of them are missing.
    """
    expected = sequence_of(after)
    entries: list[Entry] = []
    while True:
        (reply,) = await base.engine.run_scripts([reading(base.keys, document, after, with_it=False, upto=upto)])
        found = read(document, reply)
        if found.newest != found.last:  # RL3
            raise UnsteadyError(f"the last entry of the log is {found.newest}, but its meta says {found.last}")
        for position, payload in found.entries:
            expected += 1
            if sequence_of(position) != expected:
                raise UnsteadyError(f"entry {expected} of the log is missing")
            entries.append(Entry(position, decode_entry(document, position, payload)))
        if not found.has_more or expected >= sequence_of(last):
            break
        after = found.entries[-1][0]
    if expected < sequence_of(last):
        raise UnsteadyError(f"entry {expected + 1} of the log is missing")
    return entries


async def base_at(base: Base, document: DocumentId, upto: Position) -> BaseRecord:
    """Read the record of the snapshot at a position.

    Raises:
        GoneError: there is none.
    """
    (line,) = await base.run(("HGET", base.keys.base_snapshots(document), id_of(upto)))
    if line is None:
        raise GoneError(f"the snapshot at {upto} is missing")
    assert isinstance(line, bytes)
    return read_base(document, id_of(upto).encode(), line)


async def base_snapshots(base: Base, document: DocumentId) -> list[BaseRecord]:
    """Read the records of all kept snapshots that are not damaged, by position."""
    (reply,) = await base.run(("HGETALL", base.keys.base_snapshots(document)))
    found = []
    for upto, line in pairs(reply).items():
        try:
            found.append(read_base(document, upto, line))
        except QuarantinedError as error:
            base.report(f"the snapshot at {upto!r} of {document}", error)
    return sorted(found, key=lambda record: record.base.upto)
