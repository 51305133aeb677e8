"""PT1-PT5: what one process knows of the time that has passed, with clocks that tests set."""

from __future__ import annotations

import logging

import pytest

from raffia.journal.passed_time import ANCHOR_MS, JUMP_MS, SETTLED_MS, Claim, PassedTime
from raffia.journal.testing.contract import Clock

MINUTE_MS = 60_000
DAY_MS = 24 * 60 * MINUTE_MS


class Store:
    """What replicas share."""

    def __init__(self) -> None:
        self.passed_ms: int | None = None

    def look(self, time: PassedTime, witness_ms: int | None = None) -> int:
        """What a journal does at each pruning."""
        self.passed_ms = time.claim().with_stored(self.passed_ms)
        time.stored(self.passed_ms, witness_ms)
        return time.passed_ms()


def new(clock: Clock) -> PassedTime:
    return PassedTime(clock, clock.elapsed_ms)


def settled(clock: Clock, store: Store) -> PassedTime:
    time = new(clock)
    clock.advance(SETTLED_MS)
    assert store.look(time) == clock.now_ms
    return time


def test_pt1_nothing_is_known_at_first() -> None:
    clock, store = Clock(), Store()
    time = new(clock)
    assert (store.look(time), time.least_ms(), store.passed_ms) == (0, 0, None)
    clock.advance(SETTLED_MS - 1)
    assert store.look(time) == 0
    clock.advance(1)
    assert store.look(time) == clock.now_ms


def test_pt1_time_goes_on_over_a_restart_as_it_was_measured() -> None:
    clock, store = Clock(), Store()
    settled(clock, store)
    begin_ms = clock.now_ms
    clock.jump(3 * DAY_MS)  # nothing ran
    for hour in range(23):
        time = new(clock)
        time.stored(store.passed_ms)
        clock.advance(60 * MINUTE_MS)
        assert store.look(time) == begin_ms + (hour + 1) * 60 * MINUTE_MS
    last = new(clock)
    last.stored(store.passed_ms)
    clock.advance(SETTLED_MS)
    assert store.look(last) == clock.now_ms


def test_pt1_claims_of_many_replicas_do_not_add_up() -> None:
    clock, store = Clock(), Store()
    settled(clock, store)
    begin_ms = clock.now_ms
    clock.jump(40 * DAY_MS)
    replicas = [new(clock) for _ in range(50)]
    for time in replicas:
        time.stored(store.passed_ms)
    for _ in range(60):
        for time in replicas:
            clock.advance(1000)
            assert store.look(time) <= begin_ms + 60 * 50_000
    assert store.passed_ms == begin_ms + 60 * 50_000


def test_pt3_a_replica_whose_clock_is_ahead_is_held_back_by_that_of_the_store() -> None:
    clock, store = Clock(), Store()
    clock.jump(40 * DAY_MS)
    time = new(clock)
    store.look(time, clock.now_ms - 40 * DAY_MS)
    clock.advance(2 * SETTLED_MS)
    assert store.look(time, clock.now_ms - 40 * DAY_MS) == clock.now_ms - 40 * DAY_MS
    assert store.passed_ms == clock.now_ms - 40 * DAY_MS


def test_pt3_a_replica_whose_clock_is_behind_takes_its_own() -> None:
    clock, store = Clock(), Store()
    right = settled(clock, store)
    behind = PassedTime(lambda: clock.now_ms - 2 * 60 * MINUTE_MS, clock.elapsed_ms)
    assert store.look(behind) == clock.now_ms - 2 * 60 * MINUTE_MS
    assert store.look(right) == clock.now_ms


@pytest.mark.parametrize("by_ms", [40 * DAY_MS, -2 * 60 * MINUTE_MS])
def test_pt4_a_jump_is_logged_once_and_believed_after_a_day(by_ms: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    clock, store = Clock(), Store()
    time = settled(clock, store)
    before_ms = clock.now_ms
    clock.jump(by_ms)
    for minute in range(1, 6):
        clock.advance(MINUTE_MS)
        assert store.look(time) == min(clock.now_ms, before_ms + minute * MINUTE_MS)
        assert time.stamp_ms() == max(clock.now_ms, before_ms + minute * MINUTE_MS)
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    clock.jump(-by_ms)
    clock.advance(MINUTE_MS)
    assert store.look(time) <= clock.now_ms
    clock.jump(by_ms)
    assert store.look(time) <= before_ms + 6 * MINUTE_MS
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO", "INFO"]
    clock.advance(SETTLED_MS)
    assert store.look(time) == clock.now_ms


def test_pt4_small_steps_and_a_slow_drift_are_no_jump(caplog: pytest.LogCaptureFixture) -> None:
    clock, store = Clock(), Store()
    time = settled(clock, store)
    for _ in range(24):
        clock.advance(ANCHOR_MS)
        clock.jump(JUMP_MS)
        assert store.look(time) == clock.now_ms
    assert caplog.records == []


def test_pt4_a_clock_that_runs_twice_as_fast_is_never_believed(caplog: pytest.LogCaptureFixture) -> None:
    clock, store = Clock(), Store()
    time = settled(clock, store)
    begin_ms = clock.now_ms
    for minute in range(1, 3 * 24 * 60):
        clock.advance(MINUTE_MS)
        clock.jump(MINUTE_MS)
        assert store.look(time) <= begin_ms + (minute + 2) * MINUTE_MS
    assert len([record for record in caplog.records if record.levelname == "WARNING"]) == 1


def test_pt2_a_store_that_was_set_back_is_set_right() -> None:
    clock, store = Clock(), Store()
    time = settled(clock, store)
    store.passed_ms = None
    assert store.look(time) == clock.now_ms
    store.passed_ms = clock.now_ms + DAY_MS
    assert store.look(time) == clock.now_ms == store.passed_ms


def test_pt1_a_store_keeps_the_latest_claim_and_one_that_is_settled() -> None:
    assert Claim(None, False).with_stored(None) is None
    assert Claim(None, False).with_stored(5) == 5
    assert Claim(4, False).with_stored(5) == 5
    assert Claim(6, False).with_stored(5) == 6
    assert Claim(4, False).with_stored(None) == 4
    assert Claim(4, True).with_stored(5) == 4
