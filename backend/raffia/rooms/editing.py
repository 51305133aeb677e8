"""Edits that the server makes: seeding, renaming, copying.

Rules (tests quote these ids):
    ED1  They pass the document's room and its gate, as a client's edits do, and are broadcast to its sessions.
    ED2  They are computed from the document's current bytes: in this process if that is quick (crdt/quick.py),
         otherwise in a worker process, as a job of the author.
    ED3  When `change` returns, the edit is durable and the listing matches the document's metadata. After an error the
         edit may or may not have been made; it is safe to make it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from raffia.crdt.build import copy
from raffia.crdt.quick import QUICK_BYTES, is_quick
from raffia.crdt.update import read_update
from raffia.errors import JournalUnavailableError
from raffia.rooms.hub import Hub
from raffia.rooms.room import Room
from raffia.rooms.session import Session, Ticket
from raffia.runtime.jobs import Job
from raffia.types import Access, DocumentId, Grant
from raffia.wire.messages import Update

T = TypeVar("T")
Parts = Sequence[bytes]

DURABLE_S = 10.0


class _FutureTicket(Ticket):
    """A ticket that resolves a future instead of sending an answer."""

    __slots__ = ("done",)

    def __init__(self, session: Session) -> None:
        super().__init__(session, None, monotonic())
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stored(self) -> bytes | None:
        """Resolve the future; send nothing."""
        if not self.done.done():
            self.done.set_result(None)
        return None


async def change(hub: Hub, document: DocumentId, work: Callable[[Parts], bytes], *, author: str | None) -> None:
    """Edit a document; it is created if it does not exist (ED1-ED3).

    Args:
        hub: opens the room.
        document: the document to edit.
        work: takes the updates that make up the document and returns the update that edits it; picklable.
        author: the user who made the edit; None if anonymous.

    Raises:
        JournalUnavailableError: the edit was not durable within `DURABLE_S`.
        TooCostlyError: the work took too long in a worker, now or a while ago.
        DocumentDeletedError, TooLargeError, DrainingError, QuarantinedError, CrdtError: the edit cannot be made.
    """
    room = await hub.open(document)
    try:
        await store(hub, room, await _run(hub, room, work, author), author=author)
    finally:
        hub.release(room)


async def store(hub: Hub, room: Room, update: bytes, *, author: str | None, is_weighed: bool = False) -> None:
    """Take an edit into an open room and wait until it is durable (ED1, ED3).

    Args:
        hub: of the room.
        room: stays open meanwhile.
        update: depends on nothing that the document lacks.
        author: the user who made the edit; None if anonymous.
        is_weighed: whether the edit comes from the host's code, which may conflict with others as a client's may, and
            is refused as a client's is (contention_guard.py).

    Raises:
        TooContendedError: `is_weighed`, and editors would take too long to open the document.
        As `change`.
    """
    session = Session(room.document_id, Grant(Access.EDIT, user=author), hub.new_owner())
    facts = read_update(update) if len(update) <= QUICK_BYTES else await hub.workers.run(read_update, update)
    if is_weighed:
        await room.examine(session, Update(update), facts)
    ticket = _FutureTicket(session)
    room.take_from_server(update, facts, ticket, is_weighed=is_weighed)
    room.flush()
    lost = room.until_lost()
    try:
        async with asyncio.timeout(DURABLE_S):
            both: set[asyncio.Future[Any]] = {ticket.done, lost}
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    except TimeoutError:
        raise JournalUnavailableError(
            f"the edit was not stored within {DURABLE_S:g} s; it will be stored when the journal is back"
        ) from None
    finally:
        lost.cancel()
    if not ticket.done.done():
        raise lost.result()
    await room.update_listing()


async def copy_of(
    hub: Hub,
    document: DocumentId,
    fields: dict[str, str | int],
    *,
    author: str | None = None,
    moved: tuple[str, str] | None = None,
) -> Callable[[Parts], bytes]:
    """Make a squashed copy of a document as it is now, to be passed as `work` to `change` for a new document.

    Args:
        hub: opens the room.
        document: the document to copy.
        fields: metadata to set in the copy; the rest is copied.
        author: the user who asked for it; None for none.
        moved: the prefix of the URLs of the document's files, and the prefix for the copy's.

    Raises:
        As `change`.
    """
    room = await hub.open(document)
    try:
        return _Given(await _run(hub, room, _Copy(fields, moved), author, loads_doc=True))
    finally:
        hub.release(room)


async def _run(hub: Hub, room: Room, work: Callable[[Parts], T], author: str | None, *, loads_doc: bool = False) -> T:
    document = room.document
    parts = (document.base, *document.tail)
    if is_quick(document, loads_doc=loads_doc):
        return work(parts)
    return await hub.workers.run_job(Job(document.size_bytes, room.document_id, author), work, parts)


class _Copy:
    """`copy` with its arguments; picklable."""

    def __init__(self, fields: dict[str, str | int], moved: tuple[str, str] | None) -> None:
        self._fields = fields
        self._moved = moved

    def __call__(self, parts: Parts) -> bytes:
        return copy(parts, self._fields, self._moved)


class _Given:
    """Work that returns an update made earlier."""

    def __init__(self, update: bytes) -> None:
        self._update = update

    def __call__(self, parts: Parts) -> bytes:
        return self._update
