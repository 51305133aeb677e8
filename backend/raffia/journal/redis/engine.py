"""What the journal needs from Redis, however it is deployed: commands in, replies out, and channels.

Rules (tests quote these ids):
    E1  `run` never raises, and never resends a command that may have been executed: each command gets its reply, or an
        error in its place. The caller decides what "unknown" means.
    E2  Commands of one call with the same key are executed in order. Nothing is promised across keys.
    E3  Every call has a deadline. A connection whose reply is late is closed, so that a late reply is not taken for the
        next command's.
    E4  A subscription is kept until `unsubscribe`: lost connections are reopened, after a bounded, jittered pause, and
        every (re)subscription is reported (`confirmed`), because messages published in between are lost.
    E5  The subscriber pings its own connections with a deadline, so that a Redis that has stopped is noticed even if
        nothing is published. It never awaits its listeners.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple, Protocol

from raffia.journal.redis.scripts import Script

Argument = bytes | str | int
Reply = object
"""bytes, int, None, a list of replies, or an exception in the place of one: `redis.exceptions.ResponseError` when Redis
answered with an error, `JournalUnavailableError` when it is unknown whether the command was executed. The text of a
`ResponseError` begins with its code, also that of `redis.error_reply`; `replies.error_of` makes an error of ours of it,
which is a `JournalUnavailableError` too if Redis takes no command now (it loads its log, is a replica, is full)."""


class Lane(Enum):
    """The connection that a command uses: a large read must not delay acknowledgements."""

    APPEND = "append"
    READ = "read"


class Command(NamedTuple):
    """One command.

    Attributes:
        key: any key it touches; chooses the node on a cluster. All its keys have the same hash tag.
        args: the command and its arguments; for a script, `EVALSHA` and everything after it.
        script: the script that it runs, if any.
    """

    key: str
    args: tuple[Argument, ...]
    script: Script | None = None


class Listener(Protocol):
    """Receives what is published; its methods are called on the event loop and must return quickly and not raise."""

    def heard(self, channel: str, payload: bytes) -> None:
        """A message."""
        ...

    def confirmed(self, channel: str) -> None:
        """Messages arrive from now on: called the first time, and again after a loss (E4)."""
        ...

    def disconnected(self) -> None:
        """A connection was lost; nothing arrives on its channels until `confirmed`."""
        ...
