"""Squash, merge, splice and view as Yjs sees them: the traces, and random sessions of all types.

The judge is a fresh Y.Doc that loads both forms. Each test prints the seed that failed as part of its message.
"""

from __future__ import annotations

import random
import time

import pycrdt
import pytest

from raffia.crdt.merge import diff, merge
from raffia.crdt.ranges import IdRanges
from raffia.crdt.splice import merge_exactly
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update, write_state_vector
from raffia.crdt.view import View, edit
from raffia.types import EMPTY_UPDATE
from tests.interop.judge import Description, YjsJudge
from tests.traces import AUTOMERGE_PAPER, FRIENDSFOREVER, trace_path

SESSIONS = 1_000
SHARD = 50  # seeds in one test
SHORT = 300  # sessions that make test plays
WIDE = 3_141_592_653  # client ids of real size make real snapshots


def check_same(judge: YjsJudge, seed: int, expected: Description, *updates: bytes) -> None:
    assert judge.describe(*updates).key() == expected.key(), f"seed {seed}"


def squashed_in_steps(updates: list[bytes], step: int) -> bytes:
    base = EMPTY_UPDATE
    for at in range(0, len(updates), step):
        base = squash(merge([base, *updates[at : at + step]]))
    return base


def check_session(judge: YjsJudge, seed: int) -> None:
    session = judge.session(seed)
    updates = session.updates
    for update in (*updates, *session.states):
        read_update(update)  # what real editors send is never refused
    plain = merge(updates)
    expected = judge.describe(*updates)
    assert not expected.pending, f"seed {seed}"
    check_same(judge, seed, expected, plain)
    check_same(judge, seed, expected, merge_exactly(updates))
    squashed = squash(plain)
    check_same(judge, seed, expected, squashed)
    assert len(squashed) <= len(plain)
    assert squash(squashed) == squashed
    assert deletes(squashed) == deletes(plain)
    check_same(judge, seed, expected, squashed_in_steps(updates, 7))
    # Going on: from either form the same edits are made, and fit onto the other one.
    for client in (session.clients[0], 77):
        made, _ = judge.edit_on(plain, seed=seed, client=client)
        assert judge.edit_on(squashed, seed=seed, client=client)[0] == made, f"seed {seed}"
        later = judge.describe(plain, *made)
        check_same(judge, seed, later, squashed, *made)
        check_same(judge, seed, later, squash(merge([squashed, *made])))


def deletes(update: bytes) -> IdRanges:
    return IdRanges.decode(update[read_update(update).deletes_at :])


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [*range(0, SHORT, SHARD), *(pytest.param(n, marks=pytest.mark.thorough) for n in range(SHORT, SESSIONS, SHARD))],
)
def test_sessions(judge: YjsJudge, first: int) -> None:
    for seed in range(first, first + SHARD):
        check_session(judge, seed)


def test_some_sessions(judge: YjsJudge) -> None:
    for seed in range(5_000, 5_015):
        check_session(judge, seed)


def test_sessions_that_keep_deleted_content(judge: YjsJudge) -> None:
    for seed in range(6_000, 6_020):
        session = judge.session(seed, gc=False)
        plain = merge(session.updates)
        kept = squash(plain, keep_deleted=True)
        assert judge.describe(kept, gc=False).key() == judge.describe(plain, gc=False).key(), f"seed {seed}"
        assert len(kept) <= len(plain)


def test_states_of_clients_merge(judge: YjsJudge) -> None:
    """Whole states of clients, each cut differently, in any order. (Where editors split surrogate pairs, states hold
    halves or not, depending on whose they are, and the first one wins: in Yjs too.)
    """
    for seed in range(7_000, 7_020):
        session = judge.session(seed, surrogates=False)
        expected = judge.describe(*session.updates)
        states = [*session.states]
        random.Random(seed).shuffle(states)
        check_same(judge, seed, expected, squash(merge_exactly(states)))


