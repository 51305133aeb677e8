"""Edits that the server makes itself: seeding, renaming, copying.

Rules (tests quote these ids):
    ED1  They go through the room of the document and its gate, as a client's edits do, and are told to all there.
    ED2  They are made on the bytes of that moment; small documents in place, larger ones in a worker.
    ED3  When `change` returns, the edit is durable and the listing says what the document says of itself. An error
         means that it may be so or not: the edit can be made again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any, TypeVar

from raffia.crdt.build import copy
from raffia.crdt.update import read_update
from raffia.errors import JournalUnavailableError
from raffia.rooms.hub import Hub
from raffia.rooms.room import Room
from raffia.rooms.session import Session, Ticket
from raffia.types import Access, DocumentId, Grant

T = TypeVar("T")
Parts = Sequence[bytes]

INLINE_BYTES = 24 * 1024
DURABLE_S = 10.0


class _Wait(Ticket):
    """A ticket whose answer is a future."""

    __slots__ = ("done",)

    def __init__(self, session: Session) -> None:
        super().__init__(session, None, monotonic())
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def stored(self) -> bytes | None:
        """Nobody is sent anything."""
        if not self.done.done():
            self.done.set_result(None)
        return None


async def change(hub: Hub, document: DocumentId, work: Callable[[Parts], bytes], *, author: str | None) -> None:
    """Edit a document, which is made when it is not there (ED1-ED3).

    Args:
        hub: where the room is.
        document: which one.
        work: from the updates that make the document up to the update that edits it; picklable.
        author: whose edit it is; None for nobody's.

    Raises:
        JournalUnavailableError: not durable within `DURABLE_S`.
        DocumentDeletedError, TooLargeError, DrainingError, QuarantinedError, CrdtError: it cannot be.
    """
    room = await hub.open(document)
    try:
        update = await _run(hub, room, work)
        facts = read_update(update) if len(update) <= INLINE_BYTES else await hub.workers.run(read_update, update)
        ticket = _Wait(Session(document, Grant(Access.EDIT, user=author), hub.new_owner()))
        room.take_from_server(update, facts, ticket)
        room.flush()
        lost = room.until_lost()
        try:
            async with asyncio.timeout(DURABLE_S):
                both: set[asyncio.Future[Any]] = {ticket.done, lost}
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
        except TimeoutError:
            raise JournalUnavailableError(
                f"the edit was not stored within {DURABLE_S:g} s; it will be when the journal is back"
            ) from None
        finally:
            lost.cancel()
        if not ticket.done.done():
            raise lost.result()
        await room.update_listing()
    finally:
        hub.release(room)


async def copy_of(
    hub: Hub, document: DocumentId, fields: dict[str, str | int], *, moved: tuple[str, str] | None = None
) -> Callable[[Parts], bytes]:
    """Make a squashed copy of a document, as it is now, for `change` to put into a new one.

    Args:
        hub: where the room is.
        document: which one is copied.
        said: what the copy says of itself; the rest as the document does.
        moved: what the URLs of its files begin with, and what those of the copy's do.

    Raises:
        as `change`.
    """
    room = await hub.open(document)
    try:
        return _Given(await _run(hub, room, _Copy(fields, moved)))
    finally:
        hub.release(room)


async def _run(hub: Hub, room: Room, work: Callable[[Parts], T]) -> T:
    parts = (room.document.base, *room.document.tail)
    if room.document.size_bytes <= INLINE_BYTES:
        return work(parts)
    return await hub.workers.run(work, parts)


class _Copy:
    """A picklable `copy`."""

    def __init__(self, fields: dict[str, str | int], moved: tuple[str, str] | None) -> None:
        self._said = fields
        self._moved = moved

    def __call__(self, parts: Parts) -> bytes:
        return copy(parts, self._said, self._moved)


class _Given:
    """An update that has been made already."""

    def __init__(self, update: bytes) -> None:
        self._update = update

    def __call__(self, parts: Parts) -> bytes:
        return self._update
