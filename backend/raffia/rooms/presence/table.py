"""The presence states of one room, without any I/O; they are never stored.

Times are `now_s`, seconds of any monotonic clock. An *owner* is a hashable value that identifies the session (and its
replica) that sent the latest state of a client id.

Rules (tests quote these ids):
    P1  A state is applied if its clock is above the known one; an unknown id is accepted at any clock, including 0. A
        removal (null) is applied at the known clock or above, for ids that are present. Everything else is stale and,
        except for P4, P5, P10 and P11, dropped silently, because clients send back every state that they receive.
    P2  A message that cannot be read has no effect. What is too large (a state, the number of states, the message) is
        dropped and counted, a whole message as one; the session continues, and the known states stay.
    P3  A session speaks only for ids that it owns. It becomes the owner of an id by being the first to announce it, or
        by P4. Its states and removals of other ids are dropped silently and counted as foreign: a slow client whose
        copy has expired must not remove a user for everyone.
    P4  If a session's first message has one state, that id is the session's *home*. It takes its home over from
        another session of the same user: a half-open socket, or another tab that announced it first. It may do so
        at the known clock, because that is the clock that a reconnecting client announces; nothing is broadcast then,
        and the entry is reported in `moved`. Because a removal needs the owner, the late end of the old socket removes
        nothing.
    P5  A removed id keeps its last clock and user, for `gone_s` and for up to `max_gone` ids; until it is forgotten,
        only the same user may announce it again. A reconnecting client announces the clock it had, which its peers know
        and would ignore until it renews. So its home state is *raised* to the known clock + 1, for everyone; the client
        receives that too and continues from there, and what it sends before that is raised once more. A state for a
        removed id that is not the home is answered with `{id, known clock, null}`: a client that only echoes the id
        forgets it. (That answer would do for the home as well, but Hocuspocus provider 4.8 does not announce itself
        again after it.)
    P6  Clocks stay below 2^31 (other implementations use 32 bits) and move by at most `max_clock_step`.
    P7  A state that is not renewed within `expiry_s` is removed. When an owner leaves, all its ids are removed.
    P8  Only news counts against a session's rate, because clients send back what they receive, as fast as others send
        it. While a session is over its rate (`may_speak` false), its news is reported in `late`, unread, and not
        applied; its removals are. Ids per owner, and states and bytes per room, are bounded; what does not fit is
        refused and counted as full.
    P9  Between two flushes only the latest entry of each id is kept. A message whose bytes equal a recent flush is an
        echo, and stale as a whole.
    P10 Entries of other replicas come with their owners and were judged there: the newer clock wins, and a removal
        counts only from the owner. If a removal arrives for a state that has moved here, the state is announced again
        above the removal (`raise_above`): the removal may have arrived first elsewhere, and a Hocuspocus provider that
        receives it does not announce itself again. If a state arrives for an id that is removed here, at its last clock
        or below, the removal is reported back (`gone`): that replica did not know of it, and raises the state. Sessions
        of other replicas are remembered only while they own an id.
    P11 A state may be announced at a clock above the one that its owner knows (P5, P10, P12, P13). Until the owner has
        received that, what it sends above its own last clock (`said`) is news and is raised once more, and its removal
        counts; the state that was announced for it is an echo.
    P12 A client whose socket closes forgets the states of others but keeps their clocks, and ignores states at these
        clocks until their owners renew. So when a home id returns (it was removed, or moved here from another session),
        the states that have not changed since are announced again, one clock higher, each by the replica of its
        session. After a restart it is unknown who returns. Until `fresh_until_s`, a client that joins others with a
        clock above 0 may be returning, so its state is raised, as are earlier states that have not been raised yet.
    P13 A background tab renews its state only once a minute, but its socket answers. `quiet` lists the home states that
        were not renewed in time, and `renew` announces one again for its owner.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from math import inf
from types import MappingProxyType
from typing import Any, NamedTuple

from raffia.errors import PresenceError, TooLargeError
from raffia.rooms.presence.entries import Applied, Owner, PresenceEntry, PresenceLimits, encode
from raffia.wire.awareness import (
    NULL,
    RawEntry,
    check_state,
    read_entries,
    write_entry,
)
from raffia.wire.lib0 import write_varuint

Stamp = Callable[[Owner, dict[str, Any]], object | None]
"""Takes an owner and its state and returns the value for the state's `user` field; None leaves the state unchanged."""

