"""The connections that a room's sessions came by: how a session is ended, and how the whole room is."""

from __future__ import annotations

import asyncio
from typing import Protocol

from raffia.errors import RaffiaError
from raffia.rooms.session import Session
from raffia.wire.transport import Transport


class Client(Protocol):
    """The connection that a session came by."""

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
        lost: the error with which the room was lost (its document was deleted, its journal failed); None while it
            lives.
    """

    __slots__ = ("_clients", "_futures", "lost")

    def __init__(self) -> None:
        self.lost: RaffiaError | None = None
        self._clients: dict[Session, Client] = {}
        self._futures: list[asyncio.Future[RaffiaError]] = []

    def add(self, session: Session, client: Client) -> None:
        """A session has joined."""
        self._clients[session] = client

    def remove(self, session: Session) -> None:
        """A session has left."""
        del self._clients[session]

    def end(self, session: Session, error: RaffiaError) -> None:
        """End a session with an error; nothing happens if it has left already."""
        client = self._clients.get(session)
        if client is not None:
            client.end(session, error)

    def end_all(self, error: RaffiaError) -> None:
        """End every session with an error."""
        for session in tuple(self._clients):
            self.end(session, error)

    def lose(self, error: RaffiaError) -> None:
        """The room is lost: tell those who wait for that, and end every session."""
        self.lost = error
        for future in self._futures:
            if not future.done():
                future.set_result(error)
        self.end_all(error)

    def until_lost(self) -> asyncio.Future[RaffiaError]:
        """A future of the error with which the room is lost, if it ever is."""
        future: asyncio.Future[RaffiaError] = asyncio.get_running_loop().create_future()
        self._futures = [other for other in self._futures if not other.done()]
        self._futures.append(future)
        return future
