"""The awareness table, rules P1 to P10 of `raffia.rooms.presence.table`."""

from __future__ import annotations

import json
from typing import Any

import pytest

from raffia.errors import PresenceError
from raffia.rooms.presence.entries import PresenceEntry, PresenceLimits, encode, make_entry
from raffia.rooms.presence.table import MAX_CLOCK, PresenceTable
from raffia.wire import awareness
from raffia.wire.lib0 import write_varuint

ZOE = '{"user":{"name":"Zoë 😀"}}'.encode()
BOB = b'{"user":{"name":"Bob"}}'

Said = tuple[int, int, bytes | None]


def message(*said: Said) -> bytes:
    return write_varuint(len(said)) + b"".join(awareness.write_entry(*entry) for entry in said)


def seen(entries: list[PresenceEntry]) -> list[Said]:
    return [(entry.client, entry.clock, entry.state) for entry in entries]


def read(payload: bytes | None) -> list[Said]:
    assert payload is not None
    return [
        (client, clock, None if state == awareness.NULL else state)
        for client, clock, state, _ in awareness.read_entries(payload)
    ]


@pytest.fixture
def table() -> PresenceTable:
    return PresenceTable()


# -- P1: newer, stale, first -----------------------------------------------------------------------------------------


def test_p1_recorded_first_announcement_at_clock_0_is_kept(table: PresenceTable) -> None:
    applied = table.apply(bytes.fromhex("01 01 00 02 7b 7d"), "a", 0.0)
    assert seen(applied.entries) == [(1, 0, b"{}")]
    assert encode(applied.entries) == bytes.fromhex("01 01 00 02 7b 7d")
    assert table.snapshot() == bytes.fromhex("01 01 00 02 7b 7d")


def test_p1_a_newer_clock_replaces_and_others_are_stale(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    assert seen(table.apply(message((7, 4, BOB)), "a", 1.0).entries) == [(7, 4, BOB)]
    for clock, state in ((4, BOB), (3, ZOE), (0, ZOE)):
        applied = table.apply(message((7, clock, state)), "a", 2.0)
        assert (applied.entries, applied.stale, applied.refused) == ([], 1, {})
    assert read(table.snapshot()) == [(7, 4, BOB)]


@pytest.mark.parametrize("clock", [4, 5])
def test_p1_the_owner_removes_at_the_known_clock_or_above(table: PresenceTable, clock: int) -> None:
    table.apply(message((7, 4, ZOE)), "a", 0.0)
    assert table.apply(message((7, 3, None)), "a", 1.0).stale == 1
    assert seen(table.apply(message((7, clock, None)), "a", 1.0).entries) == [(7, clock, None)]
    assert table.apply(message((7, clock, None)), "a", 1.0).stale == 1
    assert table.snapshot() is None
    assert len(table) == table.size_bytes == 0


def test_p1_a_removal_of_an_unknown_id_leaves_nothing_behind(table: PresenceTable) -> None:
    assert table.apply(message((7, 4, None)), "a", 0.0).stale == 1
    assert table.gone_count == 0


def test_p1_echoes_of_other_states_are_stale_not_attacks(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 1, BOB)), "b", 0.0)
    applied = table.apply(message((7, 3, ZOE), (8, 1, BOB)), "b", 0.1)
    assert (applied.entries, applied.answers, applied.stale, applied.refused) == ([], [], 2, {})
    assert table.get(7) is not None
    assert table.owned_by("a") == {7}


def test_p1_an_empty_message_does_nothing(table: PresenceTable) -> None:
    assert table.apply(b"\x00", "a", 0.0).entries == []
    assert table.take_dirty() is None


