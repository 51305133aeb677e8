"""`raffia.document(id)`: one document for the host's own code.

Rules (tests quote these ids):
    HD1  An edit passes the same gate as clients' edits: the document's size limit, the journal's backlog, and the limit
         on conflicting insertions. It has no size limit of its own.
    HD2  `fn` runs in this process, on the event loop, on a `Doc` that exists only during the call. If it raises,
         nothing is edited and its own exception is raised.
    HD3  When `edit` returns, the edit is durable, and its author is the given user. An `fn` that changes nothing
         writes nothing.
    HD4  The edit is computed from a copy and merged with what clients wrote meanwhile: `fn` sees a moment, and locks
         nobody out.
    HD5  `close` ends sessions on every replica that can be reached; it keeps nobody from connecting again.
"""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from raffia.crdt.merge import merge
from raffia.crdt.quick import is_quick
from raffia.crdt.view import edit_shown, show
from raffia.documents.changes import Change, changes, whole
from raffia.documents.contents import Contents
from raffia.documents.origins import Origins
from raffia.errors import CrdtError, MalformedError
from raffia.rooms.editing import store
from raffia.rooms.hub import Hub
from raffia.rooms.room import Room
from raffia.runtime.jobs import Job
from raffia.types import EMPTY_UPDATE, MAX_USER, Access, DocumentId, Position

if TYPE_CHECKING:
    import pycrdt

T = TypeVar("T")

HEAR_S = 0.3  # a replica that opens a document hears from the others within this time


@dataclass(frozen=True, slots=True)
class SessionInfo:
    """One client that has the document open on this replica.

    Attributes:
        user: from its grant; None if anonymous.
        access: from its grant.
        dialect: "hocuspocus" or "y-websocket".
    """

    user: str | None
    access: Access
    dialect: str


@dataclass(frozen=True, slots=True)
class Presence:
    """One presence state (awareness), from any replica.

    Attributes:
        client: the Yjs client id that shows it.
        user: the user in the grant of the session that sent it, which the server knows; None if anonymous.
        state: what the client shows; anything in it, such as a name, is the client's own claim.
        is_here: whether its session is on this replica.
    """

    client: int
    user: str | None
    state: Any
    is_here: bool


