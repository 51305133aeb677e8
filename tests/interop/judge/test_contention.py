"""Whatever passes the gate is applied by Yjs in bounded time, and real work passes: CN1-CN3 of crdt/contention.py."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from tools.attacks.crafted import formats, many_roots, one_key, one_place

from raffia.crdt.contention import contention
from raffia.crdt.merge import merge
from raffia.crdt.squash import squash
from tests.interop.judge import FOLDER, YjsJudge, install
from tests.support.server import ROOT
from tests.traces import AUTOMERGE_PAPER, FRIENDSFOREVER, trace_path
from tests.unit.crdt.hostile import SHAPES

# Processor time of Yjs in Node. 500,000 steps of 1.5 us are 0.75 s; starting Node and compiling it is in there as well.
BOUND_S = 3.0
MOST = [6_000, pytest.param(60_000, marks=pytest.mark.thorough)]
SEEDS = [*range(20), *(pytest.param(seed, marks=pytest.mark.thorough) for seed in range(20, 100))]
TRACES = [FRIENDSFOREVER, pytest.param(AUTOMERGE_PAPER, marks=pytest.mark.thorough)]
OTHERS = {
    "one place": one_place,
    "one key": one_key,
    "formats": formats,
    "roots": lambda count: many_roots(1, 13 * count),
}


def yjs_s(update: bytes, folder: Path) -> float:
    """What an update costs Yjs, in seconds of processor time."""
    (folder / "update").write_bytes(update)
    command = [install(), str(ROOT / "tools/attacks/apply.mjs"), str(FOLDER), str(folder / "update")]
    return float(subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout)


@pytest.mark.slow
@pytest.mark.parametrize("most", MOST)
@pytest.mark.parametrize("name", [*SHAPES, *OTHERS])
def test_cn2_the_worst_that_passes_is_applied_in_time(name: str, most: int, tmp_path: Path) -> None:
    """The largest one of each shape that passes, up to so many insertions."""
    make = SHAPES.get(name) or OTHERS[name]
    passes, fails = 1, most
    while fails - passes > max(16, passes // 50):
        middle = (passes + fails) // 2
        if contention([make(middle)]).is_too_much:
            fails = middle
        else:
            passes = middle
    took_s = yjs_s(make(passes), tmp_path)
    print(f"{name}: {passes} insertions, {len(make(passes))} bytes, {took_s:.2f} s")
    assert took_s < BOUND_S


@pytest.mark.slow
@pytest.mark.parametrize("trace", TRACES)
def test_cn2_the_traces_pass(judge: YjsJudge, trace: str) -> None:
    updates = [update for _, update in judge.trace(trace_path(trace))[0]]
    whole = merge(updates)
    for update in (whole, squash(whole)):
        found = contention([update])
        print(trace, found)
        assert found.steps <= found.structs
        assert not found.is_too_much


@pytest.mark.slow
@pytest.mark.parametrize("seed", SEEDS)
def test_cn2_sessions_pass(judge: YjsJudge, seed: int) -> None:
    """Of all types, with undo and an offline client."""
    session = judge.session(seed, clients=5, steps=400)
    found = contention([merge(session.updates)])
    assert found.steps < 2 * found.structs + 1000
    assert not found.is_too_much
