"""Presence of one document between replicas.

Rules (tests quote these ids):
    RLY1  Only what this replica's sessions say is told; what comes from others is never passed on. So the number of
        messages does not grow with the number of replicas.
    RLY2  Between two messages only the latest entry of an id is kept, and they are `PAUSE_S` apart.
    RLY3  Whoever can hear (again) says so, with all states of its own; the others answer with theirs.
    RLY4  A message that cannot be read is dropped and counted, and never ends anything: other versions may speak too.
    RLY5  A state that has been removed here is told back as such, from nobody, so that the replica where its session is
        announces it above the removal (P10).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from raffia.errors import WireError
from raffia.journal.bus import Bus
from raffia.rooms.presence.table import PresenceEntry
from raffia.runtime.logs import get_logger
from raffia.runtime.metrics import Metrics
from raffia.types import DocumentId
from raffia.wire.awareness import NULL
from raffia.wire.lib0 import read_buf, read_string, read_varuint, write_string, write_varuint

log = get_logger("raffia.rooms.presence.relay")

FORMAT = 1
STATES, HELLO = 0, 1
NOBODY = 0  # sessions count from 1
PAUSE_S = 0.03  # about what an eye needs to see a cursor move smoothly
_MIN_ENTRY_BYTES = 5


class RelayMessage(NamedTuple):
    """One message: a hello asks for an answer."""

    is_hello: bool
    entries: list[PresenceEntry]


def encode(replica: str, entries: Iterable[PresenceEntry], *, is_hello: bool) -> bytes:
    """Write a message: format, kind, replica, count, then per entry the session's number, its user and the entry.

    Args:
        replica: the owner of all entries.
        entries: with owners `(replica, number)`.
        is_hello: whether answers are asked for.
    """
    parts = []
    for entry in entries:
        assert isinstance(entry.owner, tuple)
        parts.append(write_varuint(entry.owner[1]))
        parts.append(b"\x00" if entry.user is None else b"\x01" + write_string(entry.user))
        parts.append(entry.encoded)
    head = bytes([FORMAT, HELLO if is_hello else STATES]) + write_string(replica) + write_varuint(len(parts) // 3)
    return head + b"".join(parts)


def decode(payload: bytes) -> RelayMessage:
    """Read what `encode` wrote; what a newer version adds behind the entries is skipped.

    Raises:
        WireError: it is not that.
    """
    if len(payload) < 2 or payload[0] != FORMAT or payload[1] > HELLO:
        raise WireError(
            f"presence of another replica begins with {payload[:2].hex()}; this Raffia reads format {FORMAT}"
        )
    replica, at = read_string(payload, 2, "replica")
    count, at = read_varuint(payload, at, "count of entries")
    if count > (len(payload) - at) // _MIN_ENTRY_BYTES:
        raise WireError(f"presence of another replica announces {count} entries but {len(payload) - at} bytes follow")
    entries = []
    for _ in range(count):
        number, at = read_varuint(payload, at, "session")
        has_user, at = read_varuint(payload, at, "user flag")
        user = None
        if has_user:
            user, at = read_string(payload, at, "user")
        start = at
        client, at = read_varuint(payload, at, "client id")
        clock, at = read_varuint(payload, at, "clock")
        state, at = read_buf(payload, at, "state")
        kept = None if state == NULL else state
        entries.append(PresenceEntry(client, clock, kept, payload[start:at], (replica, number), user, 0.0))
    return RelayMessage(payload[1] == HELLO, entries)


class Presence(Protocol):
    """The presence of one room on this replica."""

    def own(self) -> list[PresenceEntry]:
        """The present entries of this replica's sessions."""
        ...

    def take(self, entries: list[PresenceEntry]) -> None:
        """Take entries of another replica."""
        ...


class Relay:
    """The way of one room's presence to the other replicas and back.

    Args:
        document: which one.
        bus: the way.
        metrics: counts what is said and dropped.
        presence: what this replica knows.
    """

    __slots__ = ("_bus", "_document", "_handle", "_metrics", "_not_before_s", "_presence", "_waiting")

    def __init__(self, document: DocumentId, bus: Bus, metrics: Metrics, presence: Presence) -> None:
        self._document = document
        self._bus = bus
        self._metrics = metrics
        self._presence = presence
        self._waiting: dict[int, PresenceEntry] = {}
        self._handle: asyncio.TimerHandle | None = None
        self._not_before_s = 0.0
        bus.join(document, self)

    def tell(self, entries: Iterable[PresenceEntry]) -> None:
        """Tell the others what has changed here; entries of other replicas are left out (RLY1, RLY2)."""
        replica = self._bus.replica
        for entry in entries:
            if isinstance(entry.owner, tuple) and entry.owner[0] == replica:
                self._waiting[entry.client] = entry
            else:
                self._waiting.pop(entry.client, None)  # it has moved away meanwhile
        if not self._waiting or self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        pause_s = self._not_before_s - loop.time()
        if pause_s > 0:
            self._handle = loop.call_later(pause_s, self._send)
        else:
            self._send()

    def _send(self) -> None:
        self._handle = None
        waiting, self._waiting = self._waiting, {}
        if waiting:
            self._not_before_s = asyncio.get_running_loop().time() + PAUSE_S
            self._publish(waiting.values(), is_hello=False)

    def _publish(self, entries: Iterable[PresenceEntry], *, is_hello: bool) -> None:
        self._metrics.presence_relayed += 1
        self._bus.publish(self._document, encode(self._bus.replica, entries, is_hello=is_hello))

    def heard(self, payload: bytes) -> None:
        """Another replica said this (RLY4)."""
        try:
            said = decode(payload)
        except WireError as error:
            self._metrics.presence_unreadable += 1
            log.warning("presence of another replica dropped", document=self._document, detail=str(error))
            return
        if said.entries:
            self._presence.take(said.entries)
        if said.is_hello:
            own = self._presence.own()
            if own:
                self._publish(own, is_hello=False)

    def deny(self, removals: Iterable[PresenceEntry]) -> None:
        """Tell the others what is removed here although they think otherwise (RLY5)."""
        nobody = (self._bus.replica, NOBODY)
        self._publish([entry._replace(owner=nobody, user=None) for entry in removals], is_hello=False)

    def connected(self) -> None:
        """From here on others are heard (RLY3)."""
        self._publish(self._presence.own(), is_hello=True)

    def close(self) -> None:
        """Say what is still to be said, and hear no more."""
        if self._handle is not None:
            self._handle.cancel()
            self._send()
        self._bus.leave(self._document)