class HostDocument:
    """One document, for the host's own code. Making one does nothing; every method opens the document as needed.

    Every method may raise `DocumentDeletedError`, `QuarantinedError` (its stored bytes are damaged), `DrainingError`
    (the server is starting or stopping), `JournalUnavailableError` and `RoomFullError` (no memory is left).

    Attributes:
        id: its name.
    """

    __slots__ = ("_hub", "_origins", "id")

    def __init__(self, document: DocumentId, hub: Callable[[], Hub], origins: Origins) -> None:
        self.id = document
        self._hub = hub
        self._origins = origins

    async def read(self) -> Contents:
        """The document as it is now, including edits that are not durable yet; empty if it does not exist."""
        hub = self._hub()
        room = await hub.open(self.id)
        try:
            position = room.position  # first: what comes while it is merged is yielded by `changes`
            return Contents(self.id, await whole(hub, room), position, hub.workers)
        finally:
            hub.release(room)

    async def edit(self, fn: Callable[[pycrdt.Doc[Any]], T], *, user: str | None = None, origin: object = None) -> T:
        """Edit the document; it is created if it does not exist (HD1-HD4).

        Args:
            fn: edits the `Doc` that it is given, in one transaction, and must not keep it. Not async. Text is indexed
                in UTF-8 bytes, as always in pycrdt.
            user: the author; None if anonymous.
            origin: given back by `changes` in this process, so that a bot can tell its own edits.

        Returns:
            What `fn` returned.

        Raises:
            MalformedError: `user` is not valid UTF-8 or has more than `MAX_USER` characters.
            TooLargeError: the document has no room for the edit, or conflicting insertions make it too slow to open.
            JournalUnavailableError: the edit may or may not have been stored.
            CrdtError: pycrdt cannot read or edit the document.
            TypeError: `fn` is async.
            Exception: whatever `fn` raised.
        """
        _check_user(user)
        hub = self._hub()
        room = await hub.open(self.id)
        try:
            result, update = _run(await self._shown(hub, room, user), fn)
            if update != EMPTY_UPDATE:
                self._origins.add(update, origin)
                await store(hub, room, update, author=user, is_weighed=True)
            return result
        finally:
            hub.release(room)

    async def _shown(self, hub: Hub, room: Room, user: str | None) -> bytes:
        document = room.document
        parts = (document.base, *document.tail)
        if is_quick(document, loads_doc=True):
            return _show(parts)
        return await hub.workers.run_job(Job(document.size_bytes, self.id, user), _show, parts)

    def changes(self, *, after: Position | None = None) -> AsyncIterator[Change]:
        """Yield the changes of the document as they become durable (DC1-DC3 of changes.py).

        Args:
            after: `position` of what `read` returned or of a change; None for the changes from the first `anext` on.
        """
        return changes(self._hub(), self.id, self._origins, after)

    def sessions(self) -> list[SessionInfo]:
        """The clients that have the document open on this replica."""
        room = self._hub().rooms.get(self.id)
        return [
            SessionInfo(session.grant.user, session.grant.access, "hocuspocus" if session.hocuspocus else "y-websocket")
            for session in (() if room is None else room.sessions)
        ]

    async def present(self) -> list[Presence]:
        """Who shows presence in the document, on all replicas; those of a replica that cannot be reached are missing.

        If nobody has the document open on this replica, the others are asked first, which takes `HEAR_S` seconds.
        """
        hub = self._hub()
        is_new = self.id not in hub.rooms
        room = await hub.open(self.id)
        try:
            if is_new and hub.journal.bus is not None:
                await asyncio.sleep(HEAR_S)
            here = {session.owner for session in room.sessions}
            return [
                Presence(entry.client, entry.user, json.loads(entry.state), entry.owner in here)
                for entry in room.present
                if entry.state is not None
            ]
        finally:
            hub.release(room)

    async def close(self, user: str | None = None, reason: str = "closed by the application") -> int:
        """End a user's sessions in the document, or everyone's (None), on all replicas (HD5).

        The clients are closed with 4403: y-websocket does not reconnect by itself, and a Hocuspocus provider is denied.
        Let `authorize` refuse the user too, if they are to stay away.

        Returns:
            How many sessions ended on this replica.
        """
        _check_user(user)
        hub = self._hub()
        room = await hub.open(self.id)
        try:
            return room.end_for(user, reason)
        finally:
            hub.release(room)


def _show(parts: tuple[bytes, ...]) -> bytes:
    return show(merge(parts))


def _run(shown: bytes, fn: Callable[[pycrdt.Doc[Any]], T]) -> tuple[T, bytes]:
    """Run `fn` and return its result and the update that it made (HD2)."""
    results: list[T] = []
    raised: list[Exception] = []

    def change(doc: pycrdt.Doc[Any]) -> None:
        try:
            result = fn(doc)
            if inspect.iscoroutine(result):
                result.close()
                raise TypeError("edit(fn): fn must not be async; await what it needs before")  # noqa: TRY301
            results.append(result)
        except Exception as error:
            raised.append(error)
            raise

    try:
        update = edit_shown(shown, change)
    except CrdtError:
        if raised:
            raise raised[0] from None
        raise
    return results[0], update


def _check_user(user: str | None) -> None:
    """Check the author of an edit.

    Raises:
        MalformedError: see `HostDocument.edit`.
    """
    if user is None:
        return
    if not isinstance(user, str) or len(user) > MAX_USER:
        raise MalformedError(f"a user must be a string of at most {MAX_USER} characters")
    try:
        user.encode()
    except UnicodeEncodeError:
        raise MalformedError("this user is not valid UTF-8") from None
