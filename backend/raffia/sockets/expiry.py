"""Sessions by the time at which their grants end: each is asked for a fresh token in time, or ended.

Rules (tests quote these ids):
    EX1  A session whose grant has ended is ended within `TICK_S`; from the very moment nothing that it sends is taken.
    EX2  A Hocuspocus client is asked for a fresh token `lead_s` before the end, or when half of the time is left where
        that is less; once for each grant. Many that end together are not asked together: each is asked at a random
        moment in the first half of that time. Providers of v3 and v4 answer by themselves.
    EX3  When nobody could decide about the fresh token, the session goes on as it is and is asked again; if that lasts
        until the end it is told "later" (1013) and not that it is signed out.
    EX4  A tick costs what it ends, not what there is: sessions stand in buckets of a second. Those without an end
        don't stand here at all. One tick ends `MAX_AT_ONCE`, and the next one follows after `PAUSE_S`: thousands whose
        grants end together don't hold up everybody's edits.
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
    """The connection that a session came by."""

    def end(self, session: Session, error: RaffiaError) -> None:
        """End one session with an error."""
        ...

    def ask_token(self, session: Session) -> None:
        """Ask the client for a fresh token, where the dialect can."""
        ...


class _Watch:
    """What is known of one session.

    Attributes:
        at_s: second of the bucket in which it stands.
        ends_s: when its grant ends.
        asked: whether it has been asked for a fresh token.
        unsure: whether nobody could decide about the latest one.
    """

    __slots__ = ("asked", "at_s", "ends_s", "holder", "unsure")

    def __init__(self, holder: Holder, ends_s: float) -> None:
        self.holder = holder
        self.at_s = 0
        self.ends_s = ends_s
        self.asked = False
        self.unsure = False


class Expiry:
    """All sessions of a process whose grants end.

    Args:
        lead_s: how long before the end a client is asked for a fresh token.
        clock: Unix time in seconds (EX5).
        chance: a number from 0 to 1 (EX2).
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
        """How many sessions have an end."""
        return len(self._watches)

    def watch(self, session: Session, holder: Holder) -> None:
        """A session has joined, or its grant was replaced."""
        old = self._watches.get(session)
        ends_s = session.grant.expires_s
        self.forget(session)
        if ends_s is None:
            return
        watch = self._watches[session] = _Watch(holder, ends_s)
        if not session.hocuspocus or (old is not None and old.asked and ends_s <= old.ends_s):
            watch.asked = True  # it cannot be asked, or answered with what it had
            self._put(session, watch, ends_s)
        else:
            lead_s = min(self._lead_s, max(0.0, ends_s - self.now_s()) / 2)
            self._put(session, watch, ends_s - lead_s * (1 - self._chance() / 2))

    def undecided(self, session: Session) -> None:
        """Nobody could decide about a session's fresh token (EX3)."""
        watch = self._watches.get(session)
        if watch is not None:
            watch.unsure = True
            watch.asked = False
            self._take(session, watch)
            self._put(session, watch, min(watch.ends_s, self.now_s() + AGAIN_S))

    def forget(self, session: Session) -> None:
        """A session has gone."""
        watch = self._watches.pop(session, None)
        if watch is not None:
            self._take(session, watch)

    def check(self, grant: Grant, session: Session | None = None) -> None:
        """Let a grant pass that has not ended; `session` is the one that has it, if there is one yet (EX1).

        Raises:
            UnauthenticatedError: it has ended (closes 4401).
            AuthUnavailableError: so it has, but a fresh token could not be decided about (EX3).
        """
        if grant.expires_s is not None and grant.expires_s <= self.now_s():
            watch = self._watches.get(session) if session is not None else None
            raise over(unsure=watch is not None and watch.unsure)

    def has_more(self, now_s: float) -> bool:
        """Whether a tick has left something for the next one (EX4)."""
        return bool(self._due) and self._due[0] <= now_s

    def tick(self, now_s: float) -> int:
        """End the sessions whose time is over, ask those whose time comes; to be called every `TICK_S`.

        Returns:
            How many were ended.
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
            if self._due[0] == second:  # or an earlier one has come meanwhile, and is next
                heapq.heappop(self._due)
                del self._buckets[second]
        return ended

    def _end(self, session: Session, watch: _Watch) -> None:
        self.forget(session)
        try:
            watch.holder.end(session, over(unsure=watch.unsure))
        except Exception:
            log.exception("a session whose grant is over could not be ended", document=session.document)

    def _ask(self, session: Session, watch: _Watch) -> None:
        self._take(session, watch)
        self._put(session, watch, watch.ends_s)
        if watch.asked:
            return
        watch.asked = True
        try:
            watch.holder.ask_token(session)
        except Exception:
            log.exception("a session could not be asked for a fresh token", document=session.document)

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
        """Tick as long as this is entered."""
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
    """The error of a session whose grant has ended (EX3)."""
    if unsure:
        return AuthUnavailableError("access has ended, and nobody could decide about the fresh token; try again later")
    return UnauthenticatedError("access has ended; sign in again with a fresh token")
