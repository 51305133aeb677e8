"""`python -m tests.simulation [--seed N] [--seeds N] [--steps N] [--replicas N]`: the simulation at length."""

from __future__ import annotations

import argparse
import logging
import time

from tests.simulation.cluster import Cluster, simulate_cluster
from tests.simulation.world import Simulation, simulate

if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--seeds", type=int, default=1, help="how many of them")
    parser.add_argument("--steps", type=int, default=600, help="steps of each run")
    parser.add_argument("--replicas", type=int, default=0, help="how many share a store; 0: one process has its own")
    chosen = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the journal is unavailable the whole time here
    started_s, crashes, tokens, lost, gone = time.monotonic(), 0, 0, 0, 0
    for seed in range(chosen.seed, chosen.seed + chosen.seeds):
        done: Cluster | Simulation
        if chosen.replicas:
            done = cluster = simulate_cluster(seed, chosen.steps, chosen.replicas)
            lost += cluster.ledger.losses
            gone += len(cluster.ledger.gone)
        else:
            done = simulate(seed, chosen.steps)
        crashes += done.crashes
        tokens += done.tokens
    took_s = time.monotonic() - started_s
    print(f"{chosen.seeds} seeds, {tokens} inserts, {crashes} crashes, {took_s:.1f} s: all invariants hold")
    if chosen.replicas:
        print(f"the log lost {lost} inserts and deletes; {lost - gone} came back, nobody alive held the other {gone}")
