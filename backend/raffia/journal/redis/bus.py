"""The way between replicas through Redis: presence on the documents' channels, and who is alive.

Rules (tests quote these ids; BS1-BS4 are those of `raffia.journal.bus`):
    RQ1  What is said of a document before the sender's next turn is one message (BS3), its parts behind their lengths.
    RQ2  The sender never lets anybody wait. What is said while Redis is slow waits for it, bounded for each document:
         the oldest goes first. What could not be sent is lost (BS1).
    RQ3  Alive is who has renewed its place within `dead_s` by the server's clock. Nobody is gone before this replica
         has heard all others for `dead_s` itself: after an outage their places are old through no fault of theirs
         (BS4).
    RQ4  Whoever leaves says so on the channel of all replicas, and takes its place away.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from raffia.errors import JournalUnavailableError
from raffia.journal.bus import DEAD_S, ChannelListener
from raffia.journal.redis.base import Base
from raffia.journal.redis.channels import Channels
from raffia.journal.redis.engine import Argument, Command
from raffia.journal.redis.replies import texts
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId

log = get_logger("raffia.journal.bus")

BEAT_S = 5.0
_SAID = ord("P")
_LEFT = ord("L")
_DEPARTED = 256
_WAITING_PARTS = 64  # of one document
_WAITING_BYTES = 256 * 1024
_LENGTH = struct.Struct("<I")
_EVERYBODY = DocumentId("-")  # stands for the channel of all replicas; no document can be called so


class _Said:
    __slots__ = ("parts", "size_bytes")

    def __init__(self) -> None:
        self.parts: deque[bytes] = deque()
        self.size_bytes = 0


class RedisBus:
    """`Bus` over Redis; made, entered and left by `RedisJournal`.

    Args:
        base: Redis.
        channels: what is heard.
        beat_s: seconds between two signs of life.
        dead_s: after how many seconds of silence a replica is gone (BS4).
    """

    def __init__(self, base: Base, channels: Channels, *, beat_s: float = BEAT_S, dead_s: float = DEAD_S) -> None:
        self._base = base
        self._channels = channels
        self._beat_s = beat_s
        self._dead_s = dead_s
        self._own = base.replica.encode()
        self._ears: dict[DocumentId, ChannelListener] = {}
        self._saying: dict[DocumentId, _Said] = {}
        self._gone: Callable[[frozenset[str]], None] | None = None
        self._alive: frozenset[str] = frozenset()
        self._departed: deque[str] = deque(maxlen=_DEPARTED)  # a last sign of life may overtake a farewell
        self._steady_since_s: float | None = None  # since when every beat came through
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        channels.add(self)

    @property
    def replica(self) -> str:
        """This replica's name."""
        return self._base.replica

    async def __aenter__(self) -> Self:
        """Begin to send and to give signs of life."""
        self._wake = asyncio.Event()
        self._alive, self._steady_since_s = frozenset(), None
        self._channels.open(self._base.keys.replica_channel, _EVERYBODY, self)
        self._tasks = [asyncio.create_task(self._send_always()), asyncio.create_task(self._beat_always())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Leave (RQ4)."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []
        for document in tuple(self._ears):
            self.leave(document)
        keys = self._base.keys
        self._channels.close(keys.replica_channel, self)
        channel = keys.replica_channel
        await self._base.engine.run(
            [
                Command(keys.replicas, ("ZREM", keys.replicas, self.replica)),
                Command(channel, (self._base.publish, channel, b"L" + self._own + b"\n")),
            ]
        )

    def join(self, document: DocumentId, ear: ChannelListener) -> None:
        """Hear what others say of a document."""
        is_new = document not in self._ears
        self._ears[document] = ear
        if is_new and self._channels.open(self._base.keys.channel(document), document, self):
            # Heard already because it is followed: nobody will confirm it again.
            asyncio.get_running_loop().call_soon(self._connected, document, ear)

    def leave(self, document: DocumentId) -> None:
        """Hear no more of it."""
        if self._ears.pop(document, None) is not None:
            self._channels.close(self._base.keys.channel(document), self)

    def publish(self, document: DocumentId, payload: bytes) -> None:
        """Tell all others (RQ1, RQ2)."""
        said = self._saying.get(document)
        if said is None:
            said = self._saying[document] = _Said()
        said.parts.append(payload)
        said.size_bytes += len(payload)
        while len(said.parts) > 1 and (len(said.parts) > _WAITING_PARTS or said.size_bytes > _WAITING_BYTES):
            said.size_bytes -= len(said.parts.popleft())
            self._base.stats.presence_dropped += 1
        self._wake.set()

    def on_gone(self, gone: Callable[[frozenset[str]], None]) -> None:
        """Say who is told which replicas are gone."""
        self._gone = gone

    # what the channels say

    def heard(self, document: DocumentId, kind: int, words: list[bytes], message: bytes) -> None:
        """A message; one's own is none (BS2)."""
        if words[0] == self._own:
            return
        if kind == _LEFT and document == _EVERYBODY:
            self._left(frozenset((words[0].decode(errors="replace"),)))
        elif kind == _SAID:
            ear = self._ears.get(document)
            at = message.index(b"\n") + 1
            while ear is not None and at + _LENGTH.size <= len(message):
                (size,) = _LENGTH.unpack_from(message, at)
                at += _LENGTH.size
                ear.heard(message[at : at + size])
                at += size

    def confirmed(self, document: DocumentId) -> None:
        """The way is open (BS1)."""
        ear = self._ears.get(document)
        if ear is not None:
            ear.connected()

    def disconnected(self) -> None:
        """Nobody can be heard, so nobody is gone (RQ3)."""
        self._steady_since_s = None

    def reconnected(self, server: str) -> None:
        """The confirmations count."""

    def _connected(self, document: DocumentId, ear: ChannelListener) -> None:
        if self._ears.get(document) is ear:
            ear.connected()

    # sending

    async def _send_always(self) -> None:
        keys = self._base.keys
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Take it before awaiting: what is said while Redis is busy makes the next message.
            saying, self._saying = self._saying, {}
            commands = []
            for document, said in saying.items():
                channel = keys.channel(document)
                parts = [b"P", self._own, b"\n"]
                for part in said.parts:
                    parts += (_LENGTH.pack(len(part)), part)
                commands.append(Command(channel, (self._base.publish, channel, b"".join(parts))))
            try:
                replies = await self._base.engine.run(commands)
            except Exception:
                log.exception("presence could not be sent")
                continue
            lost = sum([isinstance(reply, BaseException) for reply in replies])
            self._base.stats.presence_dropped += lost
            self._base.stats.presence_published += len(replies) - lost

    # who is alive

    async def beat(self) -> None:
        """Give a sign of life and hear who else does (RQ3)."""
        args: list[Argument] = [self.replica, int(self._dead_s * 1000)]
        try:
            alive = texts(await self._base.script("alive", [self._base.keys.replicas], args))
        except JournalUnavailableError:
            self._steady_since_s = None
            return
        names = frozenset(name.decode(errors="replace") for name in alive) - {self.replica, *self._departed}
        now_s = monotonic()
        if self._steady_since_s is None:
            self._steady_since_s = now_s
        if now_s - self._steady_since_s < self._dead_s:
            self._alive |= names
            return
        gone = self._alive - names
        self._alive = names
        self._tell(gone)

    def _left(self, names: frozenset[str]) -> None:
        """Somebody says that it leaves: told whether it was seen alive or not, once (BS4)."""
        self._alive -= names
        self._departed.extend(names)
        self._tell(names)

    def _tell(self, gone: frozenset[str]) -> None:
        if gone and self._gone is not None:
            self._gone(gone)

    async def _beat_always(self) -> None:
        while True:
            try:
                await self.beat()
            except Exception:  # without signs of life all others would forget who is here
                log.exception("no sign of life could be given")
            await asyncio.sleep(self._beat_s)
