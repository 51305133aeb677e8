"""Budgets of sessions and connections: PC1-PC6 of pace.py; over real sockets in integration/attacks."""

from __future__ import annotations

import random

import pytest
from tests.unit.world import EDIT, Author, turns, world

from raffia.rooms.rate_limits import BURST_S, MAX_WAIT_S, MIN_WAIT_S, Budget, RateLimits
from raffia.settings import load_settings


def test_pc1_a_full_budget_is_not_waited_for() -> None:
    budget = Budget(100.0)
    budget.left_s -= BURST_S
    assert budget.left_s >= 0
    budget.left_s -= 0.01
    assert budget.wait_s(100.0) == MIN_WAIT_S


def test_pc2_what_has_passed_is_gained_and_no_more_than_a_burst() -> None:
    budget = Budget(0.0)
    budget.left_s -= BURST_S + 1
    assert budget.wait_s(1000.0) == 0.0
    assert budget.left_s == BURST_S
    budget.left_s -= BURST_S + 3
    assert budget.wait_s(1001.0) == pytest.approx(2)


def test_pc2_never_less_than_a_token_bucket() -> None:
    """Whatever a bucket of the same size and rate lets through, this does without a wait."""
    chance = random.Random(7)
    for _ in range(200):
        budget, bucket, last_s, now_s = Budget(0.0), BURST_S, 0.0, 0.0
        for _ in range(300):
            now_s += chance.choice((0.0, 0.001, 0.5, 20.0))
            bucket, last_s = min(BURST_S, bucket + now_s - last_s), now_s
            cost = min(bucket, chance.choice((0.001, 0.1, 2.0)))  # as much as the bucket holds
            bucket -= cost
            budget.left_s -= cost
            if budget.left_s < -1e-9:
                assert budget.wait_s(now_s) <= MIN_WAIT_S
                assert budget.left_s > -1e-6


def test_pc3_no_wait_is_longer_than_a_peer_can_stand() -> None:
    budget = Budget(0.0)
    budget.left_s -= 1000
    assert budget.wait_s(0.0) == MAX_WAIT_S


def test_pc4_strain_is_counted_from_the_first_wait_and_forgotten_in_quiet() -> None:
    budget = Budget(0.0)
    budget.left_s = -1.0
    assert budget.wait_s(0.0) == 1.0
    budget.left_s = -1.0
    assert budget.wait_s(0.5) == 0.5
    assert budget.strained_s(7.0) == 7.0
    budget.left_s = -1.0
    assert budget.wait_s(60.0) == 0.0
    assert budget.strained_s(60.0) == 0.0


def test_pc6_zero_costs_nothing() -> None:
    rate_limits = RateLimits(
        load_settings(max_updates_per_s=0, max_bytes_per_s=0, max_messages_per_s=0, max_sign_ins_per_s=0)
    )
    assert {
        rate_limits.update_s,
        rate_limits.byte_s,
        rate_limits.message_s,
        rate_limits.message_byte_s,
        rate_limits.sign_in_s,
    } == {0.0}


def test_pc1_the_defaults_leave_people_alone() -> None:
    rate_limits = RateLimits(load_settings())
    drawing = 60 * (rate_limits.update_s + 200 * rate_limits.byte_s)  # for a second
    assert drawing < 0.05
    offline = rate_limits.update_s + 16 * 2**20 * rate_limits.byte_s
    assert offline < BURST_S / 2
    assert 16 * 2**20 * rate_limits.message_byte_s + 1000 * rate_limits.sign_in_s <= BURST_S + 1


async def test_x7_a_connection_rests_and_is_read_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = {"s": 1000.0}
    monkeypatch.setattr("raffia.sockets.connection.monotonic", lambda: now["s"])
    async with world(max_updates_per_s=1, max_bytes_per_s=0, too_fast_s=5) as w:
        ana, bo = await w.yws(EDIT), await w.yws(EDIT)
        author = Author(3)
        for _ in range(10):
            ana.update(author.type("é"))
        assert ana.transport.reading
        ana.update(author.type("é"))
        assert not ana.transport.reading
        assert w.metrics.delays == 1
        ana.drain()  # a socket that has drained rests all the same
        assert not ana.transport.reading
        assert ana.transport.closed is None
        assert bo.transport.reading
        await w.flushed()
        assert bo.updates()  # delayed, and nothing dropped
        connection = ana.connection
        assert connection._resting is not None
        connection._resting.cancel()
        connection._rested()
        assert ana.transport.reading
        now["s"] += 1.0
        ana.update(author.type("é"))
        now["s"] += 5.1
        for _ in range(8):
            if ana.transport.closed is None:
                ana.update(author.type("é"))
        assert ana.transport.closed is not None
        assert ana.transport.closed[0] == 1013
        assert w.metrics.refusals["too-fast"] == 1
        connection.closed(1013)
        assert connection._resting is None
        await turns(4)
        assert bo.transport.closed is None