# -- P2: whole or not at all -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        awareness.write_entry(2, 1, b'{"a":NaN}'),
        awareness.write_entry(2, 1, b'{"a":' * 2500),
        awareness.write_entry(2, 1, b"[1]"),
        awareness.write_entry(2, 1, b"\xff"),
        b"\x02\x01\xff\xff\xff\x7a",
    ],
)
def test_p2_a_message_that_cannot_be_read_changes_nothing(table: PresenceTable, bad: bytes) -> None:
    table.apply(message((1, 1, ZOE)), "a", 0.0)
    table.take_dirty()
    with pytest.raises(PresenceError):
        table.apply(b"\x02" + awareness.write_entry(1, 2, BOB) + bad, "a", 1.0)
    assert read(table.snapshot()) == [(1, 1, ZOE)]
    assert table.take_dirty() is None


def test_p2_a_state_over_16_kib_is_dropped_and_the_rest_of_its_message_is_not(table: PresenceTable) -> None:
    edge = b'{"a":"' + b"x" * (16 * 1024 - 8) + b'"}'
    table.apply(message((1, 1, edge)), "a", 0.0)
    applied = table.apply(message((1, 2, edge.replace(b"x", b"xx", 1)), (2, 1, BOB)), "a", 0.0)
    assert (seen(applied.entries), applied.refused) == ([(2, 1, BOB)], {"too-large": 1})
    assert read(table.snapshot()) == [(1, 1, edge), (2, 1, BOB)]  # what was known stays
    assert seen(table.apply(message((1, 3, ZOE)), "a", 0.0).entries) == [(1, 3, ZOE)]


def test_p2_the_home_of_a_session_whose_first_state_is_too_large_is_its_own(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "half open", 0.0, user="zoë")
    assert table.apply(message((7, 4, b"x" * 20_000)), "again", 1.0, user="zoë").refused == {"too-large": 1}
    assert seen(table.apply(message((7, 5, BOB)), "again", 2.0, user="zoë").entries) == [(7, 5, BOB)]


def test_p2_too_many_states_and_too_many_bytes_are_dropped_unread() -> None:
    table = PresenceTable(PresenceLimits(max_entries=2, max_message_bytes=200))
    for said in ([(client, 1, BOB) for client in range(3)], [(1, 1, b'{"a":"' + b"x" * 200 + b'"}')]):
        applied = table.apply(message(*said), "a", 0.0)
        assert (applied.entries, applied.refused) == ([], {"too-large": 1})
    assert len(table.apply(message((1, 1, BOB), (2, 1, BOB)), "a", 0.0).entries) == 2


# -- P3: a session speaks for what it introduced ---------------------------------------------------------------------


def test_p3_forged_states_and_removals_are_counted_and_dropped(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "alice", 0.0, user="alice")
    table.apply(message((8, 0, BOB)), "mallory", 0.0, user="mallory")
    for forged in ((7, 4, BOB), (7, 3, None), (7, 9, None)):
        applied = table.apply(message(forged), "mallory", 1.0, user="mallory")
        assert (applied.entries, applied.answers, applied.refused) == ([], [], {"foreign": 1})
    assert read(table.snapshot()) == [(7, 3, ZOE), (8, 0, BOB)]


def test_p3_a_fresh_session_of_another_user_cannot_take_an_id_over(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "alice", 0.0, user="alice")
    for clock, reason in ((3, "stale"), (4, "foreign")):
        applied = table.apply(message((7, clock, BOB)), f"mallory{clock}", 1.0, user="mallory")
        assert applied.moved == applied.entries == applied.answers == []
        assert applied.refused == ({} if reason == "stale" else {"foreign": 1})
    assert table.owned_by("alice") == {7}


def test_p3_a_session_may_own_several_ids(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE), (8, 0, BOB)), "bridge", 0.0)
    assert seen(table.apply(message((8, 1, ZOE)), "bridge", 1.0).entries) == [(8, 1, ZOE)]
    assert seen(table.remove_owner("bridge", 2.0)) == [(7, 3, None), (8, 1, None)]


def test_p3_a_laggard_cannot_remove_a_live_user(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "laggard", 0.0)
    table.take_dirty()
    assert table.apply(message((7, 3, None)), "laggard", 31.0).refused == {"foreign": 1}
    assert table.take_dirty() is None


# -- P4: half-open sockets, tabs -------------------------------------------------------------------------------------


