"""One pipeline on one connection of a redis-py pool.

redis-py connects, signs in, pools, and speaks TLS and the Redis protocol. This module adds what its pipelines do not
promise: replies that arrived before the connection was lost are kept, one deadline covers everything, and no command
that may have been executed is resent.

Rules (tests quote these ids):
    RX1  Replies belong to commands in order. A pipeline that does not finish in time, or is cancelled, closes its
         connection (E3). A connection that was closed, or sent something unrequested, is reopened before it is used.
    RX2  Commands answered before the connection ended keep their replies; each of the others gets a
         `JournalUnavailableError` (E1).
    RX3  An error from Redis is a `ResponseError` with its whole text, code first, and leaves the connection open. Our
         messages contain no password and no argument.
    RX4  A connection that failed is aborted: unsent bytes are neither kept in memory nor executed later.
    RX5  Calls of a script that the server does not know (NOSCRIPT) were not executed: they are sent once more, in
         order, with the script's text. Calls of one pipeline with the same key therefore run the same script (E2).
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any

import hiredis
from redis.asyncio.connection import AbstractConnection, BlockingConnectionPool, DefaultParser
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.engine import Argument, Command, Reply

NAME = "raffia"  # how `CLIENT LIST` shows our connections


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
    "socket_timeout": None,  # a pipeline has one deadline for all replies
    "driver_info": None,
    "redis_connect_func": greet,
}
"""What connections are made with, whatever the URL says."""


@cache
def aborting(base: type[AbstractConnection]) -> type[AbstractConnection]:
    """A redis-py connection class that aborts connections instead of closing them, which would send the rest (RX4)."""

    class Aborting(base):  # type: ignore[misc, valid-type]
        async def disconnect(self, nowait: bool = True, **why: Any) -> None:
            if self._writer is not None:
                self._writer.transport.abort()
            await super().disconnect(nowait=True, **why)

    return Aborting


def packed(commands: Iterable[Sequence[Argument]]) -> bytes:
    """Commands as bytes of the Redis protocol."""
    return b"".join([hiredis.pack_command(tuple(command)) for command in commands])  # type: ignore[arg-type]


async def run(
    pool: BlockingConnectionPool, commands: Sequence[Command], deadline_s: float, *, asking: bool = False
) -> list[Reply]:
    """Run commands in one round trip (or two, RX5); raises nothing except cancellation.

    Args:
        pool: `aborting` connections with `OPTIONS`; waiting for a free one counts towards the deadline.
        commands: what to run.
        deadline_s: loop time by which all replies must have arrived.
        asking: whether the slot of the commands is moving to this node.
    """
    replies = await _round_trip(pool, [command.args for command in commands], deadline_s, asking=asking)
    again = [i for i, reply in enumerate(replies) if code_of(reply) == "NOSCRIPT"]
    if again:
        whole = [("EVAL", script.source, *args[2:]) for _, args, script in (commands[i] for i in again) if script]
        for i, reply in zip(again, await _round_trip(pool, whole, deadline_s, asking=asking), strict=True):
            replies[i] = reply
    return replies


async def _round_trip(
    pool: BlockingConnectionPool, commands: Sequence[Sequence[Argument]], deadline_s: float, *, asking: bool
) -> list[Reply]:
    if asking:
        commands = [part for command in commands for part in (("ASKING",), command)]
    replies: list[Reply] = []
    problem = ""
    connection: Any = None  # redis-py's annotations are not complete
    try:
        async with asyncio.timeout_at(deadline_s):
            connection = await pool.get_connection()  # type: ignore[no-untyped-call]
            connection._writer.write(packed(commands))
            while len(replies) < len(commands):
                try:
                    replies.append(await connection.read_response(timeout=math.inf))
                except ResponseError as error:
                    replies.append(error)
    except TimeoutError:
        problem = "it did not answer in time"
    except (RedisError, OSError) as error:
        problem = str(error)
    finally:
        if connection is not None:
            if len(replies) < len(commands):
                await connection.disconnect()
            await pool.release(connection)
    missing = len(commands) - len(replies)
    where = pool.connection_kwargs.get("path") or "{host}:{port}".format_map(pool.connection_kwargs)
    replies += [JournalUnavailableError(f"Redis at {where}: {problem}") for _ in range(missing)]
    return replies[1::2] if asking else replies