MAX_CLOCK = (1 << 31) - 1
_ECHO_SLOTS = 64  # recent flushes that are recognised as echoes (P9)
_ECHO_BYTES = 16 * 1024


_NONE_REFUSED: Mapping[str, int] = MappingProxyType({})
_TOO_LARGE = Applied([], [], [], 0, MappingProxyType({"too-large": 1}))  # a whole message


class _Gone(NamedTuple):
    clock: int
    user: str | None
    at_s: float
    encoded: bytes
    owner: Owner


class _Speaker:
    """A session that has announced states: its home id (None for other replicas' sessions) and the ids that it owns."""

    __slots__ = ("home", "ids", "is_remote")

    def __init__(self, home: int | None, *, is_remote: bool = False) -> None:
        self.home = home
        self.ids: set[int] = set()
        self.is_remote = is_remote


def _home(raw: list[RawEntry]) -> int | None:
    """The home id of a session whose first message contains these entries (P4)."""
    return raw[0][0] if len(raw) == 1 and raw[0][2] != NULL else None


def _is_echo(known: PresenceEntry, clock: int, owner: Owner) -> bool:
    """Whether a state of a present id that is not the sender's home is no news, such as one that is sent back."""
    return clock <= known.clock and (clock <= known.said or known.owner != owner)


def _at_clock(entry: PresenceEntry, clock: int) -> PresenceEntry:
    """The same state at another clock."""
    assert entry.state is not None
    return entry._replace(clock=clock, encoded=write_entry(entry.client, clock, entry.state))