def test_p4_a_half_open_socket_that_dies_late_removes_nobody(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), ("r1", 1), 0.0, user="zoë")
    table.take_dirty()
    applied = table.apply(message((7, 3, ZOE)), ("r1", 2), 5.0, user="zoë")  # reconnected: the same clock
    assert applied.entries == applied.answers == []
    assert [(e.client, e.owner) for e in applied.moved] == [(7, ("r1", 2))]
    assert table.take_dirty() is None
    assert table.remove_owner(("r1", 1), 20.0) == []
    assert read(table.snapshot()) == [(7, 3, ZOE)]
    assert seen(table.apply(message((7, 4, BOB)), ("r1", 2), 21.0, user="zoë").entries) == [(7, 4, BOB)]
    assert seen(table.remove_owner(("r1", 2), 22.0)) == [(7, 4, None)]


def test_p4_a_reconnect_with_a_newer_clock_moves_and_is_news(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "old", 0.0)
    assert seen(table.apply(message((7, 4, BOB)), "new", 1.0).entries) == [(7, 4, BOB)]
    assert table.owned_by("old") == frozenset()
    assert table.apply(message((7, 4, None)), "new", 2.0).entries != []


def test_p4_p5_a_reconnect_below_the_known_clock_is_raised_above_it(table: PresenceTable) -> None:
    table.apply(message((7, 9, ZOE)), "old", 0.0)
    assert seen(table.apply(message((7, 3, ZOE)), "new", 1.0).entries) == [(7, 10, ZOE)]
    assert table.remove_owner("old", 2.0) == []
    assert read(table.snapshot()) == [(7, 10, ZOE)]


def test_p5_what_a_raised_client_says_before_it_has_heard_so_is_raised_too(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "old", 0.0)
    table.remove_owner("old", 1.0)
    assert seen(table.apply(message((7, 3, ZOE)), "new", 2.0).entries) == [(7, 4, ZOE)]
    assert seen(table.apply(message((7, 4, BOB)), "new", 2.1).entries) == [(7, 5, BOB)]
    assert table.apply(message((7, 5, BOB)), "new", 2.2).stale == 1  # the client sends back what it has heard
    assert seen(table.apply(message((7, 6, ZOE)), "new", 2.3).entries) == [(7, 6, ZOE)]


def test_p5_only_the_home_is_raised(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 1, BOB)), "a", 0.0)
    assert table.apply(message((8, 1, ZOE)), "a", 1.0).stale == 1
    table.remove_owner("a", 2.0)
    assert seen(table.apply(message((7, 3, ZOE), (8, 1, BOB)), "b", 3.0).answers) == [(7, 3, None), (8, 1, None)]


