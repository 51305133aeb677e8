"""The y-websocket dialect: one document per socket, and a grant that was decided before the upgrade."""

from __future__ import annotations

from collections.abc import Sequence

from raffia.errors import RaffiaError
from raffia.rooms.room import Room
from raffia.rooms.session import Session
from raffia.sockets.connection import Connection
from raffia.types import DocumentId, Grant
from raffia.wire import ywebsocket


class YWebsocketDialect:
    """One session, which joins as soon as the socket is open.

    Args:
        document: the document to open.
        grant: the client's grant for it.
    """

    __slots__ = ("_admitted", "_connection", "_room", "_session")

    def __init__(self, document: DocumentId, grant: Grant) -> None:
        self._connection: Connection
        self._admitted: tuple[DocumentId, Grant] | None = (document, grant)  # until the session has joined
        self._session: Session | None = None
        self._room: Room | None = None

    @property
    def may_read(self) -> bool:
        """Whether the session has joined. Until then messages stay in the socket: a lost step 1 is never repeated."""
        return self._session is not None

    def opened(self, connection: Connection) -> None:
        """Join the document's room, without reading the socket meanwhile (S1)."""
        self._connection = connection
        connection.transport.pause_reading()
        connection.transport.limit_messages(connection.hub.settings.max_preauth_frame_bytes)
        connection.start(self._join())

    async def _join(self) -> None:
        if self._admitted is not None:
            document, grant = self._admitted
            await self._connection.my_turn()
            self._session, self._room = await self._connection.join(document, grant)
            self._admitted = None
            self._connection.accept_large(grant)
            self._connection.read_on()

    def receive(self, payload: bytes) -> None:
        """Decode one message and deliver it."""
        message = ywebsocket.decode(payload)
        if self._session is not None and self._room is not None:
            self._connection.deliver(self._session, self._room, message)

    def oversized(self, _start: bytes, error: RaffiaError) -> None:
        """Close the socket: it has no other session."""
        raise error

    def sessions(self) -> Sequence[tuple[Session, Room]]:
        """The one session, once it has joined."""
        return ((self._session, self._room),) if self._session is not None and self._room is not None else ()

    def dropped(self, session: Session) -> None:
        """Do nothing: the socket is closing."""

    def ask_token(self, session: Session) -> None:
        """Do nothing: this dialect has no message that asks for a token."""

    def end(self, _session: Session, error: RaffiaError) -> None:
        """Close the socket: it has no other session."""
        self._connection.fail(error)

    def closed(self) -> None:
        """Forget the session."""
        self._session = self._room = self._admitted = None
