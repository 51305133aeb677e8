"""Writers that log what they are about to send and what was acknowledged: the oracle for every fault.

Rules:
    FTY1  A token is logged before it is sent, and is unique and greppable.
    FTY2  An operation counts as acknowledged when the server has said so: a SyncStatus for it, a sync status behind it,
        or its own echo. What others have seen does not count.
    FTY3  Every acknowledged insert has to be there unless its delete was sent, and every acknowledged delete is done.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from tests.support.client import Client, HocuspocusClient, YClient
from tests.support.lib0 import insert, varuint

TOKEN = re.compile(r"<[0-9]+\.[0-9]+é😀>")
DELETE_EVERY = 20
MARK_EVERY = 10


@dataclass
class Operation:
    """One edit that was sent: an insert of a token, or the delete of an earlier one."""

    token: str
    deletes: bool


@dataclass
class Typist:
    """One writer on one document, with its own client id."""

    client: Client
    id: int
    log: list[Operation] = field(default_factory=list)
    clock: int = 0
    starts: dict[str, int] = field(default_factory=dict)
    echoed: set[str] = field(default_factory=set)
    base: int = 0

    def __post_init__(self) -> None:
        if isinstance(self.client, HocuspocusClient):
            self.base = self.client.sent  # answers before the first operation: to the step 2 when joining
        else:
            self.client.on_update = self._echo

    def _echo(self, update: bytes) -> None:
        own = f"<{self.id}.".encode()
        if own in update:
            found = TOKEN.findall(update.decode(errors="ignore"))
            self.echoed.update(token for token in found if token.startswith(own.decode()))

    def type(self) -> None:
        """Send one operation (FTY1)."""
        number = len(self.log)
        if number % DELETE_EVERY == DELETE_EVERY - 1:
            victim = self.log[number - DELETE_EVERY // 2].token
            self.log.append(Operation(victim, deletes=True))
            start, length = self.starts[victim], units(victim)
            self.client.update(b"\x00\x01" + varuint(self.id) + b"\x01" + varuint(start) + varuint(length))
        else:
            token = f"<{self.id}.{number}é😀>"
            self.log.append(Operation(token, deletes=False))
            self.starts[token] = self.clock
            self.client.update(insert(self.id, self.clock, token, self.clock - 1 if self.clock else None))
            self.clock += units(token)
        if isinstance(self.client, YClient) and len(self.log) % MARK_EVERY == 0:
            self.client.mark(b"%d" % len(self.log))

    @property
    def settled(self) -> int:
        """The number of operations, counted from the first, that are acknowledged (FTY2)."""
        if isinstance(self.client, HocuspocusClient):
            return min(len(self.log), max(0, self.client.statuses.count(1) - self.base))
        assert isinstance(self.client, YClient)
        return max((int(mark) for mark in self.client.marks if mark.isdigit()), default=0)

    @property
    def in_flight(self) -> int:
        return len(self.log) - self.settled

    def acknowledged(self) -> set[str]:
        """The tokens whose insert was acknowledged in any way (FTY2)."""
        counted = {operation.token for operation in self.log[: self.settled] if not operation.deletes}
        return counted | self.echoed

    def lost(self, text: str) -> list[str]:
        """What `text` lacks according to the oracle (FTY3)."""
        there = set(TOKEN.findall(text))
        sent_deletes = {operation.token for operation in self.log if operation.deletes}
        done_deletes = {operation.token for operation in self.log[: self.settled] if operation.deletes}
        missing = self.acknowledged() - there - sent_deletes
        return sorted(missing) + [f"deleted, but there: {token}" for token in sorted(done_deletes & there)]


def units(token: str) -> int:
    """The length in UTF-16 code units, as in Yjs."""
    return len(token.encode("utf-16-le")) // 2
