"""What one address may do: connections, handshakes, failed sign-ins. No I/O; time is an argument.

Rules (tests quote these ids):
    AD1  An IPv6 address counts with its /64, which one customer has; an IPv4 address that is written as IPv6 counts as
         itself. Behind proxies that are believed it is the client's address and not the proxy's.
    AD2  Clients of this machine (loopback) and those without an address (Unix sockets) are not counted: who is there
         needs no network to do harm, and a proxy on this machine that names nobody must not be taken for one person.
    AD3  An address has so many connections at a time, and so many handshakes a second; more are told "later".
    AD4  Whoever was refused too often in a second (no or no good token, a forbidden document) is told "later" before
         anything is verified or any hook is asked, until it has waited. Sockets and REST count together.
    AD5  `BURST_S` seconds' worth may come at once: an office behind one address that connects anew after a restart.
    AD6  The table is bounded: beyond `MAX_ADDRESSES` the addresses without a connection that
         were quiet longest are forgotten.
    AD7  A limit of 0 is none.
    AD8  A plain HTTP connection has a place like a WebSocket's, from the moment it is accepted, but costs no handshake.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from raffia.errors import RoomFullError, TooFastError
from raffia.settings import Settings, is_loopback

if TYPE_CHECKING:
    from raffia.settings import Settings

BURST_S = 10.0
MAX_ADDRESSES = 50_000


class _Address:
    """What is known of one address.

    Attributes:
        connections: open ones.
        handshakes_s, failures_s: the time up to which those that came are paid for; see `_overdrawn`.
    """

    __slots__ = ("connections", "failures_s", "handshakes_s")

    def __init__(self) -> None:
        self.connections = 0
        self.handshakes_s = 0.0
        self.failures_s = 0.0


class AddressLimits:
    """All addresses that connect to a process.

    Args:
        settings: the limits.
    """

    __slots__ = ("_connections", "_failure_s", "_handshake_s", "_known")

    def __init__(self, settings: Settings) -> None:
        self._connections = settings.max_connections_per_address
        self._handshake_s = _cost_s(settings.max_handshakes_per_address_per_s)
        self._failure_s = _cost_s(settings.max_failures_per_address_per_s)
        self._known: dict[str, _Address] = {}

    def __len__(self) -> int:
        """How many are known."""
        return len(self._known)

    def enter(self, address: str, now_s: float) -> str | None:
        """Count a handshake and its connection; returns what `leave` wants, None for one that is not counted.

        Raises:
            RoomFullError: too many connections (AD3).
            TooFastError: too many handshakes (AD3), or too many that failed (AD4).
        """
        name = counted(address)
        if name is None:
            return None
        known = self._of(name)
        self._check_failures(known, name, now_s)
        if _overdrawn(known.handshakes_s, self._handshake_s, now_s):
            raise TooFastError(f"{name} connects too often; the limit is {1 / self._handshake_s:.0f} a second")
        self._check_connections(known, name)
        known.handshakes_s = max(known.handshakes_s, now_s) + self._handshake_s
        known.connections += 1
        return name

    def hold(self, address: str) -> str | None:
        """Count a connection without a handshake (AD8); returns what `leave` wants, None for one that is not counted.

        Raises:
            RoomFullError: too many connections (AD3).
        """
        name = counted(address)
        if name is None:
            return None
        known = self._of(name)
        self._check_connections(known, name)
        known.connections += 1
        return name

    def leave(self, name: str | None) -> None:
        """A connection has gone."""
        known = self._known.get(name) if name is not None else None
        if known is not None:
            known.connections -= 1

    def check(self, address: str, now_s: float) -> None:
        """Let an address pass that has not failed too often (AD4).

        Raises:
            TooFastError: it has.
        """
        name = counted(address) if self._known else None
        known = self._known.get(name) if name is not None else None
        if known is not None and name is not None:
            self._check_failures(known, name, now_s)

    def failed(self, address: str, now_s: float) -> None:
        """It was refused (AD4)."""
        name = counted(address)
        if name is not None:
            known = self._of(name)
            known.failures_s = max(known.failures_s, now_s) + self._failure_s

    def _check_connections(self, known: _Address, name: str) -> None:
        if self._connections and known.connections >= self._connections:
            raise RoomFullError(f"{name} has {known.connections} connections, its limit; close some")

    def _check_failures(self, known: _Address, name: str, now_s: float) -> None:
        if _overdrawn(known.failures_s, self._failure_s, now_s):
            raise TooFastError(f"{name} was refused too often; try again in some seconds")

    def _of(self, name: str) -> _Address:
        known = self._known.pop(name, None) or _Address()
        self._known[name] = known  # the quiet ones stay in front (AD6)
        if len(self._known) > MAX_ADDRESSES:
            self._forget()
        return known

    def _forget(self) -> None:
        quiet = [name for name, known in self._known.items() if not known.connections]
        for name in quiet[: max(1, len(quiet) // 2)]:
            del self._known[name]


def counted(address: str) -> str | None:
    """What an address counts as (AD1); None when it does not (AD2)."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return None
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            parsed = parsed.ipv4_mapped
        elif not parsed.is_loopback:
            return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return None if is_loopback(str(parsed)) else str(parsed)


def _overdrawn(paid_s: float, cost_s: float, now_s: float) -> bool:
    """Whether one more would be over `BURST_S` seconds' worth ahead (AD5)."""
    return cost_s > 0 and paid_s - now_s + cost_s > BURST_S


def _cost_s(per_s: int) -> float:
    return 1 / per_s if per_s else 0.0
