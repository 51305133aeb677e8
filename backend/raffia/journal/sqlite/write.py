"""Writes to the database other than appends: short calls, and long jobs in several transactions (SW1, DB4)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from raffia.errors import QuarantinedError
from raffia.journal import history
from raffia.journal.entries import encode_updates
from raffia.journal.history import Segment
from raffia.journal.protocol import Snapshot
from raffia.journal.sqlite.database import Database, Putter, Steps
from raffia.journal.sqlite.read import Tail, base_snapshots, head_of
from raffia.journal.sqlite.rows import SEALED, is_whole, key_of, seal
from raffia.types import START, DocumentId, Position

_ROWS = 500  # rows deleted in one slice


def compact(
    database: Database,
    document: DocumentId,
    snapshot: Snapshot,
    *,
    upto: Position,
    tail: Tail,
    horizon_ms: int,
    keeps: bool,
) -> Steps[bool]:
    """Replace entries with a snapshot and segments (J8); False if another compaction was faster.

    Args:
        tail: what `read.tail` returned, with its segments merged.
        horizon_ms: history older than this can be dropped.
        keeps: whether history is kept at all.
    """
    yield from database.drop_abandoned()
    putter = Putter(database)
    try:
        state = yield from putter.put(tail.head.key, snapshot.state)
        aside = yield from putter.put(tail.head.key, snapshot.index)
        bodies = [encode_updates(segment.updates) for segment in tail.segments]
        blobs = yield from putter.put_all(tail.head.key, bodies)
        head = head_of(database, document)
        if head is None or head.folded != tail.head.folded:
            putter.failed()
            return False
        # From here to the yield is one transaction, with the last slice of the blobs: the old state or the new one.
        key = head.key
        putter.keep()
        _put_snapshot(database, key, upto, tail.latest_ms, (state, len(snapshot.state), aside, len(snapshot.index)))
        doomed = _swap_segments(database, key, tail.segments, bodies, blobs)
        added = len(tail.segments) - sum(len(segment.replaces) for segment in tail.segments)
        if not tail.stays and head.folded.upto > START:
            doomed += _drop_snapshots(database, key, [head.folded.upto])
        database.execute(
            "UPDATE documents SET folded = ?, folded_ms = ?, segments = segments + ? WHERE key = ?",
            (upto, tail.latest_ms, added, key),
        )
        doomed += _prune_rows(database, key, horizon_ms, keeps)
        database.seal(key)
        count_bytes(database, key)
        yield  # the commit: if it fails, the job is closed here
    except BaseException:
        putter.failed()
        raise
    yield from _clean(database, key, upto, doomed)
    return True


def replace_all(database: Database, document: DocumentId, snapshot: Snapshot) -> Steps[Position]:
    """Replace a document's snapshot, entries and history with one snapshot; its versions stay.

    No stored content is decoded, because this is how a damaged document is repaired. The snapshot gets a new
    position, after the last entry.
    """
    yield from database.drop_abandoned()
    putter = Putter(database)
    try:
        key = database.check_row(key_of(document)).key
        state = yield from putter.put(key, snapshot.state)
        aside = yield from putter.put(key, snapshot.index)
        # From here to the yield is one transaction: the old state or the new one.
        row = database.check_row(key)
        putter.keep()
        upto, time_ms = Position(row.last + 1), max(row.updated_ms, row.folded_ms)
        doomed = _drop_all(database, key)
        _put_snapshot(database, key, upto, time_ms, (state, len(snapshot.state), aside, len(snapshot.index)))
        database.execute(
            "UPDATE documents SET last = ?, last_inverted = ?, folded = ?, folded_ms = ?, complete_from = ?,"
            " segments = 0"
            " WHERE key = ?",
            (upto, ~upto, upto, time_ms, upto, key),
        )
        database.seal(key)
        count_bytes(database, key)
        database.forget(document)
        yield  # the commit: if it fails, the job is closed here
    except BaseException:
        putter.failed()
        raise
    yield from _clean(database, key, upto, doomed)
    return upto


def _drop_all(database: Database, key: int) -> list[int]:
    """Drop the rows of all snapshots and segments; return their blobs, which are then in `staging`."""
    rows = database.rows("SELECT id FROM segments WHERE document = ?", (key,))
    doomed = _drop_segments(database, [id_ for (id_,) in rows])
    found = database.rows("SELECT upto FROM snapshots WHERE document = ?", (key,))
    return doomed + _drop_snapshots(database, key, [upto for (upto,) in found])


def _put_snapshot(database: Database, key: int, upto: Position, time_ms: int, blobs: tuple[int, int, int, int]) -> None:
    values = (key, upto, time_ms, *blobs)
    database.execute(
        f"INSERT INTO snapshots (checksum, {SEALED['snapshots']}) VALUES (?,?,?,?,?,?,?,?)",  # noqa: S608 - our own columns
        (seal("snapshots", *values), *values),
    )


def _swap_segments(
    database: Database, key: int, segments: Sequence[Segment], bodies: Sequence[bytes], blobs: Sequence[int]
) -> list[int]:
    """Replace segments with the new ones that include them; return the blobs of the old ones."""
    doomed = []
    for segment, body, blob in zip(segments, bodies, blobs, strict=True):
        doomed += _drop_segments(database, segment.replaces)
        values = (key, segment.first, segment.last, segment.window_ms, segment.author, blob, len(body))
        database.execute(
            f"INSERT INTO segments (checksum, {SEALED['segments']}) VALUES (?,?,?,?,?,?,?,?)",  # noqa: S608 - our own columns
            (seal("segments", *values), *values),
        )
    return doomed


def _clean(database: Database, key: int, upto: Position, doomed: list[int]) -> Steps[None]:
    while (
        database.execute(
            "DELETE FROM entries WHERE document = ? AND position IN"
            " (SELECT position FROM entries WHERE document = ? AND position <= ? LIMIT ?)",
            (key, key, upto, _ROWS),
        ).rowcount
        == _ROWS
    ):
        yield
    try:
        yield from database.drop_blobs(doomed)
    except BaseException:
        database.abandoned += doomed
        raise


def prune(database: Database, retention_ms: int, trash_ms: int, now_ms: int) -> Steps[None]:
    """Drop expired history and the content of documents deleted long ago, one document at a time (J11)."""
    yield from database.drop_abandoned()
    horizon_ms = now_ms - retention_ms
    key = 0
    while True:
        found = database.rows(
            "SELECT key FROM documents WHERE history_ms < ? AND key > ? ORDER BY key LIMIT 1", (horizon_ms, key)
        )
        if not found:
            break
        key = found[0][0]
        try:
            database.check_row(key)
            doomed = _prune_rows(database, key, horizon_ms, retention_ms > 0)
        except QuarantinedError as error:
            database.report(f"document {key}", error)  # its history stays until it is repaired
            continue
        if doomed:
            database.seal(key)
            count_bytes(database, key)
            yield
            yield from _clean(database, key, START, doomed)
        yield
    due = "deleted_ms <= ? AND NOT purged"
    gone = database.rows(f"SELECT key FROM documents WHERE {due}", (now_ms - trash_ms,))  # noqa: S608 - our own text
    for (key,) in gone:
        # Other items ran in between, and one may have restored it.
        if database.row(f"SELECT 1 FROM documents WHERE key = ? AND {due}", (key, now_ms - trash_ms)):  # noqa: S608
            try:
                database.check_row(key)
            except QuarantinedError as error:
                database.report(f"document {key}", error)  # whether it was deleted is not certain
                continue
            yield from _purge(database, key)
    # Give the file's free pages back to the disk, a few at a time.
    while _free_pages(database) > _SPARE_PAGES:
        database.rows("PRAGMA incremental_vacuum(256)")
        yield


_SPARE_PAGES = 4096  # 16 MiB are kept for reuse


def _free_pages(database: Database) -> int:
    return int(database.rows("PRAGMA freelist_count")[0][0])


def _prune_rows(database: Database, key: int, horizon_ms: int, keeps: bool) -> list[int]:
    """Drop the rows of a document's history before the horizon; return their blobs, which are then in `staging`."""
    kept = base_snapshots(database, key)
    base = history.base_of(kept, horizon_ms) if keeps else max(kept, key=lambda one: one.upto, default=None)
    if base is None:
        return []
    rows = database.rows(
        f"SELECT id, checksum, {SEALED['segments']} FROM segments WHERE document = ? AND last <= ?",  # noqa: S608
        (key, base.upto),
    )
    old = [id_ for id_, sealed, *values in rows if is_whole("segments", sealed, *values)]  # damaged ones stay
    doomed = _drop_segments(database, old)
    doomed += _drop_snapshots(database, key, [one.upto for one in kept if one.upto < base.upto])
    database.execute(
        "UPDATE documents SET complete_from = max(complete_from, ?), segments = segments - ? WHERE key = ?",
        (base.upto, len(old), key),
    )
    return doomed


