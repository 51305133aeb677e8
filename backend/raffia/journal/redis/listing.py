"""The listing on Redis, and deleting documents.

Rules (tests quote these ids):
    RD1  A document's meta is authoritative. The listing's sorted sets may be on other nodes of a cluster and differ
         from it for a while; an entry that does not match is skipped, and corrected by the next pruning.
    RD2  A deletion is recorded for purging before the tombstone is set: a process killed in between leaves a record
         without a tombstone, which pruning removes, and never a tombstone without a record.
    RD3  Purging marks the document first, then drops its content, then data kept elsewhere (J22); the record is
         removed last, so that an interrupted purge is done again.
"""

from __future__ import annotations

from raffia.errors import DocumentDeletedError, ForbiddenError, JournalUnavailableError, QuarantinedError, RaffiaError
from raffia.journal.protocol import Clear, DocumentInfo, cleared
from raffia.journal.redis.base import Base, optional
from raffia.journal.redis.engine import Argument, Command
from raffia.journal.redis.keys import position_of
from raffia.journal.redis.links import links_of
from raffia.journal.redis.records import blob_of
from raffia.journal.redis.replies import all_checked, check_format, pairs, parts, texts
from raffia.runtime.logs import get_logger
from raffia.types import START, DocumentId

log = get_logger("raffia.journal")

_DUE = 50
_DROPPED = 200
_INFO = (
    "format",
    "created_ms",
    "updated_ms",
    "deleted_ms",
    "purged",
    "title",
    "kind",
    "last",
    "snapshot_bytes",
    "tail_bytes",
    "history_bytes",
    "updated_by",
    "schema",
    "links_generation",
    "link_read_ms",
    "link_edit_ms",
)


