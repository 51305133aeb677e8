"""The engine for a primary that sentinels watch.

Rules (tests quote these ids):
    SN1  Every new connection goes to the server that a sentinel names now, and is used only if that server says itself
        that it is a master. A sentinel that answers is asked first the next time.
    SN2  READONLY means that the primary has moved: all connections are made anew. So does a sentinel that names another
        server than the one we are connected to; sentinels are asked every `check_s`, since a primary that only we can
        still reach would take edits that are lost.
    SN3  What was refused or lost in between is the caller's to send again (E1).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.address import Address, Place
from raffia.journal.redis.connections import TIMEOUT_S, SingleEngine
from raffia.journal.redis.engine import Lane, Reply
from raffia.journal.redis.link import Link, code_of, connect
from raffia.journal.redis.node import Call
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

CHECK_S = 2.0
ASK_S = 1.0  # longest time for one sentinel, so that a silent one does not use up a whole deadline


class SentinelEngine(SingleEngine):
    """The primary behind sentinels (engine.py says what it does).

    Args:
        url: the sentinels and the name of the primary.
        timeout_s: longest time of a call, finding the primary and connecting included.
        check_s: how often sentinels are asked whether the primary has moved (SN2).
    """

    def __init__(self, url: Address | str, *, timeout_s: float = TIMEOUT_S, check_s: float = CHECK_S) -> None:
        super().__init__(url, timeout_s=timeout_s)
        self._check_s = check_s
        self._sentinels = list(self._address.places)
        self._primary: Place | None = None
        self._watch: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._watch = asyncio.get_running_loop().create_task(self._keep_watch())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
            await asyncio.wait([self._watch])
        await super().__aexit__(kind, error, trace)

    def _where(self) -> str:
        return str(self._primary or self._address.primary)

    async def _connect(self, deadline_s: float) -> Link:
        place = await self._locate(deadline_s)
        link = await connect(place, self._address.access, deadline_s)
        [role] = await link.call([("ROLE",)], deadline_s)
        if not isinstance(role, list) or role[0] != b"master":
            link.close("it is no master")
            raise JournalUnavailableError(f"Redis at {place}, which sentinels name, is no master ({_role(role)})")
        if place != self._primary:
            log.info("redis primary", place=str(place), before=str(self._primary) if self._primary else None)
            self._primary = place
        return link

    async def _send(self, keys: Sequence[str], calls: Sequence[Call], lane: Lane, deadline_s: float) -> list[Reply]:
        replies = await super()._send(keys, calls, lane, deadline_s)
        if any(code_of(reply) == "READONLY" for reply in replies):
            self._leave("it has become a replica")
        return replies

    def _leave(self, reason: str) -> None:
        """Make all connections anew (SN2)."""
        self._node.close(reason)
        if self._subscriber is not None:
            self._subscriber.drop(reason)

    async def _keep_watch(self) -> None:
        silent = False
        while True:
            await asyncio.sleep(self._check_s)
            try:
                place = await self._locate(self._deadline_s())
            except JournalUnavailableError as error:
                if not silent:
                    log.warning("no sentinel answers", why=str(error))
                silent = True
                continue
            silent = False
            if self._primary is not None and place != self._primary:
                self._primary = None
                self._leave(f"the primary is {place} now")

    async def _locate(self, deadline_s: float) -> Place:
        """Where the primary is (SN1).

        Raises:
            JournalUnavailableError: no sentinel says so in time.
        """
        loop = asyncio.get_running_loop()
        problems = []
        for sentinel in list(self._sentinels):
            if loop.time() >= deadline_s:
                break
            try:
                place = await self._ask(sentinel, min(deadline_s, loop.time() + ASK_S))
            except JournalUnavailableError as error:
                problems.append(str(error))
                continue
            if sentinel in self._sentinels:  # several may ask at once
                self._sentinels.remove(sentinel)
                self._sentinels.insert(0, sentinel)
            return place
        raise JournalUnavailableError(
            f"no sentinel names {self._address.primary!r}: {'; '.join(problems) or 'too late'}"
        )

    async def _ask(self, sentinel: Place, deadline_s: float) -> Place:
        link = await connect(sentinel, self._address.sentinel_access, deadline_s)
        question = ("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self._address.primary)
        try:
            [answer] = await link.call([question], deadline_s)
        finally:
            link.close()
        if isinstance(answer, JournalUnavailableError):
            raise answer
        if not isinstance(answer, list) or len(answer) != 2:
            raise JournalUnavailableError(f"sentinel {sentinel} does not know it ({answer})")
        try:
            return Place(answer[0].decode(), int(answer[1]))
        except (AttributeError, ValueError) as error:
            raise JournalUnavailableError(f"sentinel {sentinel} names no place ({answer})") from error


def _role(reply: Reply) -> str:
    return reply[0].decode() if isinstance(reply, list) and isinstance(reply[0], bytes) else str(reply)