def _purge(database: Database, key: int) -> Steps[None]:
    doomed = _drop_all(database, key)
    doomed += stage(database, "SELECT blob FROM versions WHERE document = ?", (key,))
    database.execute("DELETE FROM versions WHERE document = ?", (key,))
    database.execute(
        "UPDATE documents SET purged = 1, title = NULL, kind = NULL, schema = NULL, updated_by = NULL, folded = last,"
        " segments = 0, complete_from = last WHERE key = ?",
        (key,),
    )
    (edited_ms,) = database.rows("SELECT edited_ms FROM documents WHERE key = ?", (key,))[0]
    database.execute(
        "UPDATE documents SET edited_checksum = ? WHERE key = ?", (seal("edits", key, edited_ms, None), key)
    )
    database.seal(key)
    count_bytes(database, key)
    (last,) = database.rows("SELECT last FROM documents WHERE key = ?", (key,))[0]
    yield
    yield from _clean(database, key, last, doomed)


def stage(database: Database, sql: str, values: Iterable[object]) -> list[int]:
    """Put the blobs that a query returns into `staging`, to be dropped later; return them."""
    blobs = [blob for (blob,) in database.rows(sql, values) if blob]
    for blob in blobs:
        database.execute("INSERT OR IGNORE INTO staging (blob) VALUES (?)", (blob,))
    return blobs


