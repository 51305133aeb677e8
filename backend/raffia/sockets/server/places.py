"""Limits plain HTTP connections: each needs a place before it is served.

Rules (tests quote these ids):
    PL1  A connection has a place in the process from the moment it is accepted until it is closed or becomes a
         WebSocket, which is then counted by its endpoint. WebSockets and plain connections share one limit.
    PL2  It also has a place for its address: the peer's, or if the peer is a trusted proxy, that of the client that the
         last request named. A trusted proxy itself has no such limit, because it forwards for many clients.
    PL3  If there is no place in the process or for the peer, the connection is aborted when it is accepted. If there is
         none for a proxy's client, the request is answered with 503.
    PL4  A process that is full of WebSockets still has some places for plain connections (`spare`), so that health
         checks are answered and newcomers are told that it is full.
    PL5  When the process has no place left, the connection that has waited longest for the head of a request gives its
         place up and is aborted. So those who send nothing, or heads that never end, don't lock others out.
"""

from __future__ import annotations

from collections.abc import Callable

from uvicorn.middleware.proxy_headers import _TrustedHosts

from raffia.auth.address_limits import AddressLimits
from raffia.errors import RoomFullError


class Places:
    """The places of one process.

    Args:
        addresses: the limits of addresses; the endpoints' own.
        max_connections: limit of the process.
        websockets: returns the number of open WebSockets.
        trusted: the proxies whose `X-Forwarded-For` is trusted, as in `uvicorn.Config.forwarded_allow_ips`.

    Attributes:
        taken: how many plain connections there are.
        headless: those that wait for the head of a request, longest first.
    """

    __slots__ = ("_max_connections", "_trusted", "_websockets", "addresses", "headless", "taken")

    def __init__(
        self, addresses: AddressLimits, max_connections: int, websockets: Callable[[], int], trusted: list[str] | str
    ) -> None:
        self.addresses = addresses
        self._max_connections = max_connections
        self._websockets = websockets
        self._trusted = _TrustedHosts(trusted)
        self.taken = 0
        self.headless: dict[Place, None] = {}

    def enter(self, peer: str, end: Callable[[], None]) -> Place | None:
        """Take a place for a connection that was accepted; None if there is none (PL3).

        Args:
            peer: its address.
            end: aborts the connection and gives its place back (PL5).
        """
        most = self._max_connections + spare(self._max_connections)
        if self.taken + self._websockets() >= most:
            longest = next(iter(self.headless), None)
            if longest is None:
                return None
            longest.end()
        place = Place(self, end, is_proxy=peer in self._trusted)
        if not place.is_proxy and not place.move(peer):
            return None
        self.taken += 1
        return place

    def client_of(self, forwarded_for: bytes) -> str:
        """The client that a trusted proxy names, as uvicorn reads it."""
        return self._trusted.get_trusted_client_address(forwarded_for.decode("latin-1"))[0]


def spare(max_connections: int) -> int:
    """How many places plain connections have beyond `max_connections` (PL4)."""
    return max(8, max_connections // 100)


class Place:
    """The place of one connection.

    Attributes:
        is_proxy: whether the peer is a trusted proxy.
        end: aborts the connection and gives the place back.
    """

    __slots__ = ("_name", "_places", "end", "is_proxy")

    def __init__(self, places: Places, end: Callable[[], None], *, is_proxy: bool) -> None:
        self._places = places
        self.end = end
        self._name: str | None = None
        self.is_proxy = is_proxy

    def named(self, forwarded_for: bytes) -> bool:
        """Count the connection for the client that a proxied request names; returns whether there is a place (PL2)."""
        return not self.is_proxy or self.move(self._places.client_of(forwarded_for) if forwarded_for else "")

    def move(self, address: str) -> bool:
        """Count the connection for another address; returns whether that address has a place left."""
        self._places.addresses.leave(self._name)
        self._name = None
        try:
            self._name = self._places.addresses.hold(address)
        except RoomFullError:
            return False
        return True

    def await_head(self) -> None:
        """Note that the connection waits for the head of a request from now on, unless it does already (PL5)."""
        self._places.headless.setdefault(self)

    def has_head(self) -> None:
        """Note that it has one."""
        self._places.headless.pop(self, None)

    def leave(self) -> None:
        """Give the place back; call it once."""
        self.has_head()
        self._places.addresses.leave(self._name)
        self._name = None
        self._places.taken -= 1
