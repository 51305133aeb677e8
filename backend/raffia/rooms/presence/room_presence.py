"""A room's presence: from its sessions and other replicas into the table, and back to them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from time import monotonic

from raffia.errors import PresenceError
from raffia.rooms.context import RoomContext
from raffia.rooms.presence.entries import Owner, PresenceEntry, PresenceLimits, encode
from raffia.rooms.presence.late_states import LateStates
from raffia.rooms.presence.relay import Relay
from raffia.rooms.presence.table import PresenceTable
from raffia.rooms.session import Session, presence_body
from raffia.runtime.logs import get_logger

log = get_logger("raffia.rooms.presence.room_presence")

FRESH_S = 60.0  # clients that lost their server are back within this time
# Announcing all states again costs as much as when all clients renew, which they do every 15 s anyway.
WELCOME_PAUSE_S = 0.005  # for each state, between two times
MAX_WELCOME_PAUSE_S = 5.0
# Owners renew after 15 to 18 s, and peers drop a state after 30 s. Rooms look every 5 s.
PROBE_S = 17.0  # a client that has not renewed for so long is asked for a sign of life
RENEW_S = 20.0  # after so long its state is renewed for it, if it gave one


def _ignore(*_what: object) -> None:
    """No-op callback until the room subscribes."""


class RoomPresence:
    """Presence of one document on this replica.

    Attributes:
        table: the presence states.
        broadcasts: how many times changes were broadcast to the readers.
        on_change: called when there are changes to flush.
        on_end: called when another replica asks to end the sessions of a user, or everyone's (None), with a reason.
    """

    def __init__(self, context: RoomContext) -> None:
        services = context.services
        self._max_state_bytes = services.settings.max_presence_bytes
        limits = PresenceLimits(max_state_bytes=self._max_state_bytes)
        self.table = PresenceTable(limits, fresh_until_s=monotonic() + FRESH_S)
        self._welcome_handle: asyncio.TimerHandle | None = None
        self._probed: set[Owner] = set()  # the sessions whose clients were asked for a sign of life
        self._welcome_not_before_s = 0.0
        self._late = LateStates(max_ids=limits.max_ids_per_owner, max_bytes=limits.max_room_bytes)
        self._late_handle: asyncio.TimerHandle | None = None
        self.broadcasts = 0
        self._metrics = services.metrics
        self._fanout = context.fanout
        self._clients = context.clients
        self.on_change: Callable[[], None] = _ignore
        self.on_end: Callable[[str | None, str], object] = _ignore
        self._relay: Relay | None = None
        if services.bus is not None:
            self._relay = Relay(context.document_id, services.bus, services.metrics, self)

    def receive(self, session: Session, payload: bytes) -> None:
        """Take a presence message from a session.

        Raises:
            PresenceError: the message cannot be read (closes 4400).
        """
        self._metrics.presence_in += 1
        now_s = monotonic()
        # Clients send back all states that they receive, so only news counts against the rate.
        self._apply(session, payload, now_s, may_speak=session.presence_rate.has(now_s))

    def _apply(self, session: Session, payload: bytes, now_s: float, *, may_speak: bool) -> None:
        applied = self.table.apply(payload, session.owner, now_s, user=session.grant.user, may_speak=may_speak)
        if applied.entries:
            if may_speak:  # removals are taken over the rate too
                session.presence_rate.take(now_s)
            if self._late:
                self._late.forget(session.owner, [entry.client for entry in applied.entries])
        if applied.refused:
            self._refused(session, applied.refused, len(payload))
        if applied.late:
            self._metrics.presence_dropped += self._late.keep(session.owner, applied.late)
            self._schedule_late(session.presence_rate.wait_s(now_s))
        if applied.answers:
            self._fanout.send(session, session.prefix + presence_body(encode(applied.answers)))
        if applied.moved and self._relay is not None:
            self._relay.tell(applied.moved)
        if applied.entries:
            self.on_change()
        self._welcome(now_s)

    # -- those who return --------------------------------------------------------------------------------------------

    def _welcome(self, now_s: float) -> None:
        """Announce states again if a returning client would ignore them (P12)."""
        if self.table.has_returned and self._welcome_handle is None:
            wait_s = self._welcome_not_before_s - now_s
            if wait_s > 0:
                self._welcome_handle = asyncio.get_running_loop().call_later(wait_s, self._raise_unchanged)
            else:
                self._raise_unchanged()

    def _raise_unchanged(self) -> None:
        self._welcome_handle = None
        now_s = monotonic()
        if self.table.raise_unchanged(now_s):
            self._welcome_not_before_s = now_s + min(len(self.table) * WELCOME_PAUSE_S, MAX_WELCOME_PAUSE_S)
            self.on_change()

    # -- those who send too fast -------------------------------------------------------------------------------------

    def _schedule_late(self, wait_s: float) -> None:
        if self._late and self._late_handle is None:
            self._late_handle = asyncio.get_running_loop().call_later(wait_s, self._send_late)

    def _send_late(self) -> None:
        """Apply the states that waited for their sessions' rates (late_states.py)."""
        self._late_handle = None
        now_s = monotonic()
        waits_s = []
        sessions = {session.owner: session for session in self._fanout}
        for owner in self._late.owners():
            session = sessions.get(owner)
            if session is None:
                self._late.take(owner)
                continue
            wait_s = session.presence_rate.wait_s(now_s)
            if wait_s:
                waits_s.append(wait_s)
                continue
            try:
                self._apply(session, self._late.take(owner), now_s, may_speak=True)
            except PresenceError as error:
                self._clients.end(session, error)
        if waits_s:
            self._schedule_late(min(waits_s))

    def _refused(self, session: Session, refused: Mapping[str, int], size_bytes: int) -> None:
        """Count the dropped states of a message; log the first time that a session's state is too large."""
        self._metrics.presence_dropped += sum(refused.values())
        too_large = refused.get("too-large")
        if not too_large:
            return
        self._metrics.refusals["presence-too-large"] += too_large
        if not session.presence_was_too_large:  # editors repeat a state every 15 s, and with every move
            session.presence_was_too_large = True
            log.info(
                "presence dropped: a state, or the message, is too large; the session goes on",
                reason="presence-too-large",
                document=session.document,
                user=session.grant.user,
                bytes=size_bytes,
                limit=self._max_state_bytes,
            )

    def tell(self, session: Session, *, gone_since_s: float | None = None) -> None:
        """Send a session all states, and the removals since `gone_since_s` if that is given."""
        session.presence_told = self.broadcasts
        payload = self.table.snapshot(gone_since_s=gone_since_s)
        if payload is not None:
            self._fanout.send(session, session.prefix + presence_body(payload))

    def flush(self) -> None:
        """Send changes to the readers and to other replicas."""
        if self._relay is not None and self.table.is_dirty:
            self._relay.tell(self.table.dirty)
        payload = self.table.take_dirty()
        if payload is not None:
            self.broadcasts += 1
            self._metrics.presence_out += self._fanout.broadcast(presence_body(payload))

    def left(self, session: Session) -> None:
        """Remove the states of a session that has left."""
        if self._late:
            self._late.take(session.owner)
        if self.table.remove_owner(session.owner, monotonic()):
            self.on_change()

    def forget_replicas(self, gone: frozenset[str]) -> None:
        """Remove the states of sessions on replicas that are gone."""
        if self.table.remove_where(lambda owner: isinstance(owner, tuple) and owner[0] in gone, monotonic()):
            self.on_change()

    # -- those who are quiet -----------------------------------------------------------------------------------------

    def tick(self, now_s: float) -> None:
        """Renew the states of clients that are there but quiet, and remove the others; called every few seconds."""
        quiet = self.table.quiet(now_s - PROBE_S)
        if quiet or self._probed:
            self._renew(quiet, now_s)
        if self.table.expire(now_s) or self.table.is_dirty:
            self.on_change()

    def _renew(self, quiet: list[PresenceEntry], now_s: float) -> None:
        """Renew those of `quiet` whose sockets have answered, and probe the others (P13)."""
        sessions = {session.owner: session for session in self._fanout}
        probed, self._probed = self._probed, set()
        for entry in quiet:
            session = sessions.get(entry.owner)
            if session is None:
                continue
            transport = self._fanout.transport(session)
            if entry.owner not in probed:
                transport.probe()
            elif transport.answered() and now_s - entry.seen_s >= RENEW_S:
                self.table.renew(entry.client, now_s)
                self._metrics.presence_renewed += 1
                continue
            self._probed.add(entry.owner)

    def close(self) -> None:
        """Stop exchanging presence with other replicas."""
        for handle in (self._late_handle, self._welcome_handle):
            if handle is not None:
                handle.cancel()
        if self._relay is not None:
            self._relay.close()
            self._relay = None

    def end_elsewhere(self, user: str | None, reason: str) -> None:
        """Ask the other replicas to end the sessions of a user, or everyone's (None)."""
        if self._relay is not None:
            self._relay.end(user, reason)

    def end(self, user: str | None, reason: str) -> None:
        """Another replica asks to end sessions."""
        self.on_end(user, reason)

    def own(self) -> list[PresenceEntry]:
        """The present states of this replica's sessions."""
        return self.table.owned_by_all(session.owner for session in self._fanout)

    def take(self, entries: list[PresenceEntry]) -> None:
        """Take entries that another replica has accepted; announce states again that have moved here (P10)."""
        now_s = monotonic()
        applied = self.table.merge(entries, now_s)
        if applied.answers:
            owners = {session.owner for session in self._fanout}
            for entry in applied.answers:
                if entry.owner in owners:
                    self.table.raise_above(entry.client, entry.clock, now_s)
        if applied.gone and self._relay is not None:
            self._relay.deny(applied.gone)
        self._welcome(now_s)
        if self.table.is_dirty:
            self.on_change()
