"""Replicas and clients under faults, each run from one seed (I1-I5 of `tests.simulation.cluster`)."""

from __future__ import annotations

import pytest

from raffia.errors import RaffiaError
from tests.simulation.cluster import simulate_cluster
from tests.simulation.mutations import MUTATIONS, Mutation


@pytest.mark.parametrize("seed", range(40))
def test_invariants_hold(seed: int) -> None:
    simulate_cluster(seed, 600, replicas=(3, 2, 3, 1)[seed % 4])


def test_a_seed_gives_the_same_run_again() -> None:
    runs = [simulate_cluster(1, 900) for _ in range(2)]
    assert runs[0].trace == runs[1].trace
    texts = [[str(client.text) for client in run.clients] for run in runs]
    assert texts[0] == texts[1]
    assert runs[0].ledger.losses == runs[1].ledger.losses > 0
    assert runs[0].network.messages == runs[1].network.messages


@pytest.mark.slow
@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_server_with_this_mistake_is_found_out(mutation: Mutation, monkeypatch: pytest.MonkeyPatch) -> None:
    mutation.make(monkeypatch)
    with pytest.raises((AssertionError, RuntimeError, RaffiaError)):
        _simulate(mutation)


def _simulate(mutation: Mutation) -> None:
    for seed in (mutation.found_by, *range(mutation.seeds)):
        simulate_cluster(seed, mutation.steps, losses=mutation.losses)
