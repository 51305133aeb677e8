"""States that came too fast, rules LS1 to LS3 of `raffia.rooms.presence.late_states`."""

from __future__ import annotations

from raffia.rooms.presence.late_states import LateStates
from raffia.wire.awareness import RawEntry, read_entries, write_entry


def entry(client: int, clock: int, state: bytes = b"{}") -> RawEntry:
    return client, clock, state, write_entry(client, clock, state)


def taken(late: LateStates, owner: str) -> list[tuple[int, int]]:
    return [(client, clock) for client, clock, _, _ in read_entries(late.take(owner))]


def test_ls1_only_the_latest_of_each_id_waits() -> None:
    late = LateStates(max_ids=8, max_bytes=1000)
    assert late.keep("a", [entry(1, 1), entry(2, 5)]) == 0
    assert late.keep("a", [entry(1, 2), entry(2, 4), entry(1, 2, b'{"x":1}')]) == 3
    assert late.keep("b", [entry(1, 7)]) == 0
    assert taken(late, "a") == [(1, 2), (2, 5)]
    assert late.owners() == ["b"]
    assert taken(late, "b") == [(1, 7)]
    assert not late
    assert late.size_bytes == 0
    assert taken(late, "a") == []


def test_ls2_bounds() -> None:
    late = LateStates(max_ids=2, max_bytes=40)
    assert late.keep("a", [entry(client, 1) for client in range(5)]) == 3
    assert late.keep("b", [entry(9, 1, b'{"long":"' + b"x" * 40 + b'"}')]) == 1
    assert late.owners() == ["a"]
    assert late.keep("a", [entry(0, 2, b'{"long":"' + b"x" * 40 + b'"}')]) == 1  # what waited stays
    assert taken(late, "a") == [(0, 1), (1, 1)]
    assert late.size_bytes == 0


def test_ls3_what_became_void_is_forgotten() -> None:
    late = LateStates(max_ids=8, max_bytes=1000)
    late.keep("a", [entry(1, 1), entry(2, 1)])
    late.forget("a", [1, 3])
    late.forget("b", [2])
    assert late.size_bytes == len(entry(2, 1)[3])
    late.forget("a", [2])
    assert not late
    assert late.size_bytes == 0
