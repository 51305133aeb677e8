"""The connections of a room's sessions: how to end one session, and how to end the whole room."""

from __future__ import annotations

import asyncio
from typing import Protocol

from raffia.errors import RaffiaError
from raffia.rooms.session import Session
from raffia.wire.transport import Transport


class Client(Protocol):
    """The connection that carries a session."""

    @property
    def transport(self) -> Transport:
        """Where its frames go."""
        ...

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error."""
        ...


class Clients:
    """The clients of one room.

    Attributes:
        lost: why the room is lost (its document was deleted, its journal failed); None if it is not.
    """

    __slots__ = ("_clients", "_futures", "lost")

    def __init__(self) -> None:
        self.lost: RaffiaError | None = None
        self._clients: dict[Session, Client] = {}
        self._futures: list[asyncio.Future[RaffiaError]] = []

    def add(self, session: Session, client: Client) -> None:
        """Add a session that has joined."""
        self._clients[session] = client

    def remove(self, session: Session) -> None:
        """Remove a session that has left."""
        del self._clients[session]

    def end(self, session: Session, error: RaffiaError) -> None:
        """End a session with an error; does nothing if the session has left."""
        client = self._clients.get(session)
        if client is not None:
            client.end(session, error)

    def end_all(self, error: RaffiaError) -> None:
        """End every session with an error."""
        for session in tuple(self._clients):
            self.end(session, error)

    def lose(self, error: RaffiaError) -> None:
        """Mark the room as lost, resolve the futures of `until_lost` and end every session."""
        self.lost = error
        for future in self._futures:
            if not future.done():
                future.set_result(error)
        self.end_all(error)

    def until_lost(self) -> asyncio.Future[RaffiaError]:
        """Return a future that resolves to the error if the room is lost."""
        future: asyncio.Future[RaffiaError] = asyncio.get_running_loop().create_future()
        self._futures = [other for other in self._futures if not other.done()]
        self._futures.append(future)
        return future
