"""Pings for all connections of a server, from one timer.

uvicorn has two timers and a random payload for each connection, which cost memory and wake-ups. Here a connection is
one entry in one of two queues.

Rules (tests quote these ids):
    KA1  A connection is pinged `interval_s` after it opened and after each answered ping. A slack of a twentieth of the
        interval (at most one second) lets one tick serve many connections.
    KA2  Anything that arrives after the ping counts as an answer: a pong may be queued behind a large message.
    KA3  A peer that answers nothing for `timeout_s` and accepts none of the bytes sent to it is disconnected (1011). A
        peer that accepts some gets another `timeout_s`: it cannot answer until it has read what preceded the ping.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio


UNANSWERED = 1  # the bit of `Pinged.silent` that stands for our ping
PING_BYTES = 2  # an empty ping; that its own bytes reach the peer's machine says nothing about the peer


class Pinged(Protocol):
    """A connection as the keepalive sees it."""

    silent: int
    """`UNANSWERED` is set here with each ping; the connection clears all bits when anything arrives."""

    def taken(self) -> int:
        """A number that grows by the bytes that the peer accepts."""

    def send_ping(self) -> None:
        """Send an empty ping."""

    def keepalive_failed(self) -> None:
        """The peer did not answer in time (KA3)."""


class Keepalive:
    """Pings connections while they are open.

    Args:
        loop: provides the clock and the timer.
        interval_s: time between pings; None or 0 for no pings.
        timeout_s: time for an answer; None for no limit.
    """

    __slots__ = ("_asked", "_interval_s", "_loop", "_resting", "_slack_s", "_timeout_s", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, interval_s: float | None, timeout_s: float | None) -> None:
        self._loop = loop
        self._interval_s = interval_s or 0.0
        self._timeout_s = timeout_s
        self._slack_s = min(1.0, self._interval_s / 20, (timeout_s or self._interval_s) / 20)
        # Both are in the order of their due times, because all connections in one wait for the same time.
        self._resting: dict[Pinged, float] = {}  # when the next ping is due
        self._asked: dict[Pinged, tuple[float, int]] = {}  # when the answer is due, and `taken()` at the ping
        self._timer: asyncio.TimerHandle | None = None

    def add(self, connection: Pinged) -> None:
        """Start pinging a connection that has opened."""
        if self._interval_s:
            self._resting[connection] = self._loop.time() + self._interval_s
            if self._timer is None:
                self._timer = self._loop.call_later(self._interval_s, self._tick)

    def drop(self, connection: Pinged) -> None:
        """Stop pinging a connection; does nothing if it is unknown."""
        self._resting.pop(connection, None)
        self._asked.pop(connection, None)
        if not self._resting and not self._asked and self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = self._loop.time()
        horizon = now + self._slack_s
        # One pass over the front of each queue: repeatedly popping the first entry of a dict is quadratic.
        late = []
        for connection, (due, before) in self._asked.items():
            if due > horizon:
                break
            late.append((connection, before))
        pings = []
        for connection, due in self._resting.items():
            if due > horizon:
                break
            pings.append(connection)
        for connection, before in late:
            self._judge(connection, before, now, pings)
        for connection in pings:
            self._ping(connection, now)
        self._arm(now)

    def _judge(self, connection: Pinged, before: int, now: float, pings: list[Pinged]) -> None:
        self._asked.pop(connection, None)
        timeout_s = self._timeout_s or 0.0
        if connection.silent & UNANSWERED:
            taken = connection.taken()
            if taken - before <= PING_BYTES:
                connection.keepalive_failed()
            else:
                self._asked[connection] = (now + timeout_s, taken)
        elif self._interval_s <= timeout_s:
            pings.append(connection)
        else:
            self._resting[connection] = now + self._interval_s - timeout_s

    def _ping(self, connection: Pinged, now: float) -> None:
        self._resting.pop(connection, None)
        connection.silent |= UNANSWERED
        connection.send_ping()
        if self._timeout_s:
            self._asked[connection] = (now + self._timeout_s, connection.taken())
        else:
            self._resting[connection] = now + self._interval_s

    def _arm(self, now: float) -> None:
        asked = next(iter(self._asked.values()), None)
        resting = next(iter(self._resting.values()), None)
        dues = [due for due in (asked and asked[0], resting) if due is not None]
        if dues:
            self._timer = self._loop.call_later(max(self._slack_s, min(dues) - now), self._tick)
