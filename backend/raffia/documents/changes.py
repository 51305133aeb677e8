"""The changes of one document, as they become durable.

Rules (tests quote these ids):
    DC1  Every durable change after the starting position is yielded, in the order of the log, whichever replica made
         it. Changes that are not durable yet are never yielded.
    DC2  If the reader was too slow, or the log has lost entries, one change with the whole document takes the place of
         those that cannot be yielded (`is_whole`). So applying every update gives the document, and updates may repeat.
    DC3  While the journal is unavailable the iterator waits. It ends when the server stops, and raises
         `DocumentDeletedError` when the document is deleted.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

from raffia.crdt.merge import merge
from raffia.documents.origins import Origins
from raffia.errors import DrainingError, JournalUnavailableError
from raffia.journal import Entry, Followed, Gap, Reset
from raffia.rooms.hub import Hub
from raffia.rooms.room import Room
from raffia.runtime.jobs import Job
from raffia.types import DocumentId, Position

RETRY_S = 0.5
MERGE_BYTES = 256 * 1024  # merging so much takes a few milliseconds


@dataclass(frozen=True, slots=True)
class Change:
    """One durable change of a document.

    Attributes:
        update: Yjs update bytes (encoding v1).
        author: the user who made it; None if anonymous, or if it is whole.
        time_ms: Unix time in milliseconds at which the server accepted it; 0 if it is whole.
        position: pass it to `HostDocument.changes` to continue after this change.
        origin: what `HostDocument.edit` was given, if this process made the edit a short while ago; otherwise None.
        is_whole: whether `update` is the whole document, in place of changes that cannot be yielded (DC2).
    """

    update: bytes
    author: str | None
    time_ms: int
    position: Position
    origin: object = None
    is_whole: bool = False


async def changes(
    hub: Hub, document: DocumentId, origins: Origins, after: Position | None = None
) -> AsyncIterator[Change]:
    """Yield the changes after a position, by default those from now on (DC1-DC3).

    Raises:
        DocumentDeletedError: the document is deleted.
        QuarantinedError: its stored bytes are damaged.
    """
    if after is None:
        room = await hub.open(document)
        after = room.position
        hub.release(room)
    while not hub.draining:
        try:
            async for item in hub.journal.follow(document, after):
                for change in await _changes(hub, document, origins, item):
                    yield change
                    after = change.position
        except DrainingError:
            return
        except JournalUnavailableError:
            await asyncio.sleep(RETRY_S)


async def _changes(hub: Hub, document: DocumentId, origins: Origins, item: Followed) -> list[Change]:
    if isinstance(item, Entry):
        return [
            Change(edit.update, edit.author, edit.time_ms, item.position, origins.of(edit.update))
            for edit in item.batch
        ]
    if isinstance(item, Gap | Reset):
        position = item.upto if isinstance(item, Gap) else item.position
        room = await hub.open(document)
        try:
            return [Change(await whole(hub, room), None, 0, position, is_whole=True)]
        finally:
            hub.release(room)
    return []


async def whole(hub: Hub, room: Room) -> bytes:
    """The document of an open room as one update; a large one is merged in a worker."""
    document = room.document
    parts = (document.base, *document.tail)
    if len(parts) == 1:
        return document.base
    if document.size_bytes <= MERGE_BYTES:
        return merge(parts)
    return await hub.workers.run_job(Job(document.size_bytes, room.document_id), merge, parts)