def _drop_segments(database: Database, ids: Sequence[int]) -> list[int]:
    doomed = []
    for id_ in ids:
        doomed += stage(database, "SELECT blob FROM segments WHERE id = ?", (id_,))
        database.execute("DELETE FROM segments WHERE id = ?", (id_,))
    return doomed


def _drop_snapshots(database: Database, key: int, uptos: Sequence[Position]) -> list[int]:
    doomed = []
    for upto in uptos:
        for column in ("state", "aside"):
            sql = f"SELECT {column} FROM snapshots WHERE document = ? AND upto = ?"  # noqa: S608 - a column of ours
            doomed += stage(database, sql, (key, upto))
        database.execute("DELETE FROM snapshots WHERE document = ? AND upto = ?", (key, upto))
    return doomed


def count_bytes(database: Database, key: int) -> None:
    """Update the sizes in a document's row."""
    database.execute(
        """UPDATE documents SET
             history_ms = (SELECT min(window_ms) FROM segments WHERE document = key),
             snapshot_bytes = (SELECT coalesce(sum(state_bytes + aside_bytes), 0) FROM snapshots
                                WHERE document = key AND upto = folded),
             history_bytes = (SELECT coalesce(sum(bytes), 0) FROM segments WHERE document = key)
                           + (SELECT coalesce(sum(state_bytes + aside_bytes), 0) FROM snapshots
                               WHERE document = key AND upto < folded),
             tail_bytes = (SELECT coalesce(sum(length(body)), 0) FROM entries
                            WHERE document = key AND position > folded)
           WHERE key = ?""",
        (key,),
    )


def probe(database: Database) -> None:
    """Write something: its commit shows whether the disk can be written."""
    database.execute("UPDATE probe SET count = count + 1")
