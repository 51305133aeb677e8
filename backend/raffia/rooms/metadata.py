"""A document's own metadata (title, kind, schema), copied from its content into the listing.

Rules (tests quote these ids):
    MI1  The replica that receives an edit from a client copies the metadata into the listing. Entries that come from
         the log are read, but not written to the listing.
    MI2  Most edits cost a few searches in their bytes (MT3 of crdt/meta.py). The document is read only after an edit
         that may have changed the metadata, `PAUSE_S` later, so that a title is read once while it is being typed.
         Documents for which that is not quick (crdt/quick.py) are read in a worker.
    MI3  Before a room's first edit its metadata is unknown, so the first edit may have the document read too.
    MI4  The listing is written when it differs, and again later if the journal is away.
    MI5  A room that was edited reads its document once more when it closes, because an edit by an author who had not
         seen the latest change may have gone unnoticed.
    MI6  When the schema grows, on any replica, sessions of editors that know an older schema are ended.
    MI7  Clients write the metadata, so the listing is bounded: a title is cut to `MAX_TITLE` characters, and a kind
         longer than `MAX_KIND` or a schema outside 0 to `MAX_SCHEMA` is left out. Otherwise one document could make
         every listing large, or could not be listed.
    MI8  With a shared journal, the listing is read before it is assumed to be current: another replica may have written
         it.
"""

from __future__ import annotations

import asyncio

from raffia.crdt.meta import NOTHING, Meta, has_meta, read_meta
from raffia.crdt.quick import is_quick
from raffia.errors import DocumentDeletedError, JournalUnavailableError, SchemaError, TooCostlyError
from raffia.rooms.context import RoomContext
from raffia.runtime.jobs import Job
from raffia.runtime.logs import get_logger
from raffia.types import MAX_TITLE

log = get_logger("raffia.rooms.metadata")

PAUSE_S = 0.5
AGAIN_S = 5.0
MAX_KIND = 64
MAX_SCHEMA = 1 << 31


class Metadata:
    """The metadata of one room's document."""

    __slots__ = (
        "_clients",
        "_document",
        "_document_id",
        "_fanout",
        "_is_dirty",
        "_is_edited",
        "_is_ours",
        "_listed",
        "_meta",
        "_services",
        "_task",
    )

    def __init__(self, context: RoomContext) -> None:
        self._document_id = context.document_id
        self._document = context.document
        self._services = context.services
        self._fanout = context.fanout
        self._clients = context.clients
        self._meta: Meta | None = None
        self._listed: Meta | None = None  # what the listing holds, as far as is known
        self._is_dirty = False
        self._is_edited = False
        self._is_ours = False  # whether to write the listing after the next reading (MI1)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to do: no read of the document is due or in progress."""
        return self._task is None

    def edited_here(self, update: bytes) -> None:
        """Handle a client's edit that has become part of the document (MI1, MI2)."""
        self._is_edited = True
        if self._notice(update):
            self._is_ours = True

    def edited_elsewhere(self, update: bytes) -> None:
        """Handle another replica's edit that has become part of the document (MI1, MI6)."""
        self._notice(update)

    def _notice(self, update: bytes) -> bool:
        """Schedule a read of the document if an edit may have changed the metadata; returns whether one is due."""
        if self._is_dirty:
            return True
        if self._meta is None and not has_meta((self._document.base, *self._document.tail)):
            self._meta = NOTHING
        if self._meta is not None and not self._meta.may_change_by(update):
            return False
        self._is_dirty = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh_later())
        return True

    async def check_schema(self, schema: int | None) -> None:
        """Check that an editor with this schema may join; an editor that states none (None) may.

        Raises:
            SchemaError: the document has a newer schema.
        """
        if schema is None:
            return
        wanted = 0
        if self._meta is None or self._is_dirty:
            info = await self._services.journal.directory.info(self._document_id)
            wanted = 0 if info is None else info.schema or 0
        # A reading during the await ended older sessions, but this one had not joined yet.
        wanted = max(wanted, 0 if self._meta is None else self._meta.schema or 0)
        if schema < wanted:
            raise outdated(schema, wanted)

    async def now(self) -> None:
        """Read the document and update the listing.

        Raises:
            JournalUnavailableError, DocumentDeletedError: the listing cannot be written.
        """
        self._is_ours = True
        await self._refresh()

    async def _refresh(self) -> None:
        self._is_dirty = False
        is_ours, self._is_ours = self._is_ours, False
        old = self._meta
        meta = self._meta = _bounded(await self._read())
        if meta.schema is not None and (old is None or meta.schema > (old.schema or 0)):
            self._end_older(meta.schema)
        if not is_ours:
            return
        if (meta.title, meta.kind, meta.schema) == (None, None, None) and self._listed is None:
            return  # the editor keeps no metadata map; the listing was written by other means
        try:
            await self._write(meta)
        except BaseException:
            self._is_dirty = self._is_ours = True
            raise

    def _end_older(self, schema: int) -> None:
        """End the sessions of editors that know an older schema (MI6)."""
        for session in self._fanout:
            if session.schema is not None and session.schema < schema:
                self._clients.end(session, outdated(session.schema, schema))

    async def close(self) -> None:
        """Read the document once more if it was edited (MI5); a failure is logged."""
        await self.stop()
        if not self._is_edited:
            return
        try:
            await self.now()
        except (JournalUnavailableError, DocumentDeletedError, TooCostlyError) as error:
            log.info("listing not updated", document=self._document_id, detail=str(error))
        except Exception:
            log.exception("listing not updated", document=self._document_id)  # the room closes all the same

    async def stop(self) -> None:
        """Cancel a read that is due or in progress."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _refresh_later(self) -> None:
        pause_s = PAUSE_S
        try:
            while self._is_dirty:
                await asyncio.sleep(pause_s)
                try:
                    await self._refresh()
                except JournalUnavailableError as error:
                    log.info("listing not updated yet", document=self._document_id, detail=str(error))
                    pause_s = AGAIN_S
        except DocumentDeletedError:
            self._is_dirty = False
        except TooCostlyError as error:
            log.warning("listing not updated", document=self._document_id, detail=str(error))
            self._is_dirty = False
        except Exception:
            # The document is not affected; the next edit of these keys, or closing the room, tries again.
            log.exception("listing not updated", document=self._document_id)
            self._is_dirty = False
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    async def _read(self) -> Meta:
        document = self._document
        parts = (document.base, *document.tail)
        if is_quick(document):
            return read_meta(parts)
        return await self._services.workers.run_job(Job(document.size_bytes, self._document_id), read_meta, parts)

    async def _write(self, meta: Meta) -> None:
        fields = meta._replace(marks=())
        journal = self._services.journal
        if fields == self._listed and not journal.is_shared:
            return
        info = await journal.directory.info(self._document_id)
        if info is None or (info.title, info.kind, info.schema) != (fields.title, fields.kind, fields.schema):
            await journal.directory.set_info(
                self._document_id, title=fields.title, kind=fields.kind, schema=fields.schema
            )
        self._listed = fields


def _bounded(meta: Meta) -> Meta:
    """The metadata as it is listed (MI7)."""
    title, kind, schema = meta.title, meta.kind, meta.schema
    return meta._replace(
        title=None if title is None else title[:MAX_TITLE],
        kind=None if kind is None or len(kind) > MAX_KIND else kind,
        schema=None if schema is None or not 0 <= schema < MAX_SCHEMA else schema,
    )


def outdated(schema: int, wanted: int) -> SchemaError:
    """The error for an editor that is older than the document."""
    return SchemaError(f"the document has schema {wanted}, but this editor knows {schema}; reload to edit")
