"""What the journal needs of Redis, whichever way it is deployed: commands in, replies out, and channels.

Rules (tests quote these ids):
    E1  `run` never raises and never sends a command twice by itself once it may have been executed: each command gets
        its reply, or the error in its place. Whoever sent it decides what "unknown" means.
    E2  Commands of one call with the same key are executed in their order. Across keys nothing is promised.
    E3  Every call has a deadline. A connection whose reply is late is closed: a late reply must not be taken for the
        next command's.
    E4  A subscription is held until it is given up: lost connections are made again, with a bounded, jittered pause,
        and every (re)subscription is told (`confirmed`), since what was published in between is gone.
    E5  The subscriber pings its own connections with a deadline: a Redis that has stopped is noticed although nobody
        publishes. It never awaits whoever it tells.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from types import TracebackType
from typing import NamedTuple, Protocol, Self

Argument = bytes | str | int
Reply = object
"""bytes, int, None, a list of replies, or an exception in the place of one: `redis.exceptions.ResponseError` when Redis
answered with an error, `JournalUnavailableError` when it is unknown whether the command was executed, and also when it
was not executed because Redis takes none now (it loads its log, is a replica, is full, moves the slot): in both cases
the same thing is to be done. The text of a `ResponseError` begins with its code, also that of `redis.error_reply`."""


class Lane(Enum):
    """Which connection a command takes: a large read must not hold up acknowledgements."""

    APPEND = "append"
    READ = "read"


class Command(NamedTuple):
    """One command.

    Attributes:
        key: any key it touches; chooses the node on a cluster. All its keys have the same hash tag.
        args: the command and its arguments.
    """

    key: str
    args: tuple[Argument, ...]


class Script(NamedTuple):
    """A Lua script, from a file of `lua/`.

    Attributes:
        name: of the file, without `.lua`.
        source: its text.
        sha: SHA-1 of the text, in hexadecimal, which is how Redis knows it.
    """

    name: str
    source: str
    sha: str


class Listener(Protocol):
    """Who hears what is published; called on the event loop, must return at once and not raise."""

    def heard(self, channel: str, payload: bytes) -> None:
        """A message."""
        ...

    def confirmed(self, channel: str) -> None:
        """From here on messages come: the first time, and again after a loss (E4)."""
        ...

    def disconnected(self) -> None:
        """A connection was lost; until `confirmed` nothing comes on its channels."""
        ...

    def reconnected(self, server: str) -> None:
        """A subscriber's connection stands (again).

        Args:
            server: names the server's data lineage and process, `<run_id>/<master_replid>`: another one than before
                means a restart or a failover. Each node of a cluster has its own, and tells it when it is first needed.
        """
        ...


class Engine(Protocol):
    """Connections to Redis. One lifecycle: `async with`; a Redis that is away does not stop it from opening."""

    @property
    def is_cluster(self) -> bool:
        """Whether keys live on several nodes, so that channels are sharded (SSUBSCRIBE, SPUBLISH).

        A script may SPUBLISH there (tried on 7.0.15; on one server it uses PUBLISH). Name in KEYS what is read and
        written, and nothing else: while a slot moves, a script is refused (TRYAGAIN, nothing of it executed) as long as
        one of several KEYS is not there. So the channel, which never is, goes into ARGV, and keys that may not exist
        are best touched by scripts of their own. What is published on a slot that is on its way may be heard by nobody.
        """
        ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def run(self, commands: Sequence[Command], *, lane: Lane = Lane.READ) -> list[Reply]:
        """Send commands in one round trip for each node and return their replies, in the order of the commands (E1-E3).

        One call at a time on `Lane.APPEND`, by the one task that writes.
        """
        ...

    async def run_script(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, lane: Lane = Lane.READ
    ) -> Reply:
        """Run one script, loading it where it is not known yet; returns the reply or the error (E1)."""
        ...

    async def run_scripts(
        self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]], *, lane: Lane = Lane.READ
    ) -> list[Reply]:
        """Run many scripts in one round trip for each node. A script that is not known there is loaded, and all calls
        of it are sent again, in order (a call that was refused so has not been executed)."""
        ...

    def listen(self, listener: Listener) -> None:
        """Say who hears; once, before the first `subscribe`."""
        ...

    def subscribe(self, channel: str) -> None:
        """Hear a channel from now on (E4); a channel of a cluster carries the hash tag of its document."""
        ...

    def unsubscribe(self, channel: str) -> None:
        """Hear it no more."""
        ...

    async def warnings(self) -> list[str]:
        """What is wrong with how Redis is set up, in whole sentences with what to do: persistence off, an eviction
        policy that may drop documents, a version below 7.0. Empty when all is well, or when it may not be asked."""
        ...