def test_p5_a_raised_state_is_read_first(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    with pytest.raises(PresenceError):
        table.apply(message((7, 3, b"[1")), "a", 1.0)
    assert read(table.snapshot()) == [(7, 3, ZOE)]


def test_p5_clocks_are_not_raised_past_their_end(table: PresenceTable) -> None:
    last = (1 << 31) - 1
    table.apply(message((7, last, ZOE)), "a", 0.0)
    assert table.apply(message((7, last, BOB)), "a", 1.0).refused == {"clock": 1}


def test_p4_another_tab_that_spoke_first_gives_the_id_back(table: PresenceTable) -> None:
    table.apply(message((1, 0, ZOE)), "tab 1", 0.0)
    table.apply(message((2, 0, BOB)), "tab 1", 0.1)  # learned through BroadcastChannel
    assert len(table.apply(message((2, 0, BOB)), "tab 2", 0.2).moved) == 1
    assert seen(table.remove_owner("tab 1", 1.0)) == [(1, 0, None)]
    assert read(table.snapshot()) == [(2, 0, BOB)]


def test_p4_only_the_first_message_names_the_home(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 0.0)
    applied = table.apply(message((7, 3, ZOE)), "b", 0.0)
    assert (applied.moved, applied.stale) == ([], 1)
    assert table.apply(message((7, 4, ZOE)), "b", 0.0).refused == {"foreign": 1}


def test_p4_a_joiner_that_sends_the_whole_snapshot_back_takes_nothing(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 0.0)
    snapshot = table.snapshot()
    assert snapshot is not None
    assert table.apply(snapshot, "silent", 1.0).moved == []
    assert table.remove_owner("silent", 2.0) == []


# -- P5: tombstones --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", [0, 3])
def test_p5_a_reconnect_after_the_removal_returns_at_once(table: PresenceTable, clock: int) -> None:
    table.apply(message((7, 3, ZOE)), "old", 0.0)
    table.remove_owner("old", 1.0)
    applied = table.apply(message((7, clock, ZOE)), "new", 2.0)
    assert (seen(applied.entries), applied.answers, applied.refused) == ([(7, 4, ZOE)], [], {})
    assert table.gone_count == 0


def test_p5_a_laggards_echo_of_a_removed_state_is_answered_not_applied(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 0.0)
    flushed = table.take_dirty()
    assert flushed is not None
    table.remove_owner("a", 1.0)
    applied = table.apply(flushed, "b", 1.1)
    assert (seen(applied.answers), applied.stale) == ([(7, 3, None)], 1)


def test_p5_a_removed_id_is_kept_for_its_user(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0, user="zoë")
    table.remove_owner("a", 1.0)
    assert table.apply(message((7, 4, BOB)), "m", 2.0, user="mallory").refused == {"foreign": 1}
    assert table.apply(message((7, 4, BOB)), "n", 2.0).refused == {"foreign": 1}
    assert len(table.apply(message((7, 4, ZOE)), "b", 2.0, user="zoë").entries) == 1


def test_p5_tombstones_are_bounded_in_number_and_time() -> None:
    table = PresenceTable(PresenceLimits(max_gone=3, gone_s=60.0))
    for client in range(10):
        table.apply(message((client, 1, ZOE)), client, float(client))
        table.remove_owner(client, float(client))
        assert table.gone_count <= 3
    assert len(table.apply(message((0, 0, ZOE)), "again", 10.0).entries) == 1  # forgotten: taken as unknown
    table.remove_owner("again", 10.0)
    table.expire(69.5)
    assert table.gone_count == 1
    table.expire(71.0)
    assert table.gone_count == 0


# -- P6: clocks ------------------------------------------------------------------------------------------------------


def test_p6_clock_steps_are_bounded(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    for said in ((7, 4 + (1 << 20), ZOE), (7, (1 << 31) - 1, None), (7, (1 << 53) - 1, ZOE), (9, 1 << 31, ZOE)):
        applied = table.apply(message(said), "a", 1.0)
        assert (applied.entries, applied.refused) == ([], {"clock": 1})
    assert read(table.snapshot()) == [(7, 3, ZOE)]
    assert len(table.apply(message((7, 3 + (1 << 20), ZOE)), "a", 2.0).entries) == 1
    table.remove_owner("a", 3.0)
    assert table.apply(message((7, 1 << 30, ZOE)), "b", 4.0).refused == {"clock": 1}


# -- P7: leaving -----------------------------------------------------------------------------------------------------


def test_p7_what_is_not_renewed_within_30_s_expires(table: PresenceTable) -> None:
    table.apply(message((7, 3, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 10.0)
    table.apply(message((7, 3, ZOE)), "a", 15.0)  # the same clock renews nothing
    assert table.expire(30.0) == []
    assert seen(table.expire(30.1)) == [(7, 3, None)]
    table.apply(message((8, 1, BOB)), "b", 39.0)
    assert table.expire(45.0) == []
    assert read(table.snapshot()) == [(8, 1, BOB)]
    assert table.remove_owner("a", 46.0) == []


def test_p7_all_owners_of_a_replica_leave_together(table: PresenceTable) -> None:
    for client, owner in enumerate([("r1", 1), ("r2", 1), ("r1", 2)]):
        table.apply(message((client, 0, ZOE)), owner, 0.0)
    removed = table.remove_where(lambda owner: isinstance(owner, tuple) and owner[0] == "r1", 1.0)
    assert seen(removed) == [(0, 0, None), (2, 0, None)]
    assert read(table.take_dirty()) == [(0, 0, None), (1, 0, ZOE), (2, 0, None)]
    assert table.remove_owner(("r9", 9), 1.0) == []


# -- P8: bounds ------------------------------------------------------------------------------------------------------


def test_p8_full_tables_refuse_and_go_on() -> None:
    table = PresenceTable(PresenceLimits(max_states=3, max_ids_per_owner=2, max_room_bytes=120))
    said = tuple((client, 0, b"{}") for client in range(3))
    applied = table.apply(message(*said), "a", 0.0)
    assert (len(applied.entries), applied.refused) == (2, {"full": 1})
    table.apply(message((9, 0, b"{}")), "b", 0.0)
    assert table.apply(message((10, 0, b"{}")), "c", 0.0).refused == {"full": 1}
    big = b'{"a":"' + b"x" * 100 + b'"}'
    assert len(table.apply(message((9, 1, big)), "b", 0.0).entries) == 0
    assert len(table.apply(message((9, 1, big[:20] + b'"}')), "b", 0.0).entries) == 1
    table.remove_owner("a", 1.0)
    assert len(table.apply(message((10, 0, b"{}")), "c", 2.0).entries) == 1


def test_p8_over_the_rate_news_is_late_but_neither_echoes_nor_removals(table: PresenceTable) -> None:
    table.apply(message((7, 0, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 0.0)
    applied = table.apply(message((7, 1, BOB), (8, 0, BOB), (9, 0, ZOE)), "a", 0.1, may_speak=False)
    assert (applied.entries, applied.stale, applied.refused, applied.dropped) == ([], 1, {}, 0)
    assert [entry[:3] for entry in applied.late] == [(7, 1, BOB), (9, 0, ZOE)]
    assert seen(table.apply(message((7, 1, None)), "a", 0.2, may_speak=False).entries) == [(7, 1, None)]
    assert seen(table.apply(message((7, 1, ZOE)), "a", 0.3).entries) == [(7, 2, ZOE)]
    assert table.apply(message((7, 2, ZOE)), "a", 0.4).reply is None


# -- P9: flushes -----------------------------------------------------------------------------------------------------


def test_p9_only_the_latest_entry_of_an_id_is_flushed(table: PresenceTable) -> None:
    for clock in range(5):
        table.apply(message((7, clock, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 0.0)
    table.apply(message((9, 0, BOB)), "c", 0.0)
    table.remove_owner("c", 0.1)
    assert read(table.take_dirty()) == [(7, 4, ZOE), (8, 0, BOB), (9, 0, None)]
    assert not table.is_dirty
    assert table.take_dirty() is None
    assert table.take_dirty_entries() == []


def test_p9_the_echo_of_a_flush_is_stale_as_a_whole(table: PresenceTable) -> None:
    table.apply(message((7, 0, ZOE)), "a", 0.0)
    table.apply(message((8, 0, BOB)), "b", 0.0)
    flushed = table.take_dirty()
    assert flushed is not None
    applied = table.apply(flushed, "b", 0.1)
    assert (applied.entries, applied.answers, applied.moved, applied.refused) == ([], [], [], {})
    assert applied.stale > 0


def test_p9_a_snapshot_for_one_who_missed_removals(table: PresenceTable) -> None:
    for client in range(3):
        table.apply(message((client, 0, ZOE)), client, 0.0)
    table.remove_owner(0, 10.0)
    table.remove_owner(1, 20.0)
    assert read(table.snapshot(gone_since_s=15.0)) == [(2, 0, ZOE), (1, 0, None)]
    assert read(table.snapshot()) == [(2, 0, ZOE)]
    assert PresenceTable().snapshot(gone_since_s=0.0) is None


# -- P10: other replicas ---------------------------------------------------------------------------------------------


def test_p10_entries_of_other_replicas(table: PresenceTable) -> None:
    there = ("r2", 1)
    assert seen(table.merge([make_entry(7, 3, ZOE, there)], 0.0).entries) == [(7, 3, ZOE)]
    assert table.merge([make_entry(7, 3, ZOE, there), make_entry(7, 2, ZOE, there)], 1.0).stale == 2
    assert seen(table.merge([make_entry(7, 4, None, there)], 2.0).entries) == [(7, 4, None)]
    applied = table.merge([make_entry(7, 2, ZOE, there), make_entry(8, 1, None, there)], 3.0)
    assert applied.stale == 2
    assert seen(list(applied.gone)) == [(7, 4, None)]  # told back, so that it is raised where it is


def test_p10_a_state_is_raised_above_a_removal_that_others_may_have_heard_first(table: PresenceTable) -> None:
    here = ("r1", 1)
    table.apply(message((7, 3, ZOE)), here, 0.0, user="zoë")
    table.take_dirty()
    table.raise_above(7, 5)
    assert read(table.take_dirty()) == [(7, 6, ZOE)]
    table.raise_above(7, 2)
    assert read(table.take_dirty()) == [(7, 7, ZOE)]
    table.raise_above(8, 2)  # nobody
    table.raise_above(7, MAX_CLOCK)
    assert table.take_dirty() is None


def test_p10_of_other_replicas_sessions_only_those_with_an_id_are_remembered(table: PresenceTable) -> None:
    for number in range(100):
        table.merge([make_entry(7, number + 1, ZOE, ("r2", number))], 0.0)
        table.merge([make_entry(8, number, ZOE, ("r2", number))], 0.0)
        table.merge([make_entry(8, number, None, ("r2", number))], 0.0)
    assert len(table._speakers) == 1
    assert table.owned_by(("r2", 99)) == {7}


def test_p10_a_user_who_moved_here_survives_the_late_end_over_there(table: PresenceTable) -> None:
    there, here = ("r2", 1), ("r1", 1)
    table.merge([make_entry(7, 3, ZOE, there, "zoë")], 0.0)
    assert len(table.apply(message((7, 3, ZOE)), here, 1.0, user="zoë").moved) == 1
    applied = table.merge([make_entry(7, 3, None, there, "zoë")], 20.0)
    assert applied.entries == []
    assert applied.refused == {"foreign": 1}
    assert [(e.owner, e.client, e.clock, e.state) for e in applied.answers] == [(here, 7, 3, None)]
    assert read(table.snapshot()) == [(7, 3, ZOE)]


def test_p10_a_move_is_learned_from_the_other_replica(table: PresenceTable) -> None:
    here, there = ("r1", 1), ("r2", 1)
    table.apply(message((7, 3, ZOE)), here, 0.0, user="zoë")
    table.take_dirty()
    assert table.merge([make_entry(7, 3, ZOE, there, "zoë")], 1.0).entries == []
    assert table.remove_owner(here, 2.0) == []
    assert table.take_dirty() is None
    assert seen(table.remove_owner(there, 3.0)) == [(7, 3, None)]


# -- the stamp -------------------------------------------------------------------------------------------------------


def test_the_server_may_stamp_the_user() -> None:
    def stamp(owner: object, state: dict[str, Any]) -> object | None:
        return {"name": f"{owner} é😀"} if "user" in state else None

    table = PresenceTable(stamp=stamp)
    forged = json.dumps({"user": {"name": "somebody else"}, "note": "\ud83d lone"}).encode()
    applied = table.apply(message((7, 0, forged)), "zoë", 0.0)
    state = json.loads(applied.entries[0].state or b"")
    assert state == {"user": {"name": "zoë é😀"}, "note": "\ud83d lone"}
    assert read(encode(applied.entries)) == seen(applied.entries)
    assert seen(table.apply(message((8, 0, b'{"a":1}')), "b", 0.0).entries) == [(8, 0, b'{"a":1}')]
    with pytest.raises(PresenceError, match="too large for JSON"):
        table.apply(message((9, 0, b'{"user":1,"x":1e999}')), "c", 0.0)
