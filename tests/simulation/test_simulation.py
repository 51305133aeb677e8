"""A server and four clients under faults, each run from one seed (I1-I3 of `tests.simulation.world`)."""

from __future__ import annotations

import pytest

from raffia.rooms.durable.append_queue import AppendQueue, Item
from raffia.rooms.outbound.catch_up import CatchUp
from raffia.rooms.session import Ticket
from raffia.rooms.turns import Lane
from tests.simulation.world import simulate


@pytest.mark.parametrize("seed", range(12))
def test_invariants_hold(seed: int) -> None:
    simulate(seed)


def test_a_seed_gives_the_same_run_again() -> None:
    runs = [simulate(3, 300) for _ in range(2)]
    assert runs[0].trace == runs[1].trace
    texts = [[str(client.text) for client in run.clients] for run in runs]
    assert texts[0] == texts[1]
    assert [sorted(client.stored) for client in runs[0].clients] == [sorted(c.stored) for c in runs[1].clients]


def test_a_server_that_acknowledges_before_the_append_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    put = AppendQueue.put

    def acknowledge_and_put(append_queue: AppendQueue, items: list[Item]) -> None:
        append_queue.on_saved([ticket for _, ticket in items])
        put(append_queue, [(edit, _never(ticket)) for edit, ticket in items])

    monkeypatch.setattr(AppendQueue, "put", acknowledge_and_put)
    with pytest.raises(AssertionError, match=r"acknowledged .* are lost"):
        _simulate_some()


def _never(ticket: Ticket) -> Ticket:
    copy = Ticket(ticket.session, None, ticket.taken_s)
    copy.parts = 10**9
    return copy


def test_connections_wait_for_their_turns() -> None:
    assert simulate(5).waited > 20


def test_a_server_that_forgets_who_waits_for_a_turn_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Lane, "go_on", lambda lane, _number: setattr(lane, "waits", False))
    with pytest.raises(AssertionError, match=r"differs|still waits"):
        _simulate_some()


def test_a_server_that_gives_slow_readers_no_catch_up_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CatchUp, "_catch_up", lambda self, session, _missed, _tail: self._rejoin(session))
    with pytest.raises(AssertionError, match="differs"):
        _simulate_some()


def _simulate_some() -> None:
    for seed in range(20):
        simulate(seed)
