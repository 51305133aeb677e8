"""Load on several servers at once: typists at the first of them, readers at any, all on the same documents.

Rules:
    BR1  Every keystroke carries a token (BN1); a reader at a server records when it arrives. A measurement counts only
         when all readers have all tokens.
    BR2  Steps are spread evenly with jitter, as in `editing`; one typist's stay in order.
"""

from __future__ import annotations

import asyncio
import gc
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from tools.bench.client import Client, Target, open_client
from tools.bench.frames import Typist, client_id, pointer_message, token, update_message

SYNC_S = 60.0
DRAIN_S = 30.0
NEAR_S = 0.0005
OPEN_AT_ONCE = 50


@dataclass(frozen=True, slots=True)
class Typing:
    """What is typed.

    Attributes:
        rooms: documents.
        typists: of each document.
        per_s: keystrokes per second, in total.
        seconds: how long.
        presence: whether each keystroke comes with a moved cursor.
    """

    rooms: int
    typists: int
    per_s: float
    seconds: float
    presence: bool = False


@dataclass(slots=True)
class Crowd:
    """Connected typists and readers.

    Attributes:
        typists: by document, then by number.
        readers: by server, then by document.
        sent: when each token was sent.
        clients: all of them.
    """

    typing: Typing
    typists: list[list[Client]]
    readers: list[list[Client]]
    sent: dict[bytes, float] = field(default_factory=dict)
    _texts: list[list[Typist]] = field(init=False)
    _moved: int = 0

    def __post_init__(self) -> None:
        rooms, each = self.typing.rooms, self.typing.typists
        self._texts = [[Typist(client_id(room * each + number)) for number in range(each)] for room in range(rooms)]

    @property
    def clients(self) -> list[Client]:
        """All of them."""
        return [client for row in (*self.typists, *self.readers) for client in row]

    async def type(self, first: int, seconds: float) -> int:
        """Type for some seconds, with tokens from number `first` on; returns the next number when all readers have all.

        Raises:
            ConnectionError: a socket closed, or a token did not arrive in time.
        """
        typing = self.typing
        total = max(1, int(typing.per_s * seconds))
        jitter = random.Random(first)
        due_s = sorted((number + jitter.random()) / typing.per_s for number in range(total))
        # Tokens that are due, by document: what readers of it have to see.
        marks: list[set[bytes]] = [set() for _ in range(typing.rooms)]
        began_s = time.perf_counter()
        for count, step_s in enumerate(due_s):
            number = first + count
            room, who = number % typing.rooms, number // typing.rooms % typing.typists
            mark = token(number)
            wait_s = began_s + step_s - time.perf_counter()
            if wait_s > NEAR_S:
                await asyncio.sleep(wait_s)
            elif count % 20 == 0:
                await asyncio.sleep(0)  # behind: receiving must go on too
            client = self.typists[room][who]
            message = update_message(self._texts[room][who].type(mark))
            self.sent[mark] = time.perf_counter()
            client.send(message)
            if typing.presence:
                self._moved += 1
                client.send(
                    pointer_message(room * typing.typists + who, self._moved, b"moved")
                )  # no token: a cursor is not an edit
            marks[room].add(mark)
        await self._arrived(marks)
        return first + total

    async def _arrived(self, marks: Sequence[set[bytes]]) -> None:
        deadline_s = time.perf_counter() + DRAIN_S
        while True:
            if any(client.closed is not None for client in self.clients):
                raise ConnectionError("a server closed a socket while people typed")
            missing = sum(
                len(wanted - row[room].seen.keys()) for row in self.readers for room, wanted in enumerate(marks)
            )
            if not missing:
                return
            if time.perf_counter() > deadline_s:
                raise ConnectionError(f"{missing} keystrokes have not come to their readers")
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """Drop all sockets."""
        for client in self.clients:
            client.disconnect()


async def gather_crowd(typing: Typing, targets: Sequence[Target], readers_at: Sequence[int], *, name: str) -> Crowd:
    """Connect typists to the first target and one reader for each document to each of `readers_at`; all are synced."""
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def one(target: Target, room: int, *, watch: bool) -> Client:
        async with gate:
            client = await open_client(target, f"{name}-{room}", watch=watch)
            await asyncio.wait_for(client.synced, SYNC_S)
            return client

    async def row(target: Target, rooms: Sequence[int], *, watch: bool) -> list[Client]:
        return list(await asyncio.gather(*[one(target, room, watch=watch) for room in rooms]))

    typists = [await row(targets[0], [room] * typing.typists, watch=False) for room in range(typing.rooms)]
    readers = [await row(targets[index], range(typing.rooms), watch=True) for index in readers_at]
    return Crowd(typing, typists, readers)


@contextmanager
def quiet_collector() -> Iterator[None]:
    """Disable the load generator's garbage collection in the block."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
