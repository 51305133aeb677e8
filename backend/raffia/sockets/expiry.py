"""Tracks when the grants of sessions expire: clients are asked for fresh tokens in time, or their sessions end.

Rules (tests quote these ids):
    EX1  A session whose grant has expired is ended by the next tick (EX4). What it sends after the grant has expired is
         rejected at once.
    EX2  A Hocuspocus client is asked for a fresh token `lead_s` before its grant expires, or when half of the remaining
         time has passed if that is shorter; once for each grant. Clients whose grants expire together are not asked at
         the same time, but each at a random time in the first half of that period. Providers of v3 and v4 answer on
         their own.
    EX3  If the fresh token could not be checked, the session continues and is asked again. If that is still so when the
         grant expires, the client is told to try again later (1013), not that it is signed out.
    EX4  The cost of a tick depends on the sessions that are due, not on all sessions: they are kept in buckets of one
         second, and sessions without an expiry are not kept at all. If more than `MAX_AT_ONCE` are due, the next tick
         follows after `PAUSE_S`, so that thousands of grants that expire together don't hold up edits.
    EX5  Time is Unix time in seconds, from one clock that tests replace.
"""

from __future__ import annotations

import asyncio
import heapq
import math
import random
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from raffia.errors import AuthUnavailableError, RaffiaError, UnauthenticatedError
from raffia.rooms.session import Session
from raffia.runtime.logs import get_logger
from raffia.types import Grant

log = get_logger("raffia.sockets.expiry")

TICK_S = 1.0
AGAIN_S = 10.0
PAUSE_S = 0.01
MAX_AT_ONCE = 200


class Holder(Protocol):
    """Ends a session, or asks its client for a token: the dialect of its connection."""

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error."""
        ...

    def ask_token(self, session: Session) -> None:
        """Ask the client for a fresh token, where the dialect can."""
        ...


class _Watch:
    """The state of one session.

    Attributes:
        holder: ends the session and asks for a fresh token.
        at_s: second of the bucket that it is in.
        ends_s: when its grant expires.
        asked: whether it has been asked for a fresh token.
        unsure: whether its latest fresh token could not be checked.
    """

    __slots__ = ("asked", "at_s", "ends_s", "holder", "unsure")

    def __init__(self, holder: Holder, ends_s: float) -> None:
        self.holder = holder
        self.at_s = 0
        self.ends_s = ends_s
        self.asked = False
        self.unsure = False


class Expiry:
    """All sessions of a process whose grants expire.

    Args:
        lead_s: how long before its grant expires a client is asked for a fresh token, in seconds.
        clock: returns Unix time in seconds (EX5).
        chance: returns a random number from 0 to 1 (EX2).
    """

    __slots__ = ("_buckets", "_chance", "_due", "_lead_s", "_watches", "now_s")

    def __init__(
        self,
        lead_s: float = 60.0,
        *,
        clock: Callable[[], float] = time.time,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self.now_s = clock
        self._lead_s = lead_s
        self._chance = chance
        self._watches: dict[Session, _Watch] = {}
        self._buckets: dict[int, dict[Session, None]] = {}
        self._due: list[int] = []

    def __len__(self) -> int:
        """How many sessions have grants that expire."""
        return len(self._watches)

    def watch(self, session: Session, holder: Holder) -> None:
        """Start watching a session that has joined or whose grant was replaced."""
        old = self._watches.get(session)
        ends_s = session.grant.expires_s
        self.forget(session)
        if ends_s is None:
            return
        watch = self._watches[session] = _Watch(holder, ends_s)
        if not session.hocuspocus or (old is not None and old.asked and ends_s <= old.ends_s):
            watch.asked = True  # it cannot be asked, or it answered with a token that expires no later
            self._put(session, watch, ends_s)
        else:
            lead_s = min(self._lead_s, max(0.0, ends_s - self.now_s()) / 2)
            self._put(session, watch, ends_s - lead_s * (1 - self._chance() / 2))

    def undecided(self, session: Session) -> None:
        """Note that a session's fresh token could not be checked (EX3)."""
        watch = self._watches.get(session)
        if watch is not None:
            watch.unsure = True
            watch.asked = False
            self._take(session, watch)
            self._put(session, watch, min(watch.ends_s, self.now_s() + AGAIN_S))

    def forget(self, session: Session) -> None:
        """Stop watching a session that has left."""
        watch = self._watches.pop(session, None)
        if watch is not None:
            self._take(session, watch)

    def check(self, grant: Grant, session: Session | None = None) -> None:
        """Check that a grant has not expired (EX1).

        Args:
            grant: the grant to check.
            session: the session that has it, if it has joined.

        Raises:
            UnauthenticatedError: the grant has expired (closes 4401).
            AuthUnavailableError: the grant has expired, and the fresh token could not be checked (EX3).
        """
        if grant.expires_s is not None and grant.expires_s <= self.now_s():
            watch = self._watches.get(session) if session is not None else None
            raise over(unsure=watch is not None and watch.unsure)

    def has_more(self, now_s: float) -> bool:
        """Whether a tick has left sessions for the next one (EX4)."""
        return bool(self._due) and self._due[0] <= now_s

    def tick(self, now_s: float) -> int:
        """End the sessions whose grants have expired and ask those that are due; call it every `TICK_S`.

        Returns:
            How many sessions were ended.
        """
        ended = asked = 0
        while self._due and self._due[0] <= now_s:
            second = self._due[0]
            bucket = self._buckets.get(second)
            while bucket:
                if ended + asked >= MAX_AT_ONCE:
                    return ended
                session = next(iter(bucket))
                watch = self._watches[session]
                if watch.ends_s <= now_s:
                    self._end(session, watch)
                    ended += 1
                else:
                    self._ask(session, watch)
                    asked += 1
            if self._due[0] == second:  # otherwise an earlier bucket has been added, and is next
                heapq.heappop(self._due)
                del self._buckets[second]
        return ended

    def _end(self, session: Session, watch: _Watch) -> None:
        self.forget(session)
        try:
            watch.holder.end(session, over(unsure=watch.unsure))
        except Exception:
            log.exception("could not end a session whose grant has expired", document=session.document)

    def _ask(self, session: Session, watch: _Watch) -> None:
        self._take(session, watch)
        self._put(session, watch, watch.ends_s)
        if watch.asked:
            return
        watch.asked = True
        try:
            watch.holder.ask_token(session)
        except Exception:
            log.exception("could not ask a session for a fresh token", document=session.document)

    def _put(self, session: Session, watch: _Watch, at_s: float) -> None:
        watch.at_s = math.ceil(at_s)
        bucket = self._buckets.get(watch.at_s)
        if bucket is None:
            bucket = self._buckets[watch.at_s] = {}
            heapq.heappush(self._due, watch.at_s)
        bucket[session] = None

    def _take(self, session: Session, watch: _Watch) -> None:
        bucket = self._buckets.get(watch.at_s)
        if bucket is not None:
            bucket.pop(session, None)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Tick during the block."""
        task = asyncio.create_task(self._tick_forever())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _tick_forever(self) -> None:
        while True:
            await asyncio.sleep(PAUSE_S if self.has_more(self.now_s()) else TICK_S)
            try:
                self.tick(self.now_s())
            except Exception:
                log.exception("tick failed")


def over(*, unsure: bool = False) -> RaffiaError:
    """The error of a session whose grant has expired (EX3)."""
    if unsure:
        return AuthUnavailableError("access has expired, and the fresh token could not be checked; try again later")
    return UnauthenticatedError("access has expired; sign in again with a fresh token")
