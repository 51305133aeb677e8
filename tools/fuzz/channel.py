"""Target for messages from Redis: a journal's followers and presence get a sequence of them.

The log behind the channel is a list of entries. A damaged message is a loss (RC3), so the follower ends with the log,
or with one of Raffia's errors if the log itself cannot be read.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any

from raffia.errors import QuarantinedError, RaffiaError, WireError
from raffia.journal.checksum import sealed
from raffia.journal.entries import encode_batch
from raffia.journal.passed_time import PassedTime
from raffia.journal.protocol import Entry, Followed, Gap, Reset
from raffia.journal.redis.base import Base, Seen
from raffia.journal.redis.bus import RedisBus
from raffia.journal.redis.channels import Channels
from raffia.journal.redis.feeds import Feeds
from raffia.journal.redis.keys import FORMAT, Keys, id_of, nonce_of, position_at, position_of
from raffia.journal.redis.records import encode_entry
from raffia.rooms.presence.relay import decode
from raffia.types import START, DocumentId
from tools.fuzz.corpus import Corpus
from tools.fuzz.loop import finish
from tools.fuzz.mutate import mutate_one
from tools.fuzz.parts import join, mutate_parts, split
from tools.fuzz.stored import batches
from tools.fuzz.targets import check

DOCUMENT = DocumentId("é/1")
KEYS = Keys("raffia")
LOG = [position_at(number, 1000 + number) for number in range(1, 6)]
NEXT = b"Er2 5-1005 6-1006\n" + encode_entry(DOCUMENT, 1006, ())


class Engine:
    """A Redis whose log never changes by itself; the target injects messages."""

    is_cluster = False

    def __init__(self) -> None:
        self.entries = [(position, encode_entry(DOCUMENT, nonce_of(position), ())) for position in LOG]
        self.readings = 0

    def subscribe(self, channel: str) -> None: ...

    def unsubscribe(self, channel: str) -> None: ...

    async def run_scripts(self, calls: Sequence[tuple[Any, Sequence[str], Sequence[Any]]]) -> list[object]:
        """Answer reads, as `lua/read.lua` does."""
        self.readings += len(calls)
        last = id_of(self.entries[-1][0]).encode()
        replies: list[object] = []
        for _, _, args in calls:
            begin = str(args[0])
            first = START if begin == "-" else position_of(begin.removeprefix("("))
            stored = [
                [id_of(position).encode(), [b"u", payload]]
                for position, payload in self.entries
                if position > first or (position == first and not begin.startswith("("))
            ]
            replies.append([str(FORMAT).encode(), None, last, b"1", None, b"0", stored, last])
        return replies


class ChannelListener:
    """Presence as a room receives it."""

    def heard(self, payload: bytes) -> None:
        try:
            decode(payload)
        except WireError:
            return

    def connected(self) -> None: ...


class Channel:
    """See the module. A part is one message from Redis."""

    def __init__(self, corpus: Corpus) -> None:
        self._updates = corpus.updates

    def _part(self, rng: random.Random) -> bytes:
        kind = rng.randrange(6)
        number = rng.randrange(9)
        if kind < 3:
            head = (
                f"{rng.choice('EEA')}{rng.choice(('r1', 'r2'))} {number}-{1000 + number} {number + 1}-{1001 + number}\n"
            )
            batch = batches(rng, self._updates) if rng.random() < 0.5 else encode_batch(())
            return head.encode() + sealed(batch, "entries", DOCUMENT, 1001 + number)
        if kind == 3:
            return f"{rng.choice('FDL')}r2 {number}-{1000 + number}\n".encode()
        said = bytes.fromhex("0101") + b"\x02r2\x00"
        return b"Pr2\n" + len(said).to_bytes(4, "little") + said

    def make(self, rng: random.Random) -> bytes:
        return join(self._part(rng) for _ in range(rng.randint(1, 6)))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_parts(rng, data, self._part, mutate_one)

    def seeds(self) -> list[bytes]:
        rng = random.Random(11)
        return [join((NEXT,)), *(self.make(rng) for _ in range(10))]

    def run(self, data: bytes) -> None:
        finish(self._hear(split(data)))

    async def _hear(self, parts: list[bytes]) -> None:
        engine = Engine()
        channels = Channels(engine)  # type: ignore[arg-type]
        base = Base(engine, KEYS, PassedTime(lambda: 0, lambda: 0), "r1")  # type: ignore[arg-type]
        feeds = Feeds(base, Seen(), channels, follow_entries=100, check_s=3600.0)
        bus = RedisBus(base, channels)
        channels.open(KEYS.replica_channel, DocumentId("-"), bus)
        bus.join(DOCUMENT, ChannelListener())
        feeds.start()
        found: list[Followed] = []
        error: list[RaffiaError] = []

        async def follow() -> None:
            try:
                async for item in feeds.follow(DOCUMENT, START):
                    found.append(item)  # noqa: PERF401 - it has no end
            except RaffiaError as raised:
                error.append(raised)

        task = asyncio.create_task(follow())
        await _turns(4)
        channels.confirmed(KEYS.channel(DOCUMENT))
        await _turns(4)
        try:
            for part in parts:
                channels.heard(KEYS.channel(DOCUMENT), part)
                channels.heard(KEYS.replica_channel, part)
                await _turns(3)
            # Redis is the truth: after the next comparison the follower is at the end of the log.
            feeds.check(DOCUMENT)
            for _ in range(6):
                await _turns(4)
            _judge(found, error)
            check(not task.done() or bool(error), "the follower ended without an error")
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await feeds.stop()
        if error:
            raise error[0]


def _judge(found: list[Followed], error: list[RaffiaError]) -> None:
    at = START
    for item in found:
        if isinstance(item, Entry):
            check(item.position >> 48 == (at >> 48) + 1, "entries that do not follow on one another")
            at = item.position
        elif isinstance(item, Reset):
            at = item.position
        elif isinstance(item, Gap):
            at = item.upto
    if error:
        check(isinstance(error[0], QuarantinedError), f"a follower ends with {type(error[0]).__name__}")
    else:
        check(at == LOG[-1], "the follower is not where the log is")


async def _turns(count: int) -> None:
    for _ in range(count):
        await asyncio.sleep(0)
