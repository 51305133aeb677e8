"""What a document says of itself (title, kind, schema), carried from its content into the listing.

Rules (tests quote these ids):
    MI1  The replica that takes an edit from a client carries it into the listing; what comes from the log is only read.
    MI2  Most edits cost some searches in their bytes (MT3 of crdt/meta.py). Only one that may have changed something
         has the document read, `PAUSE_S` later, so that a title that is being typed is read once; large ones in a
         worker.
    MI3  Before the first edit of a room nothing is known of its document, so that has it read too.
    MI4  The listing is written when it differs. While the journal is away it is tried again.
    MI5  A room that was edited is looked at once more when it closes: an author who did not know the latest change is
         not noticed before.
    MI6  When the schema has grown, on whatever replica, sessions of editors that know an older one are ended.
    MI7  What a document says of itself is somebody's word: of a title `MAX_TITLE` characters are listed, of a kind that
         is longer than `MAX_KIND` and of a schema that is no number such as ours nothing. Else one document could make
         every listing large, or could not be listed at all.
    MI8  Of a shared journal the listing is read before it is left as it is: another replica may have written it.
"""

from __future__ import annotations

import asyncio

from raffia.crdt.meta import NOTHING, Meta, has_meta, read_meta
from raffia.errors import DocumentDeletedError, JournalUnavailableError, SchemaError
from raffia.rooms.context import RoomContext
from raffia.runtime.logs import get_logger
from raffia.types import MAX_TITLE

log = get_logger("raffia.rooms.metadata")

PAUSE_S = 0.5
AGAIN_S = 5.0
INLINE_BYTES = 24 * 1024
MAX_KIND = 64
MAX_SCHEMA = 1 << 31


class Metadata:
    """The mirror of one room."""

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
        self._listed: Meta | None = None  # what the listing has, as far as is known
        self._is_dirty = False
        self._is_edited = False
        self._is_ours = False  # what is to be read belongs into the listing (MI1)
        self._task: asyncio.Task[None] | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is left to be looked at."""
        return self._task is None

    def edited_here(self, update: bytes) -> None:
        """An edit of a client has become part of the document (MI1, MI2)."""
        self._is_edited = True
        if self._notices(update):
            self._is_ours = True

    def edited_elsewhere(self, update: bytes) -> None:
        """An edit of another replica has become part of the document (MI1, MI6)."""
        self._notices(update)

    def _notices(self, update: bytes) -> bool:
        """Whether the document is going to be read."""
        if self._is_dirty:
            return True
        if self._meta is None and not has_meta((self._document.base, *self._document.tail)):
            self._meta = NOTHING
        if self._meta is not None and not self._meta.may_change_by(update):
            return False
        self._is_dirty = True
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._later())
        return True

    async def check_schema(self, schema: int | None) -> None:
        """Let an editor pass that knows this schema of the document, or does not say what it knows.

        Raises:
            SchemaError: the document has a newer one.
        """
        if schema is None:
            return
        wanted = 0
        if self._meta is None or self._is_dirty:
            info = await self._services.journal.directory.info(self._document_id)
            wanted = 0 if info is None else info.schema or 0
        # What was read meanwhile has ended older sessions, and this one is not there yet.
        wanted = max(wanted, 0 if self._meta is None else self._meta.schema or 0)
        if schema < wanted:
            raise outdated(schema, wanted)

    async def now(self) -> None:
        """Read the document and bring the listing up to date.

        Raises:
            JournalUnavailableError, DocumentDeletedError: the listing cannot be written.
        """
        self._is_ours = True
        await self._look()

    async def _look(self) -> None:
        self._is_dirty = False
        is_ours, self._is_ours = self._is_ours, False
        old = self._meta
        meta = self._meta = _bounded(await self._read())
        if meta.schema is not None and (old is None or meta.schema > (old.schema or 0)):
            self._end_older(meta.schema)
        if not is_ours:
            return
        if (meta.title, meta.kind, meta.schema) == (None, None, None) and self._listed is None:
            return  # an editor that keeps no such map; what the listing says was said by another
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
        """Look once more, if somebody has edited (MI5); what cannot be written now is written after another edit."""
        await self.stop()
        if not self._is_edited:
            return
        try:
            await self.now()
        except (JournalUnavailableError, DocumentDeletedError) as error:
            log.info("title not mirrored", document=self._document_id, detail=str(error))
        except Exception:
            log.exception("title not mirrored", document=self._document_id)  # the room closes without, too

    async def stop(self) -> None:
        """End what runs."""
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _later(self) -> None:
        pause_s = PAUSE_S
        try:
            while self._is_dirty:
                await asyncio.sleep(pause_s)
                try:
                    await self._look()
                except JournalUnavailableError as error:
                    log.info("title not mirrored yet", document=self._document_id, detail=str(error))
                    pause_s = AGAIN_S
        except DocumentDeletedError:
            self._is_dirty = False
        except Exception:
            # The document goes on without; the next edit of these keys, or the end of the room, tries again.
            log.exception("title not mirrored", document=self._document_id)
            self._is_dirty = False
        finally:
            if self._task is asyncio.current_task():
                self._task = None

    async def _read(self) -> Meta:
        document = self._document
        parts = (document.base, *document.tail)
        if document.size_bytes <= INLINE_BYTES:
            return read_meta(parts)
        return await self._services.workers.run(read_meta, parts)

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
    """What of it is listed (MI7)."""
    title, kind, schema = meta.title, meta.kind, meta.schema
    return meta._replace(
        title=None if title is None else title[:MAX_TITLE],
        kind=None if kind is None or len(kind) > MAX_KIND else kind,
        schema=None if schema is None or not 0 <= schema < MAX_SCHEMA else schema,
    )


def outdated(schema: int, wanted: int) -> SchemaError:
    """Say to an editor that it is older than the document."""
    return SchemaError(f"the document has schema {wanted} and this editor knows {schema}; reload to edit")