def test_diffs(judge: YjsJudge) -> None:
    """A peer that knows a part gets the rest, from the plain and from the squashed form."""
    for seed in range(8_000, 8_020):
        session = judge.session(seed, offline=False)
        updates = session.updates
        expected = judge.describe(*updates)
        known = updates[: random.Random(seed).randrange(len(updates))]
        at_peer = judge.describe(*known)
        vector = write_state_vector(at_peer.state_vector)
        for form in (merge(updates), squash(merge(updates))):
            check_same(judge, seed, expected, *known, diff(form, vector))


def test_views_show_what_yjs_shows(judge: YjsJudge) -> None:
    """Text with split surrogate pairs too; and an edit from the server is at the place it was meant for."""
    for seed in range(9_000, 9_040):
        merged = merge(judge.session(seed).updates)
        view, expected = View(merged), judge.describe(merged)
        assert set(view.roots) == set(expected.content), f"seed {seed}"
        assert view.text("text") == expected.text(), f"seed {seed}"
        view.json()
        made = edit(merged, lambda doc: doc.get("text", type=pycrdt.Text).insert(0, "é😀 "))
        assert judge.describe(merged, made).text() == "é😀 " + expected.text(), f"seed {seed}"


@pytest.fixture(scope="module")
def paper(judge: YjsJudge) -> tuple[list[bytes], str]:
    updates, end = judge.trace(trace_path(AUTOMERGE_PAPER), client=WIDE)
    return [update for _, update in updates], end


def test_automerge_paper(judge: YjsJudge, paper: tuple[list[bytes], str]) -> None:
    updates, end = paper
    plain = merge(updates)
    began = time.process_time()
    squashed = squash(plain)
    assert time.process_time() - began < 1
    assert len(squashed) <= 340_000
    expected = judge.describe(plain)
    assert expected.text() == end
    assert judge.describe(squashed).key() == expected.key()
    assert View(squashed).text("text") == end
    # A newcomer gets the same through a diff from nothing.
    assert len(diff(squashed, write_state_vector({}))) <= 340_000


def test_automerge_paper_again_with_a_tail(judge: YjsJudge, paper: tuple[list[bytes], str]) -> None:
    updates, end = paper
    base = squash(merge(updates[:-500]))
    merged = merge([base, merge(updates[-500:])])
    took = []
    for _ in range(5):
        began = time.process_time()
        squashed = squash(merged)
        took.append(time.process_time() - began)
    assert min(took) < 0.05
    assert squashed == squash(merge(updates))
    assert judge.describe(squashed).text() == end


def test_friendsforever(judge: YjsJudge) -> None:
    """Two people at the same time, with their recorded causality, as clients 1 and 2."""
    made, end = judge.trace(trace_path(FRIENDSFOREVER))
    assert {client for client, _ in made} == {1, 2}
    updates = [update for _, update in made]
    plain = merge(updates)
    expected = judge.describe(plain)
    assert expected.text() == end
    squashed = squash(plain)
    assert judge.describe(squashed).key() == expected.key()
    assert squashed_in_steps(updates, 500) == squashed
    assert len(squashed) <= len(judge.state(plain))


def test_blocks_created_and_deleted_leave_no_more_than_yjs_keeps(judge: YjsJudge) -> None:
    updates = judge.blocks(3_000, client=WIDE)
    plain = merge(updates)
    squashed = squash(plain)
    assert judge.describe(squashed).key() == judge.describe(plain).key()
    assert len(squashed) <= len(judge.state(plain))
    assert b"block" not in squashed


def test_a_deleted_word_is_not_in_the_bytes_a_newcomer_gets(judge: YjsJudge) -> None:
    doc = judge.replace("the sécret😀word stays away", "sécret😀word", client=WIDE)
    squashed = squash(merge(doc))
    assert any("sécret😀word".encode() in update for update in doc)
    assert b"cret" not in squashed
    assert judge.describe(squashed).text() == "the  stays away"
    assert judge.describe(squashed).key() == judge.describe(*doc).key()
