"""What is published: one connection that hears many channels, and comes back for as long as it is wanted.

Rules (tests quote these ids):
    SB1  What changes in one turn of the event loop is sent together. Every `subscribe` is sent, also of a channel that
         is heard already: whoever asked is owed a `confirmed`.
    SB2  `confirmed` follows each subscription reply of Redis, so it comes again after every loss (ER4), always after
         the `reconnected` of its connection.
    SB3  A connection that was silent for `ping_s` is asked for a PONG. When nothing comes for `timeout_s` it is closed
         (E5). A loop that was busy itself gets a moment to read what has come before that is believed.
    SB4  After a loss the next attempt comes after a pause that doubles up to a second, half of it by chance, so that
         the replicas of a restarted Redis do not come back all at once. A connection that stood for a while starts
         anew.
    SB5  A sharded channel that its node gives up or refuses, since its slot has moved, is handed to `on_moved`, and is
         this connection's business no more.
    SB6  Redis drops a reader that is too slow (client-output-buffer-limit); that is a loss like any other.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from redis.exceptions import ResponseError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.engine import Argument, Listener, Reply
from raffia.journal.redis.link import Link, code_of, pack
from raffia.journal.redis.node import Connect
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

PING_S = 1.0
PAUSE_FIRST_S = 0.05
PAUSE_MOST_S = 1.0
STEADY_S = 5.0  # a connection that stood for so long starts with the shortest pause again
GRACE_S = 0.05
CHANNELS_PER_COMMAND = 500


def pause_s(attempt: int) -> float:
    """How long to wait before attempt number `attempt`, counted from 0 (SB4)."""
    longest_s = min(PAUSE_MOST_S, PAUSE_FIRST_S * (1 << min(attempt, 10)))
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


def read_info(reply: Reply) -> dict[str, str]:
    """An `INFO` reply as a dictionary; empty when Redis did not give one."""
    if not isinstance(reply, bytes):
        return {}
    lines = reply.decode(errors="replace").splitlines()
    return {name: value for name, colon, value in (line.partition(":") for line in lines) if colon}


class _Sent(NamedTuple):
    """A command whose replies are due.

    Attributes:
        kind: `sub`, `unsub` or `ping`.
        channels: whose replies are due still.
    """

    kind: str
    channels: set[bytes]


class Subscriber:
    """Hears channels of one server; made in a running event loop, started by the first `subscribe`, ended by `aclose`.

    Args:
        connect: makes a connection.
        listener: who is told.
        timeout_s: longest time to connect, and for a PONG.
        ping_s: after how much silence a PING is sent.
        sharded: use SSUBSCRIBE.
        on_moved: takes sharded channels that this server does not serve (SB5).
        on_failed: called when a connection was lost or could not be made.
    """

    def __init__(
        self,
        connect: Connect,
        listener: Listener,
        *,
        timeout_s: float,
        ping_s: float = PING_S,
        sharded: bool = False,
        on_moved: Callable[[Sequence[str]], None] | None = None,
        on_failed: Callable[[], None] | None = None,
    ) -> None:
        self._connect = connect
        self._listener = listener
        self._timeout_s = timeout_s
        self._ping_s = ping_s
        self._on_moved = on_moved
        self._on_failed = on_failed
        self._sharded = sharded
        self._message = b"smessage" if sharded else b"message"
        self._subscribed = b"ssubscribe" if sharded else b"subscribe"
        self._unsubscribed = b"sunsubscribe" if sharded else b"unsubscribe"
        self._loop = asyncio.get_running_loop()
        self._names: dict[bytes, str] = {}  # channels that are wanted, by what Redis calls them
        self._changes: dict[bytes, bool] = {}  # of this turn: whether it is wanted (SB1)
        self._flushing = False
        self._sent: deque[_Sent] = deque()
        self._link: Link | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def channels(self) -> list[str]:
        """What is wanted."""
        return list(self._names.values())

    def subscribe(self, channel: str) -> None:
        """Hear a channel (SB1)."""
        name = channel.encode()
        self._names[name] = channel
        self._change(name, wanted=True)
        if self._task is None:
            self._task = self._loop.create_task(self._keep())

    def unsubscribe(self, channel: str) -> None:
        """Hear it no more."""
        name = channel.encode()
        if self._names.pop(name, None) is not None:
            self._change(name, wanted=False)

    def drop(self, reason: str) -> None:
        """Make the connection anew, because it leads to the wrong server."""
        if self._link is not None:
            self._link.close(reason)

    async def aclose(self) -> None:
        """End it; nobody is told anything any more."""
        task, self._task = self._task, None
        self._names.clear()
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    # -- sending

    def _change(self, name: bytes, *, wanted: bool) -> None:
        if self._link is None:
            return  # all that is wanted is subscribed once it stands
        self._changes[name] = wanted
        if not self._flushing:
            self._flushing = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        changes, self._changes = self._changes, {}
        if self._link is None or not changes:
            return
        commands: list[Sequence[Argument]] = []
        for kind, verb, wanted in (("unsub", self._unsubscribed, False), ("sub", self._subscribed, True)):
            names = [name for name, is_wanted in changes.items() if is_wanted is wanted]
            # Sharded channels of one command must have one slot; nearly all have slots of their own.
            size = 1 if self._sharded else CHANNELS_PER_COMMAND
            for start in range(0, len(names), size):
                some = names[start : start + size]
                commands.append((verb, *some))
                self._sent.append(_Sent(kind, set(some)))
        self._link.send(pack(commands))

    # -- hearing

    def _take(self, reply: Reply) -> None:
        """One reply; nearly always a message, so that comes first and costs little."""
        if type(reply) is list and len(reply) == 3:
            kind, name, value = reply
            if kind == self._message:
                channel = self._names.get(name)
                if channel is not None:
                    self._listener.heard(channel, value)
                return
            if kind == self._subscribed:
                self._due("sub", name)
                if (channel := self._names.get(name)) is not None:
                    self._listener.confirmed(channel)
                return
            if kind == self._unsubscribed:
                if not self._due("unsub", name):
                    self._moved(name)
                return
        self._answered(reply)

    def _due(self, kind: str, name: bytes) -> bool:
        """Whether the reply belongs to what was sent; a server may give up sharded channels by itself (SB5)."""
        if not self._sent or self._sent[0].kind != kind or name not in self._sent[0].channels:
            return False
        channels = self._sent[0].channels
        channels.discard(name)
        if not channels:
            self._sent.popleft()
        return True

    def _answered(self, reply: Reply) -> None:
        """A PONG, or an error in the place of the replies to one command."""
        if not self._sent:
            return
        sent = self._sent.popleft()
        if sent.kind == "sub" and isinstance(reply, ResponseError):
            if self._sharded and code_of(reply) in ("MOVED", "ASK", "TRYAGAIN", "CLUSTERDOWN"):
                for name in sent.channels:
                    self._moved(name)
            else:
                self.drop(f"it refused a subscription ({reply})")

    def _moved(self, name: bytes) -> None:
        channel = self._names.pop(name, None)
        if channel is not None and self._on_moved is not None:
            self._changes.pop(name, None)
            self._on_moved([channel])

    # -- keeping the connection

    async def _keep(self) -> None:
        attempt = 0
        try:
            while True:
                try:
                    link = await self._open()
                except JournalUnavailableError as error:
                    if not attempt:
                        log.warning("no connection to hear what is published", why=str(error))
                except Exception:
                    log.exception("making a connection to hear what is published went wrong")
                    self.drop("its beginning went wrong")
                    self._link = None
                else:
                    stood_s = await self._hold(link)
                    attempt = 0 if stood_s >= STEADY_S else attempt
                if self._on_failed is not None:
                    self._on_failed()
                await asyncio.sleep(pause_s(attempt))
                attempt += 1
        finally:
            if self._link is not None:
                self._link.on_lost = None
                self._link.close()
                self._link = None

    async def _open(self) -> Link:
        deadline_s = self._loop.time() + self._timeout_s
        link = await self._connect(deadline_s)
        server, replication = await link.call([("INFO", "server"), ("INFO", "replication")], deadline_s)
        if isinstance(replication, JournalUnavailableError):
            raise replication  # the last of them: the connection was closed before it
        lineage = f"{read_info(server).get('run_id', '')}/{read_info(replication).get('master_replid', '')}"
        self._sent.clear()
        self._changes = dict.fromkeys(self._names, True)
        self._link = link
        link.on_reply = self._take
        self._listener.reconnected(lineage)
        self._flush()
        return link

    async def _hold(self, link: Link) -> float:
        """Stay until the connection is lost; returns how long it stood, in seconds."""
        began_s = self._loop.time()
        lost = asyncio.Event()
        link.on_lost = lambda _: lost.set()
        if link.closed:
            lost.set()
        watch = self._loop.create_task(self._ping(link))
        try:
            await lost.wait()
        finally:
            watch.cancel()
        self._link = None
        log.warning("the connection that hears what is published was lost", place=str(link.place), why=link.lost)
        self._listener.disconnected()
        return self._loop.time() - began_s

    async def _ping(self, link: Link) -> None:
        """Notice a server that has stopped (SB3)."""
        while True:
            await asyncio.sleep(self._ping_s)
            if self._loop.time() - link.heard_at_s < self._ping_s:
                continue
            asked_s = self._loop.time()
            self._sent.append(_Sent("ping", set()))
            link.send(pack([("PING",)]))
            await asyncio.sleep(self._timeout_s)
            if link.heard_at_s < asked_s:
                await asyncio.sleep(GRACE_S)
            if link.heard_at_s < asked_s:
                link.close(f"it did not answer PING within {self._timeout_s:g} s")
                return