class PresenceTable:
    """The presence states of one room.

    Args:
        limits: the bounds.
        stamp: sets the `user` field of states; None leaves the field to the clients.
        fresh_until_s: until when it is not known who returns (P12).
    """

    __slots__ = (
        "_bytes",
        "_dirty",
        "_echoes",
        "_fresh_until_s",
        "_gone",
        "_limits",
        "_live",
        "_returned_at",
        "_snapshot",
        "_speakers",
        "_stamp",
        "_unraised",
    )

    def __init__(
        self, limits: PresenceLimits | None = None, *, stamp: Stamp | None = None, fresh_until_s: float = -inf
    ) -> None:
        self._limits = limits or PresenceLimits()
        self._fresh_until_s = fresh_until_s
        self._unraised: set[int] = set()  # ids of this replica that were announced before anybody else (P12)
        self._returned_at: dict[int, float] = {}  # ids that have returned, and since when they may have missed changes
        self._stamp = stamp
        self._live: dict[int, PresenceEntry] = {}
        self._gone: OrderedDict[int, _Gone] = OrderedDict()  # oldest first
        self._speakers: dict[Owner, _Speaker] = {}
        self._dirty: dict[int, PresenceEntry] = {}
        self._echoes: OrderedDict[bytes, None] = OrderedDict()
        self._snapshot: bytes | None = None
        self._bytes = 0

    def __len__(self) -> int:
        """How many ids are present."""
        return len(self._live)

    @property
    def is_dirty(self) -> bool:
        """Whether `take_dirty` would return a payload."""
        return bool(self._dirty)

    @property
    def dirty(self) -> list[PresenceEntry]:
        """The entries that `take_dirty` would return."""
        return list(self._dirty.values())

    @property
    def size_bytes(self) -> int:
        """Total size of the present states, in bytes."""
        return self._bytes

    @property
    def gone_count(self) -> int:
        """How many removed ids are remembered."""
        return len(self._gone)

    def present(self) -> list[PresenceEntry]:
        """The entries of all ids that are present."""
        return list(self._live.values())

    def get(self, client: int) -> PresenceEntry | None:
        """The entry of a client id, if it is present."""
        return self._live.get(client)

    def has_user(self, user: str, since_s: float) -> bool:
        """Whether a user is present, or has been since `since_s`."""
        if any(entry.user == user for entry in self._live.values()):
            return True
        return any(gone.user == user and gone.at_s >= since_s for gone in self._gone.values())

    def user_of(self, client: int, since_s: float) -> str | None:
        """The user who is present under a client id, or was since `since_s`."""
        known = self._live.get(client)
        if known is not None:
            return known.user
        gone = self._gone.get(client)
        return gone.user if gone is not None and gone.at_s >= since_s else None

    def owned_by(self, owner: Owner) -> frozenset[int]:
        """The client ids that an owner owns."""
        speaker = self._speakers.get(owner)
        return frozenset() if speaker is None else frozenset(speaker.ids)

    def owned_by_all(self, owners: Iterable[Owner]) -> list[PresenceEntry]:
        """The present entries of some owners."""
        speakers = (self._speakers.get(owner) for owner in owners)
        return [self._live[client] for speaker in speakers if speaker is not None for client in speaker.ids]

    # -- messages of sessions ----------------------------------------------------------------------------------------

    def apply(
        self, payload: bytes, owner: Owner, now_s: float, *, user: str | None = None, may_speak: bool = True
    ) -> Applied:
        """Take an awareness message from a session of this replica (P1-P6, P8, P9).

        Args:
            payload: the message's payload, as `raffia.wire` returns it.
            owner: the session.
            now_s: the time.
            user: the session's user, for P4 and P5.
            may_speak: whether the session is within its rate; charge it for each message that brought news.

        Raises:
            PresenceError: the message cannot be read; nothing was applied (closes 4400).
        """
        speaker = self._speakers.get(owner)
        if speaker is not None and payload in self._echoes:
            return Applied([], [], [], 1, _NONE_REFUSED)
        limits = self._limits
        if len(payload) > limits.max_message_bytes:
            return _TOO_LARGE
        try:
            raw = read_entries(payload, max_entries=limits.max_entries, max_state_bytes=limits.max_state_bytes)
        except TooLargeError:
            return _TOO_LARGE
        if may_speak:
            home = speaker.home if speaker is not None else _home(raw)
            raw = self._checked(raw, owner, home)
        if speaker is None:
            if not raw:
                return Applied([], [], [], 0, _NONE_REFUSED)
            speaker = self._speakers[owner] = _Speaker(_home(raw))
        result = Applied([], [], [], 0, _NONE_REFUSED)
        refused: dict[str, int] = {}
        late: list[RawEntry] = []
        stale = 0
        for client, clock, state, encoded in raw:
            if state is None:
                refused["too-large"] = refused.get("too-large", 0) + 1
                continue
            known = self._live.get(client)
            if known is not None and state != NULL and _is_echo(known, clock, owner) and client != speaker.home:
                stale += 1  # as most entries are
                continue
            if not may_speak and state != NULL and (known is None or state != known.state or clock > known.clock):
                if known is None or known.owner == owner or client == speaker.home:
                    late.append((client, clock, state, encoded))
                else:
                    refused["foreign"] = refused.get("foreign", 0) + 1
                continue
            kept = None if state == NULL else state
            entry = PresenceEntry(client, clock, kept, encoded, owner, user, now_s, clock, now_s)
            reason = self._judge(entry, known, speaker, result)
            if reason == "stale":
                stale += 1
            elif reason is not None:
                refused[reason] = refused.get(reason, 0) + 1
        return result._replace(stale=stale, refused=refused, late=late) if stale or refused or late else result

    def _checked(self, raw: list[RawEntry], owner: Owner, home: int | None) -> list[RawEntry]:
        """Check the JSON of possible news before anything is applied (P2), and stamp it."""
        live = self._live
        for index, (client, clock, state, _) in enumerate(raw):
            known = live.get(client)
            if state is None or state == NULL:
                continue
            if known is not None and client != home and _is_echo(known, clock, owner):
                continue
            value = check_state(state)
            if self._stamp is not None and (user := self._stamp(owner, value)) is not None:
                value["user"] = user
                try:
                    stamped = json.dumps(value, allow_nan=False, separators=(",", ":")).encode()
                except ValueError:
                    raise PresenceError("presence state holds a number that is too large for JSON") from None
                raw[index] = (client, clock, stamped, write_entry(client, clock, stamped))
        return raw

    def _judge(
        self, entry: PresenceEntry, known: PresenceEntry | None, speaker: _Speaker, result: Applied
    ) -> str | None:
        """Apply one entry of a session; returns None, "stale", or the reason why it is refused."""
        if known is None:
            return self._judge_absent(entry, speaker, result)
        owns = known.owner == entry.owner
        # Only the home id moves between sessions, and only between sessions of one user (P4).
        speaks = owns or (entry.client == speaker.home and known.user == entry.user)
        if owns and entry.clock <= known.clock:
            if entry.state is None and entry.clock > known.said:
                entry = entry._replace(clock=known.clock)  # removed before it heard that it was raised (P11)
            elif entry.state is not None and self._is_known(entry, known):
                return "stale"
        ahead = entry.clock - known.clock
        if speaks and self._must_be_raised(entry, known, ahead, owns=owns, is_home=entry.client == speaker.home):
            if known.clock >= MAX_CLOCK:
                return "clock"
            entry, ahead = _at_clock(entry, known.clock + 1), 1
        if owns and entry.said <= known.raised_clock:
            entry = entry._replace(raised=known.raised, raised_clock=known.raised_clock)
        if ahead < 0 or (ahead == 0 and (owns or not speaks) and entry.state is not None):
            return "stale"
        if not speaks:
            return "foreign"
        # Steps count from the clock that the sender knows, so raising a state gives its owner no longer one.
        if entry.said - known.said > self._limits.max_clock_step or entry.clock > MAX_CLOCK:
            return "clock"
        if entry.state is None:
            result.entries.append(self._remove(known, entry.clock, entry.seen_s))
        elif ahead == 0:
            moved = known._replace(owner=entry.owner, seen_s=entry.seen_s, said=entry.clock)
            self._put(moved, known, speaker)
            result.moved.append(moved)
            self._note_return(entry.client, entry.seen_s)
        else:
            if self._bytes + len(entry.encoded) - len(known.encoded) > self._limits.max_room_bytes:
                return "full"
            self._put(entry, known, speaker)
            self._mark(entry)
            result.entries.append(entry)
            if self._unraised:
                self._unraised.discard(entry.client)  # its clock is new to everyone
            if not owns:
                self._note_return(entry.client, entry.seen_s)
        return None

    def _is_known(self, entry: PresenceEntry, known: PresenceEntry) -> bool:
        """Whether an owner's state, not above the known clock, is one that has already been announced (P11)."""
        was_raised = entry.clock <= known.raised_clock and entry.state == known.raised
        if entry.state != known.state and not was_raised:
            return False
        if entry.clock > known.said:
            self._live[entry.client] = known._replace(said=entry.clock, seen_s=entry.seen_s)
        return True

    @staticmethod
    def _must_be_raised(entry: PresenceEntry, known: PresenceEntry, ahead: int, *, owns: bool, is_home: bool) -> bool:
        """Whether a state is news although its clock is not above the known one (P5, P11)."""
        if entry.state is None or ahead > 0:
            return False
        if owns:
            return entry.clock > known.said or (is_home and ahead == 0)
        return is_home and (ahead < 0 or entry.state != known.state)

    def _judge_absent(self, entry: PresenceEntry, speaker: _Speaker, result: Applied) -> str | None:
        if entry.state is None:
            return "stale"
        gone = self._gone.get(entry.client)
        limits = self._limits
        if gone is not None:
            if gone.user is not None and gone.user != entry.user:
                return "foreign"
            if entry.clock <= gone.clock:
                if entry.client != speaker.home:
                    result.answers.append(entry._replace(clock=gone.clock, state=None, encoded=gone.encoded))
                    return None
                entry = _at_clock(entry, gone.clock + 1)
            if entry.clock - gone.clock > limits.max_clock_step:
                return "clock"
        elif entry.client == speaker.home and entry.clock > 0 and entry.seen_s < self._fresh_until_s:
            if self._live:
                entry = _at_clock(entry, entry.clock + 1)
                self._raise_unraised(entry.seen_s)
            else:
                self._unraised.add(entry.client)
        if entry.clock > MAX_CLOCK:
            return "clock"
        if (
            len(self._live) >= limits.max_states
            or len(speaker.ids) >= limits.max_ids_per_owner
            or self._bytes + len(entry.encoded) > limits.max_room_bytes
        ):
            return "full"
        if gone is not None and gone.owner != entry.owner and entry.client == speaker.home:
            self._note_return(entry.client, gone.at_s)
        self._put(entry, None, speaker)
        self._mark(entry)
        result.entries.append(entry)
        return None

    # -- messages of other replicas ----------------------------------------------------------------------------------

    def merge(self, entries: Iterable[PresenceEntry], now_s: float) -> Applied:
        """Take entries that another replica has accepted (P10); their JSON is not checked again."""
        result = Applied([], [], [], 0, _NONE_REFUSED)
        removed: list[PresenceEntry] = []
        stale = foreign = 0
        for incoming in entries:
            entry = incoming._replace(seen_s=now_s, said=incoming.clock, changed_s=now_s)
            known = self._live.get(entry.client)
            gone = self._gone.get(entry.client)
            if known is not None and entry.state is None and entry.clock >= known.clock:
                if known.owner == entry.owner:
                    result.entries.append(self._remove(known, entry.clock, now_s))
                else:
                    result.answers.append(self._removal(known, entry.clock))
                    foreign += 1
            elif entry.state is None:
                stale += 1
            elif gone is not None and entry.clock <= gone.clock:
                stale += 1
                removed.append(entry._replace(clock=gone.clock, state=None, encoded=gone.encoded))
            elif known is None or entry.clock > known.clock:
                if known is not None and known.owner != entry.owner:
                    self._note_return(entry.client, now_s)
                elif gone is not None and gone.owner != entry.owner:
                    self._note_return(entry.client, gone.at_s)
                elif known is None and now_s < self._fresh_until_s:
                    self._raise_unraised(now_s)
                self._put(entry, known, self._speaker(entry.owner))
                self._mark(entry)
                result.entries.append(entry)
            elif entry.clock == known.clock and entry.owner != known.owner:
                self._put(entry, known, self._speaker(entry.owner))
                self._note_return(entry.client, now_s)
            else:
                stale += 1
        refused = {"foreign": foreign} if foreign else _NONE_REFUSED
        return result._replace(stale=stale, refused=refused, gone=removed)

    def _speaker(self, owner: Owner) -> _Speaker:
        speaker = self._speakers.get(owner)
        if speaker is None:
            speaker = self._speakers[owner] = _Speaker(None, is_remote=True)
        return speaker

    # -- announcing states again -------------------------------------------------------------------------------------

    def raise_above(self, client: int, clock: int, now_s: float) -> None:
        """Announce a present state again, above a clock at which other replicas may have removed it (P10)."""
        known = self._live.get(client)
        if known is not None:
            self._raise(known, max(clock, known.clock), now_s)

    def _raise(self, known: PresenceEntry, clock: int, now_s: float) -> None:
        if clock >= MAX_CLOCK:
            return
        above = _at_clock(known, clock + 1)
        raised = above._replace(changed_s=now_s, raised=known.state, raised_clock=clock + 1)
        self._put(raised, known, self._speakers[known.owner])
        self._mark(raised)

    def _raise_unraised(self, now_s: float) -> None:
        for client in self._unraised:
            self.raise_above(client, 0, now_s)
        self._unraised.clear()

    def _note_return(self, client: int, since_s: float) -> None:
        self._returned_at[client] = since_s
        if len(self._returned_at) > self._limits.max_gone:
            del self._returned_at[next(iter(self._returned_at))]

    @property
    def has_returned(self) -> bool:
        """Whether a client has returned since the last `raise_unchanged` (P12)."""
        return bool(self._returned_at)

    def raise_unchanged(self, now_s: float) -> int:
        """Announce this replica's states that those who have returned would ignore; returns how many (P12)."""
        returned, self._returned_at = self._returned_at, {}
        speakers, latest_s = self._speakers, max(returned.values(), default=-inf)
        unchanged = []
        for entry in self._live.values():
            if entry.changed_s > latest_s or speakers[entry.owner].is_remote:
                continue
            if entry.client not in returned or any(
                entry.changed_s <= since_s for client, since_s in returned.items() if client != entry.client
            ):
                unchanged.append(entry)
        for entry in unchanged:
            self._raise(entry, entry.clock, now_s)
        return len(unchanged)

    def quiet(self, since_s: float) -> list[PresenceEntry]:
        """The home states of this replica's sessions that were not renewed since then (P13)."""
        speakers = self._speakers
        return [e for e in self._live.values() if e.seen_s < since_s and speakers[e.owner].home == e.client]

    def renew(self, client: int, now_s: float) -> None:
        """Announce a present state again for its owner, who is there (P13)."""
        known = self._live.get(client)
        if known is not None:
            self._raise(known._replace(seen_s=now_s), known.clock, now_s)

    # -- leaving -----------------------------------------------------------------------------------------------------

    def remove_owner(self, owner: Owner, now_s: float) -> list[PresenceEntry]:
        """Remove all states of a session that has ended; returns the removals to broadcast (P7)."""
        speaker = self._speakers.pop(owner, None)
        if speaker is None:
            return []
        live = self._live
        return [self._remove(live[client], live[client].clock, now_s) for client in sorted(speaker.ids)]

    def remove_where(self, leaves: Callable[[Owner], bool], now_s: float) -> list[PresenceEntry]:
        """Remove all states of the owners for which `leaves` is true; returns the removals to broadcast (P7)."""
        owners = [owner for owner in self._speakers if leaves(owner)]
        return [entry for owner in owners for entry in self.remove_owner(owner, now_s)]

    def expire(self, now_s: float) -> list[PresenceEntry]:
        """Remove states that were not renewed in time and forget old removals; returns the new ones (P5, P7)."""
        before_s = now_s - self._limits.expiry_s
        late = [entry for entry in self._live.values() if entry.seen_s < before_s]
        removals = [self._remove(entry, entry.clock, now_s) for entry in late]
        while self._gone and next(iter(self._gone.values())).at_s < now_s - self._limits.gone_s:
            self._gone.popitem(last=False)
        return removals

    # -- broadcasts --------------------------------------------------------------------------------------------------

    def take_dirty_entries(self) -> list[PresenceEntry]:
        """Take the latest entry of each id that has changed since the last take, removals included (P9)."""
        dirty, self._dirty = self._dirty, {}
        return list(dirty.values())

    def take_dirty(self) -> bytes | None:
        """Like `take_dirty_entries`, as a payload to broadcast; None when nothing has changed."""
        if not self._dirty:
            return None
        payload = encode(self.take_dirty_entries())
        if len(payload) <= _ECHO_BYTES:
            self._echoes[payload] = None
            if len(self._echoes) > _ECHO_SLOTS:
                self._echoes.popitem(last=False)
        return payload

    def snapshot(self, *, gone_since_s: float | None = None) -> bytes | None:
        """The payload of all present states, for a newcomer; None when there are none.

        Args:
            gone_since_s: include the removals since then, for a reader that has missed messages.
        """
        if gone_since_s is not None:
            parts = [entry.encoded for entry in self._live.values()]
            parts += [gone.encoded for gone in self._gone.values() if gone.at_s >= gone_since_s]
            return write_varuint(len(parts)) + b"".join(parts) if parts else None
        if self._snapshot is None and self._live:
            self._snapshot = encode(self._live.values())
        return self._snapshot

    # -- the only writers of the table -------------------------------------------------------------------------------

    def _put(self, entry: PresenceEntry, known: PresenceEntry | None, speaker: _Speaker) -> None:
        if known is None:
            self._gone.pop(entry.client, None)
            self._bytes += len(entry.encoded)
            speaker.ids.add(entry.client)
        else:
            self._bytes += len(entry.encoded) - len(known.encoded)
            if known.owner != entry.owner:
                speaker.ids.add(entry.client)
                self._disown(known)
        self._live[entry.client] = entry
        self._snapshot = None

    def _remove(self, known: PresenceEntry, clock: int, now_s: float) -> PresenceEntry:
        client = known.client
        removal = self._removal(known, clock)
        del self._live[client]
        self._bytes -= len(known.encoded)
        self._snapshot = None
        self._disown(known)
        self._gone[client] = _Gone(clock, known.user, now_s, removal.encoded, known.owner)
        self._unraised.discard(client)
        if len(self._gone) > self._limits.max_gone:
            self._gone.popitem(last=False)
        self._echoes.clear()  # a state for a removed id is not stale but answered (P5)
        self._mark(removal)
        return removal

    def _disown(self, known: PresenceEntry) -> None:
        speaker = self._speakers.get(known.owner)
        if speaker is not None:
            speaker.ids.discard(known.client)
            if speaker.is_remote and not speaker.ids:
                del self._speakers[known.owner]  # its replica does not report when it ends

    def _removal(self, known: PresenceEntry, clock: int) -> PresenceEntry:
        return known._replace(clock=clock, state=None, encoded=write_entry(known.client, clock, None))

    def _mark(self, entry: PresenceEntry) -> None:
        self._dirty[entry.client] = entry
