"""Deliberate mistakes: the simulation has to notice each of them, or it would prove nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from raffia.crdt.document import Document
from raffia.journal import Gap, Reset
from raffia.rooms.durable.append_queue import AppendQueue
from raffia.rooms.durable.compactor import Compactor
from raffia.rooms.durable.log_follower import LogFollower
from raffia.rooms.inbound.intake import Intake
from raffia.rooms.presence import room_presence
from raffia.rooms.presence.room_presence import RoomPresence
from raffia.rooms.presence.table import PresenceTable

Patch = pytest.MonkeyPatch


@dataclass(frozen=True, slots=True)
class Mutation:
    """One mistake.

    Attributes:
        losses: whether finding it takes losses of the log.
        seeds: the number of seeds within which it has to be found.
        found_by: a seed that found it, which is tried first.
    """

    name: str
    make: Callable[[Patch], None]
    losses: bool | None = None
    seeds: int = 100
    found_by: int = 0
    steps: int = 900


def _reset_ignored(patch: Patch) -> None:
    heard = LogFollower._heard

    def ignore(follower: LogFollower, item: Any) -> None:
        if not isinstance(item, Reset):
            heard(follower, item)
        else:
            follower._last = item.position

    patch.setattr(LogFollower, "_heard", ignore)


def _gap_ignored(patch: Patch) -> None:
    heard = LogFollower._heard

    def ignore(follower: LogFollower, item: Any) -> None:
        if not isinstance(item, Gap):
            heard(follower, item)
        else:
            follower._last = item.upto

    patch.setattr(LogFollower, "_heard", ignore)


def _all_queued_only_ride(patch: Patch) -> None:
    resume = AppendQueue.resume
    patch.setattr(
        AppendQueue,
        "resume",
        lambda append_queue, lacking, _covered: resume(append_queue, lacking, len(append_queue._queue)),
    )


def _compacts_up_to_the_append_position(patch: Patch) -> None:
    patch.setattr(Compactor, "share_log", lambda _compactor, _follower, _pending: None)


def _no_hold(patch: Patch) -> None:
    patch.setattr(AppendQueue, "hold", lambda _append_queue: None)


def _nothing_is_appended_again_after_a_loss(patch: Patch) -> None:
    resume = AppendQueue.resume
    patch.setattr(AppendQueue, "resume", lambda append_queue, _lacking, covered: resume(append_queue, None, covered))


def _entries_of_the_log_are_not_broadcast(patch: Patch) -> None:
    def keep(intake: Intake, admission: Any, *, is_durable: bool) -> None:
        intake._document.absorb(admission)

    patch.setattr(Intake, "_accept_from_log", keep)


def _held_back_is_tried_only_with_the_log(patch: Patch) -> None:
    advanced = Intake._advanced

    def advance(intake: Intake, ends: Any, parked: Any = ()) -> None:
        held, intake.early_entries.pieces = intake.early_entries.pieces, []
        advanced(intake, ends, parked)
        intake.early_entries.pieces = held + intake.early_entries.pieces

    patch.setattr(Intake, "_advanced", advance)


def _snapshots_cover_what_is_being_fetched(patch: Patch) -> None:
    patch.setattr(LogFollower, "position", property(lambda follower: follower._last))
    _snapshots_hold_what_may_never_be_logged(patch)  # or those that are made while the saver holds would be given up


def _snapshots_hold_what_may_never_be_logged(patch: Patch) -> None:
    async def at_once(_compactor: Compactor) -> bool:
        return True

    patch.setattr(Compactor, "_durable", at_once)


def _presence_of_dead_replicas_stays(patch: Patch) -> None:
    patch.setattr(RoomPresence, "forget_replicas", lambda _presence, _gone: None)
    patch.setattr(PresenceTable, "expire", lambda _table, _now_s: [])


def _presence_is_not_raised(patch: Patch) -> None:
    patch.setattr(PresenceTable, "raise_above", lambda _table, _client, _clock, _now_s: None)


def _removals_by_anybody_count(patch: Patch) -> None:
    merge = PresenceTable.merge
    # In a new room whoever comes is raised above any removal anyway.
    patch.setattr(room_presence, "FRESH_S", 0.0)

    def believe(table: PresenceTable, entries: Any, now_s: float) -> Any:
        known = [(entry, table.get(entry.client)) for entry in entries]
        return merge(
            table,
            [e._replace(owner=k.owner) if k is not None and e.state is None else e for e, k in known],
            now_s,
        )

    patch.setattr(PresenceTable, "merge", believe)


def _deletes_of_the_log_are_dropped(patch: Patch) -> None:
    sort = Document._sort_deletes
    taking = [False]
    take = Intake.take_from_log

    def flagged(intake: Intake, updates: Any) -> bool:
        taking[0] = True
        try:
            return take(intake, updates)
        finally:
            taking[0] = False

    def drop(document: Document, deletes: Any, ends: Any) -> Any:
        return ([], [], []) if taking[0] else sort(document, deletes, ends)

    patch.setattr(Intake, "take_from_log", flagged)
    patch.setattr(Document, "_sort_deletes", drop)


MUTATIONS = [
    Mutation("a reset is ignored", _reset_ignored, losses=True, found_by=2),
    Mutation("a gap is ignored", _gap_ignored, found_by=4),
    Mutation("all that is queued only rides", _all_queued_only_ride, losses=True, found_by=30),
    Mutation("compaction up to the append position", _compacts_up_to_the_append_position, seeds=250, found_by=160),
    Mutation("no hold", _no_hold, losses=True, found_by=25),
    Mutation(
        "nothing is appended again after a loss", _nothing_is_appended_again_after_a_loss, losses=True, found_by=1
    ),
    Mutation("entries of the log are not broadcast", _entries_of_the_log_are_not_broadcast),
    Mutation("what is held back is not tried again", _held_back_is_tried_only_with_the_log, losses=True),
    Mutation("snapshots cover what is being fetched", _snapshots_cover_what_is_being_fetched, seeds=330, found_by=319),
    Mutation("presence of dead replicas stays", _presence_of_dead_replicas_stays, found_by=8),
    Mutation("presence is not raised above a removal", _presence_is_not_raised, found_by=6),
    Mutation("removals by anybody count", _removals_by_anybody_count, found_by=7),
    Mutation("deletes of the log are dropped", _deletes_of_the_log_are_dropped),
]
