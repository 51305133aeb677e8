"""Clients that behave like providers: they keep a copy, edit it also while disconnected, and always reconnect.

Rules:
    PRV1  An operation is logged before it is sent; its token is unique and greppable.
    PRV2  An operation counts as acknowledged when the server has said so on the connection on which it was sent: the
        status of its update or of a step 2 that held it, the very same bytes sent back, or a sync status behind it.
        What others have seen does not count, and neither does what comes back another way.
    PRV3  The copy is a pycrdt `Doc`. After a reconnection it is compared in full: our step 1 says what it holds, the
        server's is answered with what the server lacks.
    PRV4  A provider that is cut off tries again, at another server if there is one, after a pause that doubles from
        0.1 s to 2 s, times a random 0.5 to 1.5. One that is held does not try until it is released.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import pycrdt
from picows import WSError

from tests.support.client import DEADLINE_S, HocuspocusClient, YClient
from tests.support.lib0 import EMPTY_UPDATE, EMPTY_VECTOR, insert, varuint

FIRST_PAUSE_S = 0.1
LAST_PAUSE_S = 2.0
SYNC_S = 10.0
DELETE_EVERY = 20
MARK_EVERY = 10
ROOT = "t"


@dataclass(slots=True)
class Operation:
    """One edit: an insert of a token, or the delete of an earlier one."""

    token: str
    deletes: bool
    acknowledged: bool = False


@dataclass(frozen=True, slots=True)
class Absence:
    """A time without a server: from the end of one connection until the next one was synced."""

    code: int
    from_s: float
    until_s: float

    @property
    def seconds(self) -> float:
        return self.until_s - self.from_s


def units(token: str) -> int:
    """The length in UTF-16 code units, as in Yjs."""
    return len(token.encode("utf-16-le")) // 2


class YConnection(YClient):
    """One y-websocket connection of a provider."""

    def __init__(self, provider: Provider) -> None:
        super().__init__()
        self.provider = provider
        self.on_update = self._take
        self.sent: dict[bytes, range] = {}
        self.has_begun = False
        self.has_answered = False

    async def enter(self, ws: str) -> None:
        await self.join(ws, self.provider.document, vector=self.provider.doc.get_state())

    def message(self, payload: bytes) -> None:
        super().message(payload)
        if payload[0] == 0x66:
            self.provider.stored(range(int(self.marks.pop())))

    def _take(self, update: bytes) -> None:
        if update in self.sent:
            self.provider.stored(self.sent.pop(update))
        else:
            self.provider.take(update)
        self.updates.clear()  # the copy is in the provider

    def answer_step1(self) -> None:
        self.held = self.provider.doc.get_update(self.step1s.pop())
        if self.held != EMPTY_UPDATE:  # any client may send an empty one
            self.sent[self.held] = range(len(self.provider.log))
        # The server may ask before we do; from here on nothing is held back.
        self.has_begun = self.has_answered = True
        super().answer_step1()

    def step1(self, vector: bytes = EMPTY_VECTOR) -> None:
        self.has_begun = True
        super().step1(vector)

    def say(self, update: bytes, number: int) -> None:
        if not self.has_begun:
            return  # the step 2 will include it
        self.sent[update] = range(number, number + 1)
        self.update(update)
        if (number + 1) % MARK_EVERY == 0:
            self.ask()

    def ask(self) -> None:
        """Ask what is stored. Before the server has our step 2, the answer would not cover all of the log."""
        if self.has_answered:
            self.mark(b"%d" % len(self.provider.log))


class HocuspocusConnection(HocuspocusClient):
    """One Hocuspocus connection of a provider.

    Edits made before the server has asked what the provider holds are part of that answer.
    """

    def __init__(self, provider: Provider) -> None:
        super().__init__(provider.document)
        self.provider = provider
        self.on_update = self._take
        self.covers: list[range] = []
        self.answered = 0
        self.has_been_asked = False

    async def enter(self, ws: str) -> None:
        await self.join(ws, vector=self.provider.doc.get_state())

    def message(self, payload: bytes) -> None:
        super().message(payload)
        for status in self.statuses[self.answered :]:
            covered = self.covers[self.answered]
            self.answered += 1
            if status:
                self.provider.stored(covered)
            else:
                self.provider.refused += 1

    def _take(self, update: bytes) -> None:
        self.provider.take(update)
        self.updates.clear()

    def answer_step1(self) -> None:
        self.held = self.provider.doc.get_update(self.step1s.pop())
        self.has_been_asked = True
        super().answer_step1()

    def step2(self, update: bytes) -> None:
        self.covers.append(range(len(self.provider.log)))
        super().step2(update)

    def say(self, update: bytes, number: int) -> None:
        if self.has_been_asked:
            self.covers.append(range(number, number + 1))
            self.update(update)

    def ask(self) -> None:
        """Ask the server what is stored."""
        if self.has_been_asked:
            self.covers.append(range(0))
            self.update(EMPTY_UPDATE)


class Provider:
    """One person on one document.

    Args:
        number: the client id, which is part of every token.
        document: which one.
        servers: the server URLs to choose from, as for y-websocket clients.
        rng: for pauses and choices.
        hocuspocus: which dialect.

    Attributes:
        doc: the copy.
        log: everything typed, in order (PRV1).
        absences: the times without a server, the first connection not counted.
        refused: updates that were answered with "no".
    """

    def __init__(self, number: int, document: str, servers: Sequence[str], rng: Random, *, hocuspocus: bool) -> None:
        self.number = number
        self.document = document
        self.servers = list(servers)
        self.hocuspocus = hocuspocus
        self.doc: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
        self.log: list[Operation] = []
        self.absences: list[Absence] = []
        self.refused = 0
        self.attempts_s: list[float] = []
        self.server = ""
        self._rng = rng
        self._clock = 0
        self._starts: dict[str, int] = {}
        self._open_operations = 0
        self._stored_upto = 0
        self._connection: YConnection | HocuspocusConnection | None = None
        self._may_connect = asyncio.Event()
        self._may_connect.set()
        self._left_s: float | None = None
        self._left_code = 0
        self._live: asyncio.Task[None] | None = None

    # -- connecting

    async def start(self) -> None:
        """Connect and stay connected until `stop`."""
        self._live = asyncio.create_task(self._stay())
        await self.until_online()

    async def stop(self) -> None:
        """Disconnect for good; the copy stays."""
        live, self._live = self._live, None
        # More than once: `wait_for` in Python 3.11 loses a cancellation that arrives together with its result.
        while live is not None and not live.done():
            live.cancel()
            await asyncio.wait([live], timeout=0.2)
        if self._connection is not None:
            await self._connection.close()

    async def _stay(self) -> None:
        pause_s = FIRST_PAUSE_S
        choices = self._rng.sample(self.servers, len(self.servers))
        tries = 0
        while True:
            await self._may_connect.wait()
            self.server = choices[tries % len(choices)]
            tries += 1
            self.attempts_s.append(time.monotonic())
            connection = HocuspocusConnection(self) if self.hocuspocus else YConnection(self)
            self._connection = connection  # from the first byte on, so that nothing typed is missed
            try:
                async with asyncio.timeout(SYNC_S):
                    await connection.enter(self.server)
            except (OSError, WSError, TimeoutError, AssertionError):
                # Refused, cut off or never answered: what happens to providers while servers come and go (PRV4).
                connection.drop()
                self._connection = None
            else:
                if self._left_s is not None:
                    self.absences.append(Absence(self._left_code, self._left_s, time.monotonic()))
                    self._left_s = None
                pause_s = FIRST_PAUSE_S
                self._left_code = (await connection.until_closed(float("inf")))[0]
                self._left_s = time.monotonic()
                self._connection = None
                if connection.failure is not None:
                    raise connection.failure
            await asyncio.sleep(pause_s * self._rng.uniform(0.5, 1.5))
            pause_s = min(2 * pause_s, LAST_PAUSE_S)

    def hold(self) -> None:
        """Do not reconnect after this connection has ended (PRV4)."""
        self._may_connect.clear()

    def leave(self) -> None:
        """Go offline now, without a close frame, until `release`."""
        self.hold()
        if self._connection is not None:
            self._connection.drop()

    def release(self) -> None:
        """Reconnect."""
        self._may_connect.set()

    @property
    def is_online(self) -> bool:
        return self._connection is not None and self._connection.closed is None and self._connection.synced

    async def until(self, condition: object, what: str, deadline_s: float = DEADLINE_S) -> None:
        """Poll with a deadline; a provider that has failed raises its error."""
        end = time.monotonic() + deadline_s
        while not condition():  # type: ignore[operator]
            if self._live is not None and self._live.done():
                await self._live
            if time.monotonic() > end:
                raise AssertionError(f"not within {deadline_s:g} s: {what}; {self}")
            await asyncio.sleep(0.005)

    async def until_online(self, deadline_s: float = DEADLINE_S) -> None:
        await self.until(lambda: self.is_online, "online", deadline_s)

    # -- typing

    def type(self) -> None:
        """Make one edit: in the log, in the copy, and at the server if there is one (PRV1)."""
        number = len(self.log)
        if number % DELETE_EVERY == DELETE_EVERY - 1:
            victim = self.log[number - DELETE_EVERY // 2].token
            self.log.append(Operation(victim, deletes=True))
            update = (
                b"\x00\x01" + varuint(self.number) + b"\x01" + varuint(self._starts[victim]) + varuint(units(victim))
            )
        else:
            token = f"<{self.number}.{number}é😀>"
            self.log.append(Operation(token, deletes=False))
            self._starts[token] = self._clock
            update = insert(self.number, self._clock, token, self._clock - 1 if self._clock else None, ROOT)
            self._clock += units(token)
        self._open_operations += 1
        self.doc.apply_update(update)
        if self._connection is not None and self._connection.closed is None:
            self._connection.say(update, number)

    def ask(self) -> None:
        """Ask the server what is stored, if there is one."""
        if self.is_online:
            assert self._connection is not None
            self._connection.ask()

    @property
    def in_flight(self) -> int:
        """The number of operations that are not acknowledged."""
        return self._open_operations

    # -- called by connections

    def stored(self, numbers: range) -> None:
        """Note acknowledged operations (PRV2)."""
        for number in range(max(numbers.start, self._stored_upto), numbers.stop):
            if not self.log[number].acknowledged:
                self.log[number].acknowledged = True
                self._open_operations -= 1
        while self._stored_upto < len(self.log) and self.log[self._stored_upto].acknowledged:
            self._stored_upto += 1

    def take(self, update: bytes) -> None:
        """Apply an update from the server."""
        self.doc.apply_update(update)

    # -- inspection

    @property
    def text(self) -> str:
        return str(self.doc.get(ROOT, type=pycrdt.Text))

    def __repr__(self) -> str:
        return (
            f"Provider({self.number} of {self.document}, {'hocuspocus' if self.hocuspocus else 'y-websocket'}, "
            f"online={self.is_online}, typed={len(self.log)}, in_flight={self.in_flight}, server={self.server})"
        )
