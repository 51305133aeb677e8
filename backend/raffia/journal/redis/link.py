"""One pipeline on one connection of redis-py.

redis-py connects, signs in, and speaks TLS and the Redis protocol. This module adds what its pipelines do not promise:
replies that arrived before the connection was lost are kept, one deadline covers all replies, and nothing is resent.

Rules (tests quote these ids):
    RX1  Replies belong to commands in order. A pipeline that does not finish in time, or is cancelled, closes its
         connection (E3). A connection that was closed, or sent something unasked, is opened again before it is used.
    RX2  Commands answered before the connection ended keep their replies; each of the others gets a
         `JournalUnavailableError` (E1).
    RX3  An error of Redis is a `ResponseError` with its whole text, code first, and leaves the connection open. Our
         messages contain no password and no argument.
    RX4  A connection that failed is aborted: unsent bytes are neither kept in memory nor executed later.
    RX5  Calls of a script that the server does not know (NOSCRIPT) were not executed: they are sent once more, in
         order, with the script's text. Calls of one pipeline with the same key therefore run the same script (E2).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.engine import Argument, Command, Reply

NAME = "raffia"  # how `CLIENT LIST` shows our connections
_pack: Callable[[Any], bytes] = hiredis.pack_command  # its own types know a single argument only


class _Parser(DefaultParser):  # type: ignore[misc, valid-type]
    EXCEPTION_CLASSES: dict[str, Any] = {}  # noqa: RUF012 - none, so that an error keeps its code (RX3)


def code_of(reply: Reply) -> str:
    """The first word of an error that Redis answered with, such as `MOVED`; empty for everything else."""
    return str(reply).partition(" ")[0] if isinstance(reply, ResponseError) else ""


async def greet(connection: AbstractConnection) -> None:
    """Sign in, select the database and set the client name, which an ACL may forbid."""
    await connection.on_connect()
    await connection.send_command("CLIENT", "SETNAME", NAME)
    try:
        await connection.read_response()
    except ResponseError as error:
        if code_of(error) != "NOPERM" and "unknown" not in str(error):
            raise  # no password, too many connections: that ends it, and whoever waits has to be told


OPTIONS: dict[str, Any] = {
    "parser_class": _Parser,
    "protocol": 2,
    "retry": Retry(NoBackoff(), 0),
    "socket_timeout": None,  # `Link` has one deadline for all replies
    "driver_info": None,
    "redis_connect_func": greet,
}
"""What connections are made with, whatever the URL says."""


class Link:
    """A connection that connects when it is used, with one pipeline under way at a time.

    Args:
        connection: of redis-py, made with `OPTIONS`.
        place: names the server in messages.
    """

    def __init__(self, connection: AbstractConnection, place: str) -> None:
        self.connection: Any = connection  # redis-py's annotations are not complete
        self.place = place
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, commands: Sequence[Command], deadline_s: float, *, asking: bool = False) -> list[Reply]:
        """Run commands in one round trip (or two, RX5), until a loop time; raises nothing except cancellation.

        Args:
            commands: what to run.
            deadline_s: loop time by which all replies must be there.
            asking: their slot is on its way to this node.
        """
        replies = await self._round_trip([command.args for command in commands], deadline_s, asking=asking)
        again = [i for i, reply in enumerate(replies) if type(reply) is ResponseError and code_of(reply) == "NOSCRIPT"]
        if again:
            whole = [("EVAL", script.source, *args[2:]) for _, args, script in (commands[i] for i in again) if script]
            for i, reply in zip(again, await self._round_trip(whole, deadline_s, asking=asking), strict=True):
                replies[i] = reply
        return replies

    def send(self, commands: Iterable[Sequence[Argument]]) -> None:
        """Send without waiting for replies."""
        if self._writer is not None:
            self._writer.write(b"".join([_pack(tuple(command)) for command in commands]))

    async def close(self) -> None:
        """Abort the connection (RX4); the next use opens a new one."""
        if self._writer is not None:
            self._writer.transport.abort()
        await self.connection.disconnect(nowait=True)

    async def _round_trip(
        self, commands: Sequence[Sequence[Argument]], deadline_s: float, *, asking: bool
    ) -> list[Reply]:
        if asking:
            commands = [part for command in commands for part in (("ASKING",), command)]
        replies: list[Reply] = []
        problem = ""
        connection = self.connection
        try:
            async with asyncio.timeout_at(deadline_s):
                if connection.is_connected and await connection.can_read():
                    await self.close()
                if not connection.is_connected:
                    await connection.connect()
                    self._writer = connection._writer
                self.send(commands)
                while len(replies) < len(commands):
                    try:
                        replies.append(await connection.read_response(timeout=math.inf))
                    except ResponseError as error:
                        replies.append(error)
        except TimeoutError:
            problem = "it did not answer in time"
        except (RedisError, OSError, JournalUnavailableError) as error:
            problem = str(error)
        finally:
            if len(replies) < len(commands):
                await self.close()
        missing = len(commands) - len(replies)
        replies += [JournalUnavailableError(f"Redis at {self.place}: {problem}") for _ in range(missing)]
        return replies[1::2] if asking else replies
