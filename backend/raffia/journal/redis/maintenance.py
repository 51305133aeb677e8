"""Reads documents in Redis, damaged or not, and repairs them, for `raffia check`; replicas may be running.

Rules (tests quote these ids):
    RMT1  Checking only reads: no heartbeat, no format, no lease. Documents are found in the listing and, except on a
         cluster, by their `meta` keys too, so a damaged listing hides none.
    RMT2  A corrected record or piece replaces the damaged one in one script, and only if that is still there.
    RMT3  A rebuilt document replaces the damaged one in one script, which changes nothing if anything was appended,
         compacted or deleted since it was read. Its log then consists of one empty entry with the next sequence; the
         snapshot goes up to that entry, which is also the floor.
    RMT4  A repair is safe while replicas have the document open. They get a `Gap`, because their position is before the
         floor: they read the document again and append what they have and it lacks, so that a replica that had opened
         the document before the damage restores content that the repair could not find. Appends based on the old log
         and compactions under way are refused by their scripts.
    RMT5  Positions in a `Stored` are sequences, without nonces, so that missing entries can be counted.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

from raffia.errors import JournalUnavailableError, QuarantinedError, SettingsError
from raffia.journal.checksum import CHECKSUM_BYTES, checksum, corrected, matches
from raffia.journal.history import BaseSnapshot
from raffia.journal.passed_time import PassedTime, elapsed_ms, system_ms
from raffia.journal.protocol import Loaded, Snapshot
from raffia.journal.redis.base import KEEP_MS, Base
from raffia.journal.redis.blobs import GoneError, read_blob, write_blob
from raffia.journal.redis.client import Engine
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.history import RedisHistory
from raffia.journal.redis.keys import Keys, id_of, new_nonce, nonce_of, position_at, position_of, sequence_of
from raffia.journal.redis.loading import load
from raffia.journal.redis.records import (
    BaseRecord,
    blob_of,
    corrected_line,
    encode_entry,
    read_base,
    read_segment,
    read_version,
    write_base,
)
from raffia.journal.redis.replies import check_format, pairs, parts, texts
from raffia.journal.stored import Stored, StoredEntry, StoredSegment, StoredSnapshot
from raffia.types import EMPTY_UPDATE, START, DocumentId, Edit, Position

_PAGE = 200  # entries that one read of a log returns
_SCANNED = 1000


class Row(NamedTuple):
    """The sizes of a document, in bytes, and its last position, as in its meta."""

    snapshot_bytes: str
    tail_bytes: str
    history_bytes: str
    last: str


class RedisMaintenance:
    """The documents under one prefix of a Redis.

    Attributes:
        history: the history of the documents.
        folder: where the original data of damaged documents is copied to.
    """

    def __init__(self, engine: Engine, *, prefix: str, folder: Path) -> None:
        self.folder = folder
        self._engine = engine
        self._prefix = prefix
        self._base = Base(engine, Keys(prefix), PassedTime(system_ms, elapsed_ms), "check")
        self.history = RedisHistory(self._base, retention_ms=0)

    async def __aenter__(self) -> Self:
        """Connect.

        Raises:
            JournalUnavailableError: Redis does not answer.
            SettingsError, FormatTooNewError, FormatTooOldError: this Raffia cannot read what is stored.
        """
        await self._engine.__aenter__()
        try:
            await self._check_format()
        except BaseException as error:
            await self._engine.__aexit__(None, None, None)
            if isinstance(error, JournalUnavailableError):
                raise JournalUnavailableError(f"{error}; start Redis, or set --redis to where it is") from error
            raise
        self._base.is_open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Disconnect."""
        self._base.is_open = False
        await self._engine.__aexit__(kind, error, trace)

    async def _check_format(self) -> None:
        (found,) = await self._base.run(("GET", self._base.keys.format))
        if not isinstance(found, bytes):
            raise SettingsError(f"there is no {self._base.keys.format} in this Redis; name another with --redis")
        check_format("what is stored", found)

    # reading

    async def names(self) -> list[DocumentId]:
        """Return the names of the documents that are not deleted (RMT1)."""
        listed, with_meta = await self._listed(), await self._with_meta()
        found = []
        for name in sorted(listed | with_meta):
            document = _name(name)
            if document is None:
                continue  # `listing_problems` names it
            meta = await self._meta(document)
            if meta and b"deleted_ms" not in meta:
                found.append(document)
        return found

    async def listing_problems(self, *, repair: bool = False) -> list[str]:
        """Return what is wrong with the listing, one line each; correct it if `repair` is set (RMT1)."""
        keys = self._base.keys
        listed, found = await self._listed(), []
        for name in sorted(listed):
            document = _name(name)
            if document is not None and await self._meta(document):
                continue
            found.append(f"the listing has {name.decode(errors='backslashreplace')!r}, but there is no such document")
            if repair:
                await self._base.run(("ZREM", keys.documents, name), ("ZREM", keys.edited, name))
        for name in sorted(await self._with_meta() - listed):
            document = _name(name)
            meta = {} if document is None else await self._meta(document)
            # A document that is being created is listed a moment later, and marked as listed after that.
            if document is None or b"deleted_ms" in meta or meta.get(b"listed") != b"1":
                continue
            found.append(f"{document}: the listing lacks it")
            if repair:
                await self._base.run(("ZADD", keys.documents, 0, name))
                time_ms = meta.get(b"updated_ms", b"0")
                await self._base.run(("ZADD", keys.edited, time_ms if time_ms.isdigit() else 0, name))
        return found

    async def row(self, document: DocumentId) -> Row:
        """Read a document's sizes, as far as they can be read."""
        meta = await self._meta(document)
        fields = (b"snapshot_bytes", b"tail_bytes", b"history_bytes", b"last")
        return Row(*(meta.get(field, b"0").decode(errors="backslashreplace") for field in fields))

    async def load(self, document: DocumentId) -> Loaded:
        """Read a document as a server does."""
        return await load(self._base, document)

    async def stored(self, document: DocumentId) -> Stored:
        """Read everything stored for a document except its versions, damaged or not (RMT5)."""
        meta = await self._meta(document)
        entries = []
        for position, payload in await self._entries(document):
            content, sealed = payload[:-CHECKSUM_BYTES], payload[-CHECKSUM_BYTES:]
            whole = matches(sealed, "entries", document, nonce_of(position), content=content)
            entries.append(StoredEntry(Position(sequence_of(position)), content, whole))
        snapshots = await self._stored_snapshots(document)
        segments = await self._stored_segments(document)
        end = entries[-1].position if entries else START
        last, folded = _sequence(meta.get(b"last")), _sequence(meta.get(b"folded"))
        if folded is None:  # it cannot be read: the newest snapshot is the best that there is
            folded = snapshots[-1].upto if snapshots else START
        last = end if last is None else last
        complete_from = _sequence(meta.get(b"complete_from")) or START
        position = Position(max(last, end, folded))
        return Stored(document, position, folded, complete_from, snapshots, segments, entries)

    async def _stored_snapshots(self, document: DocumentId) -> list[StoredSnapshot]:
        (reply,) = await self._base.run(("HGETALL", self._base.keys.base_snapshots(document)))
        found = []
        for field, line in pairs(reply).items():
            try:
                record = read_base(document, field, line)
            except QuarantinedError:
                upto = _sequence(field)
                if upto is not None:
                    found.append(StoredSnapshot(upto, 0, line, b"", is_whole=False))
                continue
            body, whole = await self._pieces(document, record.blob)
            state, index = body[: record.state_bytes], body[record.state_bytes :]
            whole = whole and len(body) == record.size_bytes
            upto = Position(sequence_of(record.base.upto))
            found.append(StoredSnapshot(upto, record.base.time_ms, state, index, whole))
        return sorted(found, key=lambda one: one.upto)

    async def _stored_segments(self, document: DocumentId) -> list[StoredSegment]:
        (reply,) = await self._base.run(("ZRANGE", self._base.keys.segments(document), 0, -1))
        found = []
        for member in texts(reply):
            try:
                record = read_segment(document, member)
            except QuarantinedError:
                found.append(StoredSegment(START, START, 0, None, member, is_whole=False))
                continue
            body, whole = await self._pieces(document, record.blob)
            first, last = Position(sequence_of(record.first)), Position(sequence_of(record.last))
            whole = whole and len(body) == record.blob_bytes
            found.append(StoredSegment(first, last, record.window_ms, record.author, body, whole))
        return sorted(found, key=lambda one: one.first)

    async def _pieces(self, document: DocumentId, blob: str) -> tuple[bytes, bool]:
        """Return the pieces of a blob, joined, and whether they are whole."""
        found, whole = [], True
        for number in await self._numbers(document, blob):
            (stored,) = await self._base.run(("HGET", self._base.keys.blob(document, blob), number))
            assert isinstance(stored, bytes)
            piece = stored[CHECKSUM_BYTES:]
            whole = whole and matches(stored[:CHECKSUM_BYTES], "pieces", document, blob, number, content=piece)
            found.append(piece)
        return b"".join(found), whole and bool(found)

    async def _numbers(self, document: DocumentId, blob: str) -> list[int]:
        (reply,) = await self._base.run(("HKEYS", self._base.keys.blob(document, blob)))
        return sorted(int(field) for field in texts(reply) if field.isdigit())

    async def _entries(self, document: DocumentId) -> list[tuple[Position, bytes]]:
        found: list[tuple[Position, bytes]] = []
        begin = "-"
        while True:
            (reply,) = await self._base.run(("XRANGE", self._base.keys.log(document), begin, "+", "COUNT", _PAGE))
            page: list[Any] = parts(reply)
            for name, fields in page:
                found.append((position_of(name), dict(zip(fields[::2], fields[1::2], strict=False)).get(b"u", b"")))
            if len(page) < _PAGE:
                return found
            begin = f"({id_of(found[-1][0])}"

    async def _meta(self, document: DocumentId) -> dict[bytes, bytes]:
        (reply,) = await self._base.run(("HGETALL", self._base.keys.meta(document)))
        return pairs(reply)

    async def _listed(self) -> set[bytes]:
        (reply,) = await self._base.run(("ZRANGE", self._base.keys.documents, 0, -1))
        return set(texts(reply))

    async def _with_meta(self) -> set[bytes]:
        """Return the names of all documents that have a `meta`; none on a cluster (RMT1)."""
        found: set[bytes] = set()
        if self._engine.is_cluster:
            return found
        begin, end = f"{self._prefix}:{{".encode(), b"}:meta"
        cursor: bytes = b"0"
        while True:
            (reply,) = await self._base.run(
                ("SCAN", cursor, "MATCH", f"{self._prefix}:{{*}}:meta", "COUNT", _SCANNED, "TYPE", "hash")
            )
            scanned: list[Any] = parts(reply)
            cursor, names = scanned
            found.update(name[len(begin) : -len(end)] for name in names)
            if cursor == b"0":
                return found

    # versions

    async def damaged_versions(self, document: DocumentId) -> list[tuple[int, str]]:
        """Return the numbers of a document's unreadable versions, each with the reason."""
        found = []
        for number, line, name in await self._versions(document):
            try:
                info, blob = read_version(document, number, line, name)
                await read_blob(self._base, document, blob, info.size_bytes)
            except (QuarantinedError, GoneError) as error:
                if await self._has_version(document, number):  # otherwise it was deleted meanwhile
                    found.append((number, str(error)))
        return found

    async def drop_version(self, document: DocumentId, number: int) -> str:
        """Drop what cannot be read of a version: only its name, if the rest is whole; returns what was dropped."""
        key = self._base.keys.versions(document)
        (line,) = await self._base.run(("HGET", key, number))
        try:
            info, blob_name = read_version(document, number, line if isinstance(line, bytes) else b"", None)
            await read_blob(self._base, document, blob_name, info.size_bytes)
        except (QuarantinedError, GoneError):
            await self._base.run(("HDEL", key, number, f"{number}:name"))
        else:
            await self._base.run(("HDEL", key, f"{number}:name"))
            return f"the name of version {number}"
        blob = blob_of(line) if isinstance(line, bytes) else None
        if blob is not None:
            await self._base.run(("PEXPIRE", self._base.keys.blob(document, blob), KEEP_MS))
        return f"version {number}"

    async def _versions(self, document: DocumentId) -> list[tuple[int, bytes, bytes | None]]:
        (reply,) = await self._base.run(("HGETALL", self._base.keys.versions(document)))
        found = pairs(reply)
        return [(int(field), line, found.get(field + b":name")) for field, line in found.items() if field.isdigit()]

    async def _has_version(self, document: DocumentId, number: int) -> bool:
        (there,) = await self._base.run(("HEXISTS", self._base.keys.versions(document), number))
        return there == 1

    # repairing

    async def mend(self, document: DocumentId) -> list[str]:
        """Correct single changed bits in place (RMT2); return what was corrected, one line each."""
        keys, done = self._base.keys, []
        for position, payload in await self._entries(document):
            content, sealed = payload[:-CHECKSUM_BYTES], payload[-CHECKSUM_BYTES:]
            place = ("entries", document, nonce_of(position))
            before = None if matches(sealed, *place, content=content) else corrected(sealed, *place, content=content)
            if before is not None:
                again = before + checksum(*place, content=before)
                if await self._swap(keys.log(document), "stream", id_of(position), payload, again):
                    done.append(f"one bit of entry {sequence_of(position)}")
        lines: list[bytes] = []
        for what, key in (("stones", keys.base_snapshots(document)), ("versions", keys.versions(document))):
            (reply,) = await self._base.run(("HGETALL", key))
            for field, line in pairs(reply).items():
                if what == "versions" and not field.isdigit():
                    done += await self._mend_name(document, field, line)
                    continue
                place_of_line = (what, document, field.decode()) if what == "stones" else (what, document)
                after = corrected_line(place_of_line, line)
                if after is not None and await self._swap(key, "hash", field, line, after):
                    done.append("one bit of the record of a " + ("snapshot" if what == "stones" else "version"))
                lines.append(line if after is None else after)
        (reply,) = await self._base.run(("ZRANGE", keys.segments(document), 0, -1))
        for member in texts(reply):
            after = corrected_line(("segments", document), member)
            if after is not None and await self._swap(keys.segments(document), "zset", "", member, after):
                done.append("one bit of the record of a history segment")
            lines.append(member if after is None else after)
        for blob in filter(None, map(blob_of, lines)):
            done += await self._mend_pieces(document, blob)
        return done

    async def _mend_name(self, document: DocumentId, field: bytes, stored: bytes) -> list[str]:
        content, end = stored[:-CHECKSUM_BYTES], stored[-CHECKSUM_BYTES:]
        place = ("names", document)
        name = None if matches(end, *place, content=content) else corrected(end, *place, content=content)
        if name is None:
            return []
        again = name + checksum(*place, content=name)
        is_done = await self._swap(self._base.keys.versions(document), "hash", field, stored, again)
        return ["one bit of the name of a version"] if is_done else []

    async def _mend_pieces(self, document: DocumentId, blob: str) -> list[str]:
        key, done = self._base.keys.blob(document, blob), []
        for number in await self._numbers(document, blob):
            (stored,) = await self._base.run(("HGET", key, number))
            assert isinstance(stored, bytes)
            sealed, piece = stored[:CHECKSUM_BYTES], stored[CHECKSUM_BYTES:]
            place = ("pieces", document, blob, number)
            before = None if matches(sealed, *place, content=piece) else corrected(sealed, *place, content=piece)
            if before is not None:
                again = checksum(*place, content=before) + before
                if await self._swap(key, "hash", str(number), stored, again):
                    done.append(f"one bit of a piece of {len(before)} bytes")
        return done

    async def _swap(self, key: str, kind: str, place: str | bytes, before: bytes, after: bytes) -> bool:
        (word,) = texts(await self._base.script("mend", [key], [kind, place, before, after]))
        return word == b"ok"

    async def replace_all(self, document: DocumentId, snapshot: Snapshot) -> Position:
        """Replace a document's snapshot, entries and history with one snapshot; its versions stay (RMT3, RMT4).

        Raises:
            JournalUnavailableError: the document was changed meanwhile.
            DocumentDeletedError: it was deleted meanwhile.
        """
        base, keys = self._base, self._base.keys
        meta = await self._meta(document)
        stored = await self.stored(document)
        last, folded = meta.get(b"last", b""), meta.get(b"folded", b"")
        (bases, segments) = await base.run(
            ("HGETALL", keys.base_snapshots(document)), ("ZRANGE", keys.segments(document), 0, -1)
        )
        blobs = [*filter(None, map(blob_of, [*pairs(bases).values(), *texts(segments)]))]
        times = [int(value) for value in (meta.get(b"updated_ms"), meta.get(b"folded_ms")) if value and value.isdigit()]
        time_ms = max(times, default=base.now_ms())
        nonce = new_nonce()
        upto = position_at(stored.position + 1, nonce)
        blob = await write_blob(base, document, snapshot.state, snapshot.index)
        record = BaseRecord(BaseSnapshot(upto, time_ms), blob, len(snapshot.state), len(snapshot.index))
        entry = encode_entry(document, nonce, (Edit(None, time_ms, EMPTY_UPDATE),))
        args: list[Argument] = [last, folded, id_of(upto), entry, write_base(document, record), record.size_bytes]
        args += [time_ms, base.publish, keys.channel(document), base.replica, last or b"0-0", KEEP_MS]
        names = [keys.meta(document), keys.log(document), keys.base_snapshots(document), keys.segments(document)]
        names += [keys.blob(document, name) for name in [blob, *blobs]]
        word, _ = await base.ask("replace", document, names, args)
        if word != b"ok":
            raise JournalUnavailableError(f"{document} was changed meanwhile; check it again")
        return upto


def _name(name: bytes) -> DocumentId | None:
    try:
        return DocumentId(name.decode())
    except UnicodeDecodeError:
        return None


def _sequence(position: bytes | None) -> Position | None:
    """Read the sequence of a position: the beginning if there is none, None if it cannot be read."""
    if position is None:
        return START
    try:
        return Position(sequence_of(position_of(position)))
    except ValueError:
        return None