class RedisListing:
    """The listing of one journal, and the deletion and restoring of its documents."""

    def __init__(self, base: Base, *, trash_ms: int) -> None:
        self._base = base
        self._trash_ms = trash_ms
        self.clear: Clear | None = None

    async def set_info(self, document: DocumentId, *, title: str | None, kind: str | None, schema: int | None) -> None:
        """Record title, kind and schema."""
        base, keys = self._base, self._base.keys
        optional_schema = optional(None if schema is None else str(schema))
        args: list[Argument] = [base.now_ms(), optional(title), optional(kind), optional_schema]
        _, rest = await base.ask("set_info", document, [keys.meta(document)], args)
        if rest[0] != b"1":
            await base.run(("ZADD", keys.documents, 0, document))
            await base.run(("ZADD", keys.edited, "NX", base.now_ms(), document))
            await base.run(("HSET", keys.meta(document), "listed", 1))

    async def infos(self, documents: list[DocumentId]) -> list[DocumentInfo | None]:
        """Look up documents."""
        names = [self._base.keys.meta(document) for document in documents]
        replies = await self._base.run(*[("HMGET", name, *_INFO) for name in names]) if names else []
        return [self._info(document, parts(reply)) for document, reply in zip(documents, replies, strict=True)]

    def _info(self, document: DocumentId, found: list[bytes | None]) -> DocumentInfo | None:
        """Read a document's meta; None if it is missing or damaged."""
        try:
            return _info(document, found)
        except (ValueError, QuarantinedError) as error:
            self._base.report(f"the meta of {document}", error)
            return None

    # deletion

    async def delete(self, document: DocumentId) -> None:
        """Set the tombstone (RD2)."""
        base, keys = self._base, self._base.keys
        await base.run(("ZADD", keys.trash, "NX", base.now_ms(), document))
        args: list[Argument] = [base.now_ms(), base.publish, keys.channel(document), base.replica]
        await base.ask("delete", document, [keys.meta(document)], args)
        await self._list(document)

    async def restore(self, document: DocumentId) -> None:
        """Remove the tombstone."""
        base, keys = self._base, self._base.keys
        word, _ = await base.ask("restore", document, [keys.meta(document)])
        if word == b"missing":
            raise ForbiddenError(f"there is no document {document}")
        if word == b"purged":
            raise DocumentDeletedError(f"document {document} was deleted, and its content has been purged")
        await self._list(document)

    async def list_by_time(self, documents: list[DocumentId]) -> None:
        """Add documents to the index by time, at the times in their metas (RD1)."""
        key = self._base.keys.edited
        found = [info for info in await self.infos(documents) if info is not None and info.deleted_ms is None]
        scores: list[Argument] = [part for info in found for part in (info.updated_ms, info.document)]
        if scores:
            await self._base.run(("ZADD", key, "GT", *scores))

    async def _list(self, document: DocumentId) -> None:
        """Make the sorted sets match the meta; starts over if another replica has changed it meanwhile (RD1)."""
        keys = self._base.keys
        (info,) = await self.infos([document])
        while info is not None and not info.purged:
            if info.deleted_ms is None:
                await self.list_by_time([document])
                await self._base.run(
                    ("ZADD", keys.documents, 0, document),
                    ("ZREM", keys.deleted, document),
                    ("ZREM", keys.trash, document),
                )
            else:
                await self._base.run(("ZADD", keys.trash, "NX", info.deleted_ms, document))
                await self._base.run(("ZADD", keys.deleted, 0, document), ("ZREM", keys.documents, document))
                await self._base.run(("ZREM", keys.edited, document))
            before_ms = info.deleted_ms
            (info,) = await self.infos([document])
            if info is not None and info.deleted_ms == before_ms:
                return

    async def purge_due(self) -> None:
        """Drop the content of documents that were deleted long enough ago (J14)."""
        base, keys = self._base, self._base.keys
        limit_ms = base.passed_time.passed_ms() - self._trash_ms
        skipped = 0
        while True:
            (reply,) = await base.run(("ZRANGEBYSCORE", keys.trash, "-inf", limit_ms, "LIMIT", skipped, _DUE))
            due = [DocumentId(name.decode()) for name in texts(reply)]
            for document in due:
                try:
                    skipped += not await self._purge(document, limit_ms)
                except JournalUnavailableError:
                    raise
                except RaffiaError as error:
                    # One damaged document, or one of a newer format, must not stop the purge of the others.
                    log.warning("a deleted document is not purged", document=document, detail=str(error))
                    skipped += 1
            if len(due) < _DUE:
                return

    async def _purge(self, document: DocumentId, limit_ms: int) -> bool:
        """Purge a document; return whether its record is removed or postponed."""
        base, keys = self._base, self._base.keys
        word, rest = await base.ask("purge", document, [keys.meta(document)], [limit_ms])
        if word == b"ok":
            return await self._drop(document)
        if word == b"later":
            await base.run(("ZADD", keys.trash, rest[0] or b"0", document))
        elif word == b"living":
            await self._put_right(document)
        return True

    async def _put_right(self, document: DocumentId) -> None:
        """Correct a record without a tombstone: the deletion was interrupted, or the document was restored (RD1)."""
        if (await self.infos([document]))[0] is not None:
            await self._list(document)
        else:
            await self._base.run(("ZREM", self._base.keys.trash, document))

    async def _drop(self, document: DocumentId) -> bool:
        """Drop everything left of a purged document (RD3); return whether that is complete."""
        base, keys = self._base, self._base.keys
        bases, segments, versions = await base.run(
            ("HGETALL", keys.base_snapshots(document)),
            ("ZRANGE", keys.segments(document), 0, -1),
            ("HGETALL", keys.versions(document)),
        )
        named = [pairs(bases).values(), texts(segments)]
        named.append([line for field, line in pairs(versions).items() if field.isdigit()])
        blobs = [blob for lines in named for line in lines if (blob := blob_of(line)) is not None]
        names = [keys.blob(document, blob) for blob in blobs]
        names += [keys.base_snapshots(document), keys.segments(document), keys.versions(document), keys.log(document)]
        for start in range(0, len(names), _DROPPED):
            chosen = names[start : start + _DROPPED]
            all_checked(await base.engine.run([Command(name, ("UNLINK", name)) for name in chosen]))
        if self.clear is not None and not await cleared(self.clear, document):
            return False
        await base.run(("ZREM", keys.deleted, document), ("ZREM", keys.due, document), ("ZREM", keys.trash, document))
        return True


def _info(document: DocumentId, found: list[bytes | None]) -> DocumentInfo | None:
    form, created_ms, updated_ms, deleted_ms, purged, title, kind, last, *rest = found
    snapshot, tail, history, updated_by, schema, *links = rest
    check_format(document, form)
    if created_ms is None:
        return None
    return DocumentInfo(
        document=document,
        created_ms=int(created_ms),
        updated_ms=int(updated_ms or created_ms),
        deleted_ms=None if deleted_ms is None else int(deleted_ms),
        purged=purged is not None,
        title=None if title is None else title.decode(),
        kind=None if kind is None else kind.decode(),
        position=START if last is None else position_of(last),
        snapshot_bytes=int(snapshot or 0),
        tail_bytes=int(tail or 0),
        history_bytes=int(history or 0),
        updated_by=updated_by.decode() if updated_by else None,
        schema=None if schema is None else int(schema),
        links=links_of(links),
    )
