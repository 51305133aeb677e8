"""Presence of one document, relayed between replicas.

Rules (tests quote these ids):
    RLY1  A replica publishes only its own sessions' states and never forwards those of others, so the number of
          messages does not grow with the number of replicas.
    RLY2  Messages are at least `PAUSE_S` apart; between them, only the latest entry of each id is kept.
    RLY3  A replica that connects to the others, for the first time or again, publishes a hello with all its states. The
          others answer with theirs.
    RLY4  A message that cannot be read is dropped and counted, with no other effect: it may come from another version.
    RLY5  If a state arrives that was removed here, the removal is published without an owner, so that the replica of
          its session announces the state above the removal (P10).
    RLY6  A request to end sessions is sent once. A version that does not know it drops it (RLY4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import NamedTuple, Protocol

from raffia.errors import WireError
from raffia.journal.bus import Bus
from raffia.rooms.presence.entries import PresenceEntry
from raffia.runtime.logs import get_logger
from raffia.runtime.metrics import Metrics
from raffia.types import DocumentId
from raffia.wire.awareness import NULL
from raffia.wire.lib0 import read_buf, read_string, read_varuint, write_string, write_varuint

log = get_logger("raffia.rooms.presence.relay")

FORMAT = 1
STATES, HELLO, END = 0, 1, 2
NOBODY = 0  # sessions count from 1
PAUSE_S = 0.03  # short enough for cursors to move smoothly
_MIN_ENTRY_BYTES = 5


class RelayMessage(NamedTuple):
    """One message; a hello asks for an answer."""

    is_hello: bool
    entries: list[PresenceEntry]


def encode(replica: str, entries: Iterable[PresenceEntry], *, is_hello: bool) -> bytes:
    """Write a message: format, kind, replica, count; then for each entry the session's number, its user and the entry.

    Args:
        replica: the replica of all owners.
        entries: entries with owners `(replica, number)`.
        is_hello: whether to ask for answers.
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
    """Read a message; anything after the entries, which a newer version may add, is ignored.

    Raises:
        WireError: the bytes are not a message of this format.
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


def encode_end(user: str | None, reason: str) -> bytes:
    """Write a request to end sessions: format, kind, the user if it is about one, the reason."""
    about = b"\x00" if user is None else b"\x01" + write_string(user)
    return bytes([FORMAT, END]) + about + write_string(reason)


def decode_end(payload: bytes) -> tuple[str | None, str]:
    """Read the user and the reason of a request to end sessions.

    Raises:
        WireError: the bytes are not one.
    """
    has_user, at = read_varuint(payload, 2, "user flag")
    user = None
    if has_user:
        user, at = read_string(payload, at, "user")
    reason, _ = read_string(payload, at, "reason")
    return user, reason


class Presence(Protocol):
    """The presence states of one room on this replica."""

    def own(self) -> list[PresenceEntry]:
        """The entries of this replica's sessions that are present."""
        ...

    def take(self, entries: list[PresenceEntry]) -> None:
        """Take entries from another replica."""
        ...

    def end(self, user: str | None, reason: str) -> None:
        """End the sessions of a user, or everyone's (None), because another replica asks for it."""
        ...


class Relay:
    """Relays one room's presence to other replicas, and theirs to it.

    Args:
        document: the document's name.
        bus: carries messages between replicas.
        metrics: counts published and dropped messages.
        presence: the room's presence.
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
        """Publish changed entries; those of other replicas are left out (RLY1, RLY2)."""
        replica = self._bus.replica
        for entry in entries:
            if isinstance(entry.owner, tuple) and entry.owner[0] == replica:
                self._waiting[entry.client] = entry
            else:
                self._waiting.pop(entry.client, None)  # the id has moved to another replica meanwhile
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
        """Handle a message from another replica (RLY4)."""
        try:
            if payload[:2] == bytes([FORMAT, END]):
                self._presence.end(*decode_end(payload))
                return
            message = decode(payload)
        except WireError as error:
            self._metrics.presence_unreadable += 1
            log.warning("presence of another replica dropped", document=self._document, detail=str(error))
            return
        if message.entries:
            self._presence.take(message.entries)
        if message.is_hello:
            own = self._presence.own()
            if own:
                self._publish(own, is_hello=False)

    def end(self, user: str | None, reason: str) -> None:
        """Publish a request to end sessions (RLY6)."""
        self._bus.publish(self._document, encode_end(user, reason))

    def deny(self, removals: Iterable[PresenceEntry]) -> None:
        """Publish removals of states that other replicas still hold (RLY5)."""
        nobody = (self._bus.replica, NOBODY)
        self._publish([entry._replace(owner=nobody, user=None) for entry in removals], is_hello=False)

    def connected(self) -> None:
        """Publish a hello: messages from other replicas arrive from now on (RLY3)."""
        self._publish(self._presence.own(), is_hello=True)

    def close(self) -> None:
        """Publish pending entries, and unsubscribe."""
        if self._handle is not None:
            self._handle.cancel()
            self._send()
        self._bus.leave(self._document)
