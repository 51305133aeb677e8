"""Subscriptions: one connection that subscribes to many channels, and reconnects for as long as it is needed.

redis-py's `PubSub` sends health checks and never checks for their answers (tests/integration/redis/test_redis_py.py
shows it), so subscriptions are kept here, on a connection of redis-py.

Rules (tests quote these ids):
    RSU1  Every `subscribe` is sent, even for a channel that is subscribed already: each caller expects a `confirmed`.
    RSU2  `confirmed` follows each subscription reply of Redis, so it is repeated after every loss (E4).
    RSU3  A connection that was silent for `PING_S` is sent a PING. If nothing arrives for `timeout_s`, it is closed
          (E5). Silence is counted in ticks, so that a busy event loop of our own is not mistaken for it.
    RSU4  After a loss, the pause before the next attempt doubles up to a second, half of it random, so that replicas do
          not all return at once to a Redis that restarted.
    RSU5  A sharded channel that its node drops or refuses, because its slot has moved, is handed to `on_moved`, and
          this connection forgets it. Any other refused subscription ends the connection.
    RSU6  Redis disconnects a subscriber that is too slow (client-output-buffer-limit); that is a loss like any other.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Callable
from typing import Any, NoReturn

from redis.asyncio.connection import AbstractConnection
from redis.backoff import EqualJitterBackoff
from redis.exceptions import RedisError, ResponseError

from raffia.journal.redis.engine import Listener
from raffia.journal.redis.pipeline import packed
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

PING_S, TICK_S = 1.0, 0.2
PAUSE_MOST_S = 1.0
PAUSE = EqualJitterBackoff(PAUSE_MOST_S, base=0.05)
STEADY_S = 5.0  # a connection that stood for so long starts with the shortest pause again
END_S = 0.05
CHANNELS_PER_COMMAND = 500


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task until it ends: `asyncio.wait_for` of Python 3.11, used by redis-py, may swallow a cancellation."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=END_S)


class Subscriber:
    """Subscribes to channels of one server; created in a running event loop, started by the first `subscribe`, ended by
    `close`.

    Args:
        connection: a redis-py connection that is not connected yet.
        listener: is told of messages, confirmations and losses.
        timeout_s: longest time to connect, and for a PONG.
        on_lost: called when a connection was lost or could not be made.
        on_moved: takes a sharded channel that this server has given up (RSU5); None when channels are not sharded.
    """

    def __init__(
        self,
        connection: AbstractConnection,
        listener: Listener,
        timeout_s: float,
        on_lost: Callable[[], None],
        on_moved: Callable[[str], None] | None,
    ) -> None:
        self._connection: Any = connection  # redis-py's annotations are not complete
        self._listener, self._timeout_s = listener, timeout_s
        self._on_lost, self._on_moved = on_lost, on_moved
        self._letter = b"s" if on_moved else b""
        self._message, self._subscribed = self._letter + b"message", self._letter + b"subscribe"
        self._wanted: dict[bytes, str] = {}  # channels, by what Redis calls them
        self._unconfirmed: deque[bytes] = deque()  # sharded channels, in the order they were sent
        self._heard, self._refusal = 0, ""
        self._is_open = False
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel (RSU1)."""
        self._wanted[channel.encode()] = channel
        self._send(b"subscribe", [channel.encode()])
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        if self._wanted.pop(channel.encode(), None) is not None:
            self._send(b"unsubscribe", [channel.encode()])

    async def close(self) -> None:
        """Close the connection; the listener is not called again."""
        await end(self._task)
        await self._connection.disconnect()

    def _send(self, verb: bytes, names: list[bytes]) -> None:
        """Send without waiting for replies; before the connection is open do nothing: opening it subscribes to all."""
        if self._is_open and (writer := self._connection._writer) is not None:
            # Sharded channels of one command must have one slot; nearly all have slots of their own.
            size = 1 if self._letter else CHANNELS_PER_COMMAND
            commands = [(self._letter + verb, *names[at : at + size]) for at in range(0, len(names), size)]
            writer.write(packed(commands))
            if self._letter and verb == b"subscribe":
                self._unconfirmed.extend(names)

    async def _keep(self) -> None:
        """Keep the connection open, and reopen it (E4)."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began_s = loop.time()
            why = ""
            try:
                async with asyncio.timeout(self._timeout_s):
                    await self._connection.connect()
                self._is_open = True
                self._unconfirmed.clear()
                self._send(b"subscribe", list(self._wanted))
                await self._read()
            except ResponseError as error:
                why = str(error)
                if why != self._refusal:  # it comes again with every attempt
                    log.warning("Redis refuses to be heard", why=why)
                self._refusal = why
            except (RedisError, OSError) as error:
                why = str(error)
            except Exception:
                # Whatever went wrong once: a replica that gave its subscriptions up would hear nothing for ever.
                log.exception("a subscription failed")
            log.debug("no connection to hear what is published", why=why)
            await self._connection.disconnect()
            if self._is_open:
                self._is_open = False
                self._listener.disconnected()
                attempt = 0 if loop.time() - began_s >= STEADY_S else attempt
            self._on_lost()
            await asyncio.sleep(PAUSE.compute(attempt))
            attempt = min(attempt + 1, 10)  # redis-py's powers of two overflow

    def _watch(self, heard: int, silent: int) -> None:
        """Once a tick: ping a connection that is silent, and abort it if that does not help (RSU3)."""
        silent = silent + 1 if self._heard == heard else 0
        if silent == round(PING_S / TICK_S):
            self._connection._writer.write(packed([("PING",)]))
        if silent * TICK_S >= PING_S + self._timeout_s:
            log.debug("a connection that hears what is published did not answer PING", timeout_s=self._timeout_s)
            self._connection._writer.transport.abort()
            return
        self._timer = asyncio.get_running_loop().call_later(TICK_S, self._watch, self._heard, silent)

    async def _read(self) -> NoReturn:
        """Pass on messages until the connection is lost; redis-py raises the error."""
        read_response = self._connection.read_response
        self._watch(-1, 0)
        try:
            while True:
                try:
                    reply = await read_response(timeout=math.inf)
                except ResponseError:
                    if not self._unconfirmed:
                        raise
                    reply = [b"", self._unconfirmed[0], b""]  # refused (RSU5)
                self._heard += 1
                self._take(reply)
        finally:
            self._timer.cancel()

    def _take(self, reply: Any) -> None:
        """One reply; nearly always a message, so that case comes first."""
        if type(reply) is not list or len(reply) != 3:
            return  # a PONG
        kind, name, value = reply
        channel = self._wanted.get(name)
        if kind == self._message:
            if channel is not None:
                self._listener.heard(channel, value)
            return
        if self._unconfirmed and self._unconfirmed[0] == name:
            self._unconfirmed.popleft()
        if channel is None:
            return
        if kind == self._subscribed:
            self._listener.confirmed(channel)
        elif self._on_moved is not None:  # given up or refused; or given up by us for a moment: it is subscribed twice
            del self._wanted[name]
            self._on_moved(channel)
