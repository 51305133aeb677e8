"""The channel between replicas through Redis: presence on the documents' channels, and who is alive.

Rules (tests quote these ids; BS1-BS4 are those of `raffia.journal.bus`):
    RQ1  Everything published about a document before the sender's next turn is one message (BS3): its parts, each
         preceded by its length.
    RQ2  Publishing never waits. What is published while Redis is slow is queued, with a bound for each document: the
         oldest is dropped first. What could not be sent is lost (BS1).
    RQ3  A replica is alive if it has renewed its heartbeat within `dead_s` by the server's clock. None is declared gone
         before this replica has been connected, and its own heartbeats have succeeded, for `dead_s`: after an outage
         the heartbeats of all replicas are old (BS4).
    RQ4  A replica that leaves announces it on the channel of all replicas, and removes its heartbeat.
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
_PRESENCE = ord("P")
_LEFT = ord("L")
_DEPARTED = 256
_WAITING_PARTS = 64  # of one document
_WAITING_BYTES = 256 * 1024
_LENGTH = struct.Struct("<I")
_ALL_REPLICAS = DocumentId("-")  # stands for the channel of all replicas; no document can have this name


class _Outgoing:
    __slots__ = ("parts", "size_bytes")

    def __init__(self) -> None:
        self.parts: deque[bytes] = deque()
        self.size_bytes = 0


class RedisBus:
    """`Bus` over Redis; created, entered and exited by `RedisJournal`.

    Args:
        base: Redis.
        channels: the subscriptions.
        beat_s: seconds between two heartbeats.
        dead_s: after how many seconds of silence a replica is gone (BS4).
    """

    def __init__(self, base: Base, channels: Channels, *, beat_s: float = BEAT_S, dead_s: float = DEAD_S) -> None:
        self._base = base
        self._channels = channels
        self._beat_s = beat_s
        self._dead_s = dead_s
        self._own = base.replica.encode()
        self._listeners: dict[DocumentId, ChannelListener] = {}
        self._outgoing: dict[DocumentId, _Outgoing] = {}
        self._gone: Callable[[frozenset[str]], None] | None = None
        self._alive: frozenset[str] = frozenset()
        self._departed: deque[str] = deque(maxlen=_DEPARTED)  # a last heartbeat may arrive after the farewell
        self._steady_since_s: float | None = None  # since when every heartbeat has succeeded
        self._wake = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        channels.add(self)

    @property
    def replica(self) -> str:
        """This replica's name."""
        return self._base.replica

    async def __aenter__(self) -> Self:
        """Start sending messages and heartbeats."""
        self._wake = asyncio.Event()
        self._alive, self._steady_since_s = frozenset(), None
        self._channels.open(self._base.keys.replica_channel, _ALL_REPLICAS, self)
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
        for document in tuple(self._listeners):
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

    def join(self, document: DocumentId, listener: ChannelListener) -> None:
        """Subscribe to the messages of others about a document."""
        is_new = document not in self._listeners
        self._listeners[document] = listener
        if is_new and self._channels.open(self._base.keys.channel(document), document, self):
            # Subscribed already because the document is followed: there will be no other confirmation.
            asyncio.get_running_loop().call_soon(self._connected, document, listener)

    def leave(self, document: DocumentId) -> None:
        """Unsubscribe."""
        if self._listeners.pop(document, None) is not None:
            self._channels.close(self._base.keys.channel(document), self)

    def publish(self, document: DocumentId, payload: bytes) -> None:
        """Send a message to all others (RQ1, RQ2)."""
        queued = self._outgoing.get(document)
        if queued is None:
            queued = self._outgoing[document] = _Outgoing()
        queued.parts.append(payload)
        queued.size_bytes += len(payload)
        while len(queued.parts) > 1 and (len(queued.parts) > _WAITING_PARTS or queued.size_bytes > _WAITING_BYTES):
            queued.size_bytes -= len(queued.parts.popleft())
            self._base.stats.presence_dropped += 1
        self._wake.set()

    def on_gone(self, gone: Callable[[frozenset[str]], None]) -> None:
        """Set the callback that gets the names of replicas that are gone."""
        self._gone = gone

    # what the channels say

    def heard(self, document: DocumentId, kind: int, words: list[bytes], message: bytes) -> None:
        """Receive a message, unless it is our own (BS2)."""
        if words[0] == self._own:
            return
        if kind == _LEFT and document == _ALL_REPLICAS:
            self._left(frozenset((words[0].decode(errors="replace"),)))
        elif kind == _PRESENCE:
            listener = self._listeners.get(document)
            at = message.index(b"\n") + 1
            while listener is not None and at + _LENGTH.size <= len(message):
                (size,) = _LENGTH.unpack_from(message, at)
                at += _LENGTH.size
                listener.heard(message[at : at + size])
                at += size

    def confirmed(self, document: DocumentId) -> None:
        """Tell the listener of a document that its channel is up (BS1)."""
        listener = self._listeners.get(document)
        if listener is not None:
            listener.connected()

    def disconnected(self) -> None:
        """Stop declaring replicas gone: none can be heard (RQ3)."""
        self._steady_since_s = None

    def _connected(self, document: DocumentId, listener: ChannelListener) -> None:
        if self._listeners.get(document) is listener:
            listener.connected()

    # sending

    async def _send_always(self) -> None:
        keys = self._base.keys
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Take it before awaiting: what is published while Redis is busy makes the next message.
            outgoing, self._outgoing = self._outgoing, {}
            commands = []
            for document, queued in outgoing.items():
                channel = keys.channel(document)
                parts = [b"P", self._own, b"\n"]
                for part in queued.parts:
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
        """Send a heartbeat and read which other replicas are alive (RQ3)."""
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
        """Report replicas that leave, once, whether they were seen alive or not (BS4)."""
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
            except Exception:  # without heartbeats the others would declare this replica gone
                log.exception("no heartbeat could be sent")
            await asyncio.sleep(self._beat_s)
