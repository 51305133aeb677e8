"""Limits per address: connections, handshakes, refused sign-ins. No I/O; time is an argument.

Rules (tests quote these ids):
    AD1  An IPv6 address counts as its /64, which usually belongs to one customer; an IPv4 address in IPv6 form counts
         as the IPv4 address. Behind trusted proxies, the client's address counts, not the proxy's.
    AD2  Clients on this machine (loopback) and those without an address (Unix sockets) are not limited, because a local
         proxy that does not forward addresses must not count as one client.
    AD3  The number of connections and the rate of handshakes of an address are limited; beyond that, clients are told
         to try again later.
    AD4  An address that was refused too often (for a missing or invalid token, or a forbidden document) is told to try
         again later; until it has waited, no token is verified and no hook is called. WebSockets and REST count
         together.
    AD5  `BURST_S` seconds' worth may arrive at once, for an office behind one address that reconnects after a restart.
    AD6  The table is bounded: beyond `MAX_ADDRESSES`, the addresses without connections that were idle for longest are
         dropped.
    AD7  0 means no limit.
    AD8  A plain HTTP connection counts as a connection as soon as it is accepted, but not as a handshake.
"""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

from raffia.errors import RoomFullError, TooFastError
from raffia.runtime.short_cache import short_cache
from raffia.settings import Settings, is_loopback

if TYPE_CHECKING:
    from raffia.settings import Settings

BURST_S = 10.0
MAX_ADDRESSES = 50_000


class _Address:
    """The state of one address.

    Attributes:
        connections: number of open connections.
        handshakes_s, failures_s: the time up to which past events are paid for; see `_overdrawn`.
    """

    __slots__ = ("connections", "failures_s", "handshakes_s")

    def __init__(self) -> None:
        self.connections = 0
        self.handshakes_s = 0.0
        self.failures_s = 0.0


class AddressLimits:
    """The limits of all addresses that connect to this process.

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
        """Number of addresses in the table."""
        return len(self._known)

    def enter(self, address: str, now_s: float) -> str | None:
        """Count a handshake and its connection; returns the argument for `leave`, None if the address is not limited.

        Raises:
            RoomFullError: too many connections (AD3).
            TooFastError: too many handshakes (AD3) or refusals (AD4).
        """
        name = counted(address)
        if name is None:
            return None
        known = self._of(name)
        self._check_failures(known, name, now_s)
        if _overdrawn(known.handshakes_s, self._handshake_s, now_s):
            raise TooFastError(f"{name} connects too often; the limit is {1 / self._handshake_s:.0f} times a second")
        self._check_connections(known, name)
        known.handshakes_s = max(known.handshakes_s, now_s) + self._handshake_s
        known.connections += 1
        return name

    def hold(self, address: str) -> str | None:
        """Count a connection without a handshake (AD8); returns the argument for `leave`, None if it is not counted.

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
        """Count the end of a connection."""
        known = self._known.get(name) if name is not None else None
        if known is not None:
            known.connections -= 1

    def check(self, address: str, now_s: float) -> None:
        """Check that an address has not been refused too often (AD4).

        Raises:
            TooFastError: it has.
        """
        name = counted(address) if self._known else None
        known = self._known.get(name) if name is not None else None
        if known is not None and name is not None:
            self._check_failures(known, name, now_s)

    def failed(self, address: str, now_s: float) -> None:
        """Count a refusal (AD4)."""
        name = counted(address)
        if name is not None:
            known = self._of(name)
            known.failures_s = max(known.failures_s, now_s) + self._failure_s

    def _check_connections(self, known: _Address, name: str) -> None:
        if self._connections and known.connections >= self._connections:
            raise RoomFullError(f"{name} has {known.connections} connections, which is the limit; close some")

    def _check_failures(self, known: _Address, name: str, now_s: float) -> None:
        if _overdrawn(known.failures_s, self._failure_s, now_s):
            raise TooFastError(f"{name} was refused too often; try again in some seconds")

    def _of(self, name: str) -> _Address:
        known = self._known.pop(name, None) or _Address()
        self._known[name] = known  # moved to the end, so that idle ones come first (AD6)
        if len(self._known) > MAX_ADDRESSES:
            self._forget()
        return known

    def _forget(self) -> None:
        quiet = [name for name, known in self._known.items() if not known.connections]
        for name in quiet[: max(1, len(quiet) // 2)]:
            del self._known[name]


@short_cache
def counted(address: str) -> str | None:
    """What an address counts as (AD1); None if it is not limited (AD2)."""
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
    """Whether one more event would be more than `BURST_S` seconds ahead of the rate (AD5)."""
    return cost_s > 0 and paid_s - now_s + cost_s > BURST_S


def _cost_s(per_s: int) -> float:
    return 1 / per_s if per_s else 0.0
