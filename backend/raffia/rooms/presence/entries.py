"""Value types of the presence table: its entries, its limits, and the result of a message."""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from raffia.wire.awareness import MAX_ENTRIES, MAX_STATE_BYTES, RawEntry, write_entry
from raffia.wire.lib0 import write_varuint

Owner = Hashable


@dataclass(frozen=True, slots=True)
class PresenceLimits:
    """The limits of one room's presence.

    Attributes:
        max_state_bytes: size of one state's JSON.
        max_entries: states in one message; a client that joins sends back all states that it was sent.
        max_message_bytes: size of one message.
        max_states: ids that are present in the room.
        max_room_bytes: total size of the present states.
        max_ids_per_owner: ids that one session may own (tabs and bridges own more than one).
        max_clock_step: how far one message may move a clock.
        max_gone: how many removed ids are remembered.
        gone_s: how long they are remembered, seconds.
        expiry_s: how long a state stays without being renewed, seconds; owners renew every 15 s.
    """

    max_state_bytes: int = MAX_STATE_BYTES
    max_entries: int = MAX_ENTRIES
    max_message_bytes: int = 16 * 1024 * 1024
    max_states: int = 10_000
    max_room_bytes: int = 16 * 1024 * 1024
    max_ids_per_owner: int = 256
    max_clock_step: int = 1 << 20
    max_gone: int = 4096
    gone_s: float = 300.0
    expiry_s: float = 30.0


class PresenceEntry(NamedTuple):
    """What is known about one client id.

    Attributes:
        client: the client id.
        clock: its clock.
        state: its state as JSON; None if removed.
        encoded: the bytes of the entry in a payload.
        owner: the session that sent it.
        user: the owner's user; None if anonymous.
        seen_s: when it was last renewed.
        said: the highest clock that the owner itself has sent; `clock` is above it after the server raised it (P11).
        changed_s: when `clock` last grew.
        raised, raised_clock: the state that the server last announced by itself, and its clock then; None and 0 when it
            did not, or when the owner is past it.
    """

    client: int
    clock: int
    state: bytes | None
    encoded: bytes
    owner: Owner
    user: str | None
    seen_s: float
    said: int = 0
    changed_s: float = 0.0
    raised: bytes | None = None
    raised_clock: int = 0


class Applied(NamedTuple):
    """The result of a message.

    Attributes:
        entries: news, to be broadcast and relayed to other replicas; `take_dirty` returns them too.
        answers: from `apply`, entries to send to the sender only (P5); from `merge`, removals that did not come from
            the owner: if the owner is local, its state must be raised above them (P10).
        moved: entries with the same state and a new owner, to be relayed to other replicas but not to clients (P4).
        stale: how many entries were not newer.
        refused: how many entries were refused, by reason (foreign, clock, full, too-large); a whole message is one.
        gone: from `merge`, removals to publish to other replicas (P10).
        late: from `apply`, news that came faster than the session may send, unread; the latest may be sent later (P8).
    """

    entries: list[PresenceEntry]
    answers: list[PresenceEntry]
    moved: list[PresenceEntry]
    stale: int
    refused: Mapping[str, int]
    gone: Sequence[PresenceEntry] = ()
    late: Sequence[RawEntry] = ()

    @property
    def reply(self) -> bytes | None:
        """The answers as a payload for the sender; None if there are none."""
        return encode(self.answers) if self.answers else None

    @property
    def dropped(self) -> int:
        """The sum of `refused`; stale entries, which all clients send, do not count."""
        return sum(self.refused.values()) if self.refused else 0


def make_entry(client: int, clock: int, state: bytes | None, owner: Owner, user: str | None = None) -> PresenceEntry:
    """Make an entry as it arrives from another replica (P10); `merge` sets `seen_s`."""
    return PresenceEntry(client, clock, state, write_entry(client, clock, state), owner, user, 0.0)


def encode(entries: Iterable[PresenceEntry]) -> bytes:
    """The awareness payload of these entries."""
    parts = [entry.encoded for entry in entries]
    return write_varuint(len(parts)) + b"".join(parts)
