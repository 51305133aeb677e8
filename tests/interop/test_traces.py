"""Recorded typing, keystroke by keystroke through a socket: exactly the recorded text, live and cold."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from tests.interop.clients_of_npm import new_document
from tests.interop.judge import YjsJudge
from tests.support.client import Follower, YClient, deletes_of, fresh_reader
from tests.support.lib0 import parse_update
from tests.support.server import RaffiaServer
from tests.traces import AUTOMERGE_PAPER, FRIENDSFOREVER, load_trace, trace_path

pytestmark = pytest.mark.slow

EDITS = 259_778
PAPER_S = 110.0
MARK_EVERY = 2_000
MARKS_AHEAD = 5
STORED_S = 60.0
# How much of a trace is typed: make test types its beginning, make soak all of it (None).
PAPER = [60_000, pytest.param(None, marks=pytest.mark.thorough)]
FRIENDS = [6_000, pytest.param(None, marks=pytest.mark.thorough)]


@pytest.fixture(scope="module")
def judge() -> Iterator[YjsJudge]:
    with YjsJudge() as asked:
        yield asked


def marked(writer: YClient, count: int) -> bool:
    return len(writer.marks) >= count


async def type_pipelined(writer: YClient, updates: list[bytes]) -> None:
    """Send all updates one by one without waiting for each; some thousands may be under way unacknowledged."""
    for number, update in enumerate(updates, 1):
        writer.update(update)
        if number % MARK_EVERY == 0:
            writer.mark(b"%d" % number)
            due = number // MARK_EVERY - MARKS_AHEAD
            await writer.until(partial(marked, writer, due), f"{due} marks", STORED_S)
    await writer.until_stored(b"end", deadline_s=STORED_S)


@pytest.mark.parametrize("count", PAPER)
async def test_automerge_paper_as_single_edits(server: RaffiaServer, judge: YjsJudge, count: int | None) -> None:
    updates, wanted = judge.trace(trace_path(AUTOMERGE_PAPER))
    assert len(updates) == EDITS
    updates = updates[:count]
    document = new_document("paper")
    reader = await Follower().join(server.ws, document)
    writer = YClient()
    await writer.join(server.ws, document)
    started = time.monotonic()
    await type_pipelined(writer, [update for _, update in updates])
    took_s = time.monotonic() - started
    print(f"automerge-paper: {len(updates)} edits acknowledged in {took_s:.1f} s, {len(updates) / took_s:.0f}/s")
    assert took_s < PAPER_S
    expected = judge.describe(*(update for _, update in updates))
    assert count is not None or expected.text() == wanted
    deletes = deletes_of(expected.deletes)
    await reader.until(lambda: reader.has(expected.state_vector, set()), "every insert", STORED_S)
    await reader.until(lambda: deletes <= reader.deleted, "every delete", STORED_S)
    assert reader.skips == []
    assert judge.describe(*reader.updates).same(expected)
    await writer.close()
    await reader.close()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with await fresh_reader(server.ws, document, inspect=True) as cold:
        assert judge.describe(*cold.updates).same(expected)
        assert cold.skips == []
        print(f"automerge-paper: a newcomer gets {sum(map(len, cold.updates))} bytes")
        # The snapshot's bound (340 KB) is on squashed bytes; the tail since the last fold is squashed as it is folded.
        assert sum(map(len, cold.updates)) <= 340_000


def last_foreign_parent(txns: list[dict[str, Any]]) -> list[int]:
    """For each transaction the newest one of the other agent that it was made on top of; -1 for none."""
    newest: list[dict[int, int]] = []
    found = []
    for index, txn in enumerate(txns):
        known: dict[int, int] = {}
        for parent in txn["parents"]:
            for agent, seen in {**newest[parent], txns[parent]["agent"]: parent}.items():
                known[agent] = max(known.get(agent, -1), seen)
        newest.append(known)
        found.append(known.get(1 - txn["agent"], -1))
        assert index > max(txn["parents"], default=-1)
    return found


def clocks(updates: list[tuple[int, bytes]]) -> list[int]:
    """The author's next clock after each update."""
    latest: dict[int, int] = {}
    found = []
    for client, update in updates:
        latest[client] = max(latest.get(client, 0), parse_update(update).structs.get(client, (0, 0))[1])
        found.append(latest[client])
    return found


@pytest.mark.parametrize("count", FRIENDS)
async def test_friendsforever_as_two_concurrent_clients(
    server: RaffiaServer, judge: YjsJudge, count: int | None
) -> None:
    trace = load_trace(FRIENDSFOREVER)
    txns = trace["txns"]
    updates, wanted = judge.trace(trace_path(FRIENDSFOREVER))
    assert wanted == trace["endContent"]
    assert len(updates) == len(txns), "one update for each transaction"
    assert [client for client, _ in updates] == [txn["agent"] + 1 for txn in txns]
    updates = updates[:count]
    parsed = [parse_update(update) for _, update in updates]
    ends = clocks(updates)
    deleted = [deletes_of(holds.deletes) for holds in parsed]
    needs = last_foreign_parent(txns)
    document = new_document("friends")
    observer = await Follower().join(server.ws, document)
    authors = {client: await Follower().join(server.ws, document) for client in (1, 2)}

    async def write(me: int, author: Follower) -> None:
        for index, (client, update) in enumerate(updates):
            if client != me:
                continue
            if (need := needs[index]) >= 0:
                await author.until(partial(author.has, {3 - me: ends[need]}, deleted[need]), f"edit {need}", STORED_S)
            author.update(update)
        await author.until_stored(b"end", deadline_s=STORED_S)

    started = time.monotonic()
    async with asyncio.timeout(100):
        await asyncio.gather(*(write(me, author) for me, author in authors.items()))
    print(f"friendsforever: {len(updates)} transactions in {time.monotonic() - started:.1f} s")
    expected = judge.describe(*(update for _, update in updates))
    text = expected.text()
    assert count is not None or text == wanted
    deletes = deletes_of(expected.deletes)
    await observer.until(lambda: observer.has(expected.state_vector, deletes), "everything", STORED_S)
    assert judge.describe(*observer.updates).same(expected)
    for client, author in authors.items():
        own = [update for who, update in updates if who == client]
        assert judge.describe(*own, *author.updates).text() == text
        assert author.skips == []
        await author.close()
    await observer.close()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with await fresh_reader(server.ws, document, inspect=True) as cold:
        assert judge.describe(*cold.updates).same(expected)
        assert cold.skips == []
