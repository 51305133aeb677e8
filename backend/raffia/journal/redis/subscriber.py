"""Subscriptions: one connection that subscribes to many channels, and reconnects for as long as it is needed.

redis-py's `PubSub` sends health checks and never checks for their answers (tests/integration/redis/test_redis_py.py
shows it), so subscriptions are kept here, on a connection of redis-py.

Rules (tests quote these ids):
    RSU1  Every `subscribe` is sent, even for a channel that is subscribed already: each caller is owed a `confirmed`.
    RSU2  `confirmed` follows each subscription reply of Redis, so it is repeated after every loss (E4), always after
          the `reconnected` of its connection.
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
import random
from collections import deque
from collections.abc import Callable
from typing import Any

from redis.exceptions import RedisError, ResponseError

from raffia.journal.redis.engine import Command, Listener
from raffia.journal.redis.link import Link
from raffia.journal.redis.replies import read_info
from raffia.runtime.logs import get_logger

log = get_logger("raffia.journal.redis")

PING_S, TICK_S = 1.0, 0.2
PAUSE_FIRST_S, PAUSE_MOST_S = 0.05, 1.0
STEADY_S = 5.0  # a connection that stood for so long starts with the shortest pause again
END_S = 0.05
CHANNELS_PER_COMMAND = 500
QUESTIONS = (Command("", ("INFO", "server")), Command("", ("INFO", "replication")))


def pause_s(attempt: int) -> float:
    """How long to wait before attempt number `attempt`, counted from 0 (RSU4)."""
    longest_s = min(PAUSE_MOST_S, PAUSE_FIRST_S * (1 << min(attempt, 10)))
    return longest_s * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, guards nothing


async def end(task: asyncio.Task[Any] | None) -> None:
    """Cancel a task until it has ended: `asyncio.wait_for` of Python 3.11, which redis-py uses, may swallow it once."""
    while task is not None and not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=END_S)


class Subscriber:
    """Subscribes to channels of one server; created in a running event loop, started by the first `subscribe`, ended by
    `close`.

    Args:
        link: the connection.
        listener: who is told.
        timeout_s: longest time to connect, and for a PONG.
        on_lost: called when a connection was lost or could not be made.
        on_moved: takes a sharded channel that this server has given up (RSU5); None when channels are not sharded.
    """

    def __init__(
        self,
        link: Link,
        listener: Listener,
        timeout_s: float,
        on_lost: Callable[[], None],
        on_moved: Callable[[str], None] | None,
    ) -> None:
        self._link, self._listener, self._timeout_s = link, listener, timeout_s
        self._on_lost, self._on_moved = on_lost, on_moved
        self._letter = b"s" if on_moved else b""
        self._message, self._subscribed = self._letter + b"message", self._letter + b"subscribe"
        self.wanted: dict[bytes, str] = {}  # channels, by what Redis calls them
        self._unconfirmed: deque[bytes] = deque()  # sharded channels, in the order they were sent
        self._heard, self._refusal = 0, ""
        self._is_connected = False
        self._task: asyncio.Task[None] | None = None

    def subscribe(self, channel: str) -> None:
        """Subscribe to a channel (RSU1)."""
        self.wanted[channel.encode()] = channel
        self._send(b"subscribe", [channel.encode()])
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._keep())

    def unsubscribe(self, channel: str) -> None:
        """Unsubscribe from a channel."""
        if self.wanted.pop(channel.encode(), None) is not None:
            self._send(b"unsubscribe", [channel.encode()])

    async def close(self) -> None:
        """Close the connection; the listener hears nothing more."""
        await end(self._task)
        await self._link.close()

    def _send(self, verb: bytes, names: list[bytes]) -> None:
        if self._is_connected:  # all that is wanted is subscribed once it is
            # Sharded channels of one command must have one slot; nearly all have slots of their own.
            size = 1 if self._letter else CHANNELS_PER_COMMAND
            self._link.send([(self._letter + verb, *names[at : at + size]) for at in range(0, len(names), size)])
            if self._letter and verb == b"subscribe":
                self._unconfirmed.extend(names)

    async def _keep(self) -> None:
        """Keep the connection open, and reopen it (E4)."""
        loop = asyncio.get_running_loop()
        attempt = 0
        while True:
            began_s = loop.time()
            try:
                was_open = await self._connect_and_hear()
            except Exception:
                # Whatever went wrong once: a replica that gave its subscriptions up would hear nothing for ever.
                log.exception("a subscription failed", place=self._link.place)
                await self._link.close()
                was_open = self._is_connected
            if was_open:
                self._is_connected = False
                self._listener.disconnected()
                attempt = 0 if loop.time() - began_s >= STEADY_S else attempt
            self._on_lost()
            await asyncio.sleep(pause_s(attempt))
            attempt += 1

    async def _connect_and_hear(self) -> bool:
        """Subscribe to everything wanted and pass on messages until the connection is lost; whether there was one."""
        deadline_s = asyncio.get_running_loop().time() + self._timeout_s
        server, replication = await self._link.run(QUESTIONS, deadline_s)
        if not isinstance(replication, ResponseError | bytes):
            log.debug("no connection to hear what is published", why=str(replication))
            return False
        lineage = read_info(server).get("run_id", ""), read_info(replication).get("master_replid", "")
        self._listener.reconnected("/".join(lineage))
        self._is_connected = True
        self._unconfirmed.clear()
        self._send(b"subscribe", list(self.wanted))
        why = await self._hear()
        log.debug("the connection that hears what is published was lost", place=self._link.place, why=why)
        self._is_connected = False
        await self._link.close()
        return True

    async def _hear(self) -> str:
        """Pass on messages until the connection is lost; returns the reason."""
        reading = asyncio.get_running_loop().create_task(self._read())
        silent, heard = 0, -1
        try:
            while silent * TICK_S < PING_S + self._timeout_s:
                await asyncio.wait([reading], timeout=TICK_S)
                if reading.done():
                    return reading.result()
                silent = silent + 1 if self._heard == heard else 0
                heard = self._heard
                if silent == round(PING_S / TICK_S):
                    self._link.send([("PING",)])
            return f"it did not answer PING within {self._timeout_s:g} s"
        finally:
            await end(reading)

    async def _read(self) -> str:
        read_response = self._link.connection.read_response
        try:
            while True:
                try:
                    reply = await read_response(timeout=math.inf)
                except ResponseError as error:
                    if not self._unconfirmed:
                        if str(error) != self._refusal:  # it comes again with every attempt
                            log.warning("Redis refuses to be heard", place=self._link.place, why=str(error))
                        self._refusal = str(error)
                        return self._refusal
                    reply = [b"", self._unconfirmed[0], b""]
                self._heard += 1
                self._take(reply)
        except (RedisError, OSError) as error:
            return str(error)
        except Exception:
            log.exception("hearing what is published went wrong")
            return "its reader failed"

    def _take(self, reply: Any) -> None:
        """One reply; nearly always a message, so that case comes first."""
        if type(reply) is not list or len(reply) != 3:
            return  # a PONG
        kind, name, value = reply
        channel = self.wanted.get(name)
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
            del self.wanted[name]
            self._on_moved(channel)
