"""Connections to one Redis server, for commands: one for appending, a few for reading.

Rules (tests quote these ids):
    ND1  The lane for appends has one connection of its own: a large read never stands before an append.
    ND2  A connection serves one call at a time. A call waits for one within its own deadline, and says so when none
         came.
    ND3  A script is loaded in the round trip of its first call through a connection. Calls that Redis refuses with
         NOSCRIPT all the same (somebody flushed the scripts) have not been executed: they are sent once more, in order.
    ND4  Nothing else is sent twice. Retries of a library are not in the way: there are none.
    ND5  A connection that was idle for `IDLE_MOST_S` is not used again: a firewall may have forgotten it without a
         word, and the call would wait for its deadline.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.engine import Argument, Lane, Reply, Script
from raffia.journal.redis.link import Link, code_of

READERS = 4
IDLE_MOST_S = 60.0
Connect = Callable[[float], Awaitable[Link]]
"""Makes a connection by a deadline, a loop time; raises JournalUnavailableError."""


class Call(NamedTuple):
    """One command on its way to a server.

    Attributes:
        args: the command and its arguments; of a script `EVALSHA` with everything behind it.
        script: what it runs, if it does.
        asking: whether `ASKING` goes before it, because the slot of its keys is on its way to this node.
    """

    args: tuple[Argument, ...]
    script: Script | None = None
    asking: bool = False


def script_call(script: Script, keys: Sequence[str], args: Sequence[Argument]) -> Call:
    """The call of a script."""
    return Call(("EVALSHA", script.sha, len(keys), *keys, *args), script)


class Node:
    """The connections to one server.

    Args:
        connect: makes one.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._lanes = {Lane.APPEND: _Pool(connect, 1), Lane.READ: _Pool(connect, READERS)}

    async def run(self, calls: Sequence[Call], lane: Lane, deadline_s: float) -> list[Reply]:
        """Run calls in one round trip (two after NOSCRIPT, ND3); never raises, but for being cancelled."""
        pool = self._lanes[lane]
        try:
            link = await pool.take(deadline_s)
        except JournalUnavailableError as error:
            return [error] * len(calls)
        try:
            replies = await _round_trip(link, calls, deadline_s)
            again = [i for i, reply in enumerate(replies) if calls[i].script and code_of(reply) == "NOSCRIPT"]
            if again:
                link.scripts.clear()
                for i, reply in zip(again, await _round_trip(link, [calls[i] for i in again], deadline_s), strict=True):
                    replies[i] = reply
            return replies
        finally:
            pool.give_back(link)

    @property
    def busy(self) -> bool:
        """Whether a call is under way."""
        return any(pool.busy for pool in self._lanes.values())

    def close(self, reason: str = "it was closed") -> None:
        """End all connections; the next call makes new ones."""
        for pool in self._lanes.values():
            pool.close(reason)


async def _round_trip(link: Link, calls: Sequence[Call], deadline_s: float) -> list[Reply]:
    commands: list[tuple[Argument, ...]] = []
    at: list[int] = []  # where the replies of the calls stand
    loads: dict[str, int] = {}  # where those of loading scripts stand
    for call in calls:
        if call.script is not None and call.script.sha not in link.scripts:
            link.scripts.add(call.script.sha)
            loads[call.script.sha] = len(commands)
            commands.append(("SCRIPT", "LOAD", call.script.source))
        if call.asking:
            commands.append(("ASKING",))
        at.append(len(commands))
        commands.append(call.args)
    replies = await link.call(commands, deadline_s)
    for sha, i in loads.items():
        if isinstance(replies[i], ResponseError):  # it cannot be compiled, or we may not: say that, not NOSCRIPT
            link.scripts.discard(sha)
            for j, call in zip(at, calls, strict=True):
                if call.script is not None and call.script.sha == sha and code_of(replies[j]) == "NOSCRIPT":
                    replies[j] = replies[i]
    return [replies[i] for i in at]


class _Pool:
    """Some connections, each in use once at a time (ND2)."""

    def __init__(self, connect: Connect, size: int) -> None:
        self._connect = connect
        self._free = size
        self._idle: list[Link] = []
        self._used: set[Link] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def busy(self) -> bool:
        """Whether a connection is in use."""
        return bool(self._used)

    async def take(self, deadline_s: float) -> Link:
        """A connection that stands.

        Raises:
            JournalUnavailableError: none can be made, or none became free in time.
        """
        await self._turn(deadline_s)
        try:
            while self._idle:
                link = self._idle.pop()
                if asyncio.get_running_loop().time() - link.heard_at_s > IDLE_MOST_S:
                    link.close("it was idle for too long")
                if not link.closed:
                    break
            else:
                link = await self._connect(deadline_s)
        except BaseException:
            self._next()
            raise
        self._used.add(link)
        return link

    def give_back(self, link: Link) -> None:
        """Somebody else may have it now."""
        self._used.discard(link)
        if not link.closed:
            self._idle.append(link)
        self._next()

    def close(self, reason: str) -> None:
        """End all connections."""
        for link in (*self._idle, *self._used):
            link.close(reason)
        self._idle.clear()

    async def _turn(self, deadline_s: float) -> None:
        if self._free and not self._waiting:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout_at(deadline_s):
                await turn
        except TimeoutError:
            if not turn.done() or turn.cancelled():
                self._forget(turn)
                raise JournalUnavailableError("Redis: no connection became free in time") from None
        except BaseException:
            if turn.done() and not turn.cancelled():
                self._next()  # it was our turn, and nobody takes it
            else:
                self._forget(turn)
            raise

    def _forget(self, turn: asyncio.Future[None]) -> None:
        turn.cancel()
        if turn in self._waiting:
            self._waiting.remove(turn)

    def _next(self) -> None:
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
