"""Right where a CRDT library alone is not: late, shuffled, overlapping and unfillable updates, with Yjs as the judge.

Rules checked (design.md, "The life of an edit", step 2):
    The ready part goes on, only the rest waits, bounded; nothing known is ever rewritten; no Skip leaves the server;
    what is live, what another client holds and what a cold restart loads are what Yjs makes of the same updates.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pytest

from tests.interop.clients_of_npm import new_document
from tests.interop.judge import Description, Session, YjsJudge
from tests.support.client import Client, HocuspocusClient, YClient, fresh_reader
from tests.support.lib0 import buf, insert, string, varuint
from tests.support.server import RaffiaServer

SHUFFLED_SEEDS = 300
SESSION_SEEDS = 150
AT_ONCE = 6
ENOUGH_WRONG = 10  # each may cost a deadline
SETTLE_S = 30.0

Order = Callable[[Session, Random], list[int]]


@pytest.fixture(scope="module")
def judge() -> Iterator[YjsJudge]:
    with YjsJudge() as asked:
        yield asked


@dataclass
class Played:
    """One document that was edited: what Yjs has, to be compared again after a restart."""

    seed: int
    document: str
    expected: Description
    log: list[bytes]


async def join(server: RaffiaServer, document: str, dialect: int) -> Client:
    if dialect % 2:
        return await HocuspocusClient(document, inspect=True).join(server.ws)
    return await YClient(inspect=True).join(server.ws, document)


def is_same(judge: YjsJudge, updates: list[bytes], expected: Description, log: list[bytes]) -> bool:
    """Whether these updates make what the log makes.

    Yjs removes formatting marks without effect by itself, and which ones depends on how the same edits were grouped and
    in which order they came. So what differs is compared again with everything in one update each.
    """
    if judge.describe(*updates).same(expected):
        return True
    return judge.describe(judge.merge(updates)).same(judge.describe(judge.merge(log)))


async def play(
    server: RaffiaServer, judge: YjsJudge, seed: int, session: Session, order: list[int]
) -> tuple[Played, list[str]]:
    """Send a session's updates, each through its author's socket, in the given order; says who differs from Yjs."""
    document = new_document(f"seed-{seed}")
    observer = await join(server, document, seed)
    authors = [await join(server, document, seed + index) for index in range(len(session.clients))]
    for index in order:
        author, update = session.log[index]
        authors[author].update(update)
        if index % 7 == 0:
            await asyncio.sleep(0)  # let some answers in between
    for author in authors:
        await author.settle(SETTLE_S)
    for client in (observer, *authors):
        await client.settle(SETTLE_S)
    log = [update for _, update in session.log]
    expected = judge.describe(*log)
    wrong = []
    if not is_same(judge, observer.updates, expected, log):
        wrong.append(f"seed {seed}: observer in {document}")
    for index, author in enumerate(authors):
        own = [update for who, update in session.log if who == index]
        if not is_same(judge, [*own, *author.updates], expected, log):
            wrong.append(f"seed {seed}: author {index} in {document}")
    for client in (observer, *authors):
        if client.skips:
            wrong.append(f"seed {seed}: Skip {client.skips[:3]} was sent to a client")
        await client.close()
    return Played(seed, document, expected, log), wrong


async def play_all(
    server: RaffiaServer, judge: YjsJudge, sessions: Iterator[tuple[int, Session, list[int]]]
) -> tuple[list[Played], list[str]]:
    """Play many seeds, some at a time, one document each."""
    played: list[Played] = []
    wrong: list[str] = []

    async def worker() -> None:
        for seed, session, order in sessions:
            if len(wrong) >= ENOUGH_WRONG:
                return
            try:
                done, differs = await play(server, judge, seed, session, order)
            except (AssertionError, OSError) as error:
                wrong.append(f"seed {seed}: {error}")
                continue
            played.append(done)
            wrong.extend(differs)

    await asyncio.gather(*(worker() for _ in range(AT_ONCE)))
    return played, wrong


async def cold(server: RaffiaServer, judge: YjsJudge, played: list[Played]) -> list[str]:
    """Kill, restart, and compare what a fresh reader of each document gets."""
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    wrong = []
    for done in played:
        async with await fresh_reader(server.ws, done.document, inspect=True) as reader:
            if not is_same(judge, reader.updates, done.expected, done.log):
                wrong.append(f"seed {done.seed}: cold reload of {done.document}")
            if reader.skips:
                wrong.append(f"seed {done.seed}: Skip {reader.skips[:3]} in a cold reload")
    return wrong


def shuffled(session: Session, rng: Random) -> list[int]:
    """Everything in any order."""
    order = list(range(len(session.log)))
    rng.shuffle(order)
    return order


def delayed(session: Session, rng: Random) -> list[int]:
    """In order, but some updates come only at the very end."""
    held = {rng.randrange(len(session.log)) for _ in range(1 + rng.randrange(4))}
    return [index for index in range(len(session.log)) if index not in held] + sorted(held)


def jumbled(session: Session, rng: Random) -> list[int]:
    """Each a little early or late."""
    return sorted(range(len(session.log)), key=lambda index: index + rng.random() * 12)


@pytest.mark.slow
async def test_shuffled_and_delayed_updates(server: RaffiaServer, judge: YjsJudge) -> None:
    orders: list[Order] = [shuffled, delayed, jumbled]

    def sessions() -> Iterator[tuple[int, Session, list[int]]]:
        for seed in range(SHUFFLED_SEEDS):
            session = judge.session(seed, clients=1 + 2 * (seed % 2), steps=40, offline=False)
            yield seed, session, orders[seed % 3](session, Random(seed))

    played, wrong = await play_all(server, judge, sessions())
    assert wrong == []
    assert len(played) == SHUFFLED_SEEDS
    assert server.metric("raffia_waiting_updates") == 0
    assert server.metric("raffia_waiting_bytes") == 0
    assert await cold(server, judge, played) == []


@pytest.mark.slow
async def test_sessions_of_three_clients_on_all_types(server: RaffiaServer, judge: YjsJudge) -> None:
    def sessions() -> Iterator[tuple[int, Session, list[int]]]:
        for seed in range(10_000, 10_000 + SESSION_SEEDS):
            session = judge.session(seed, clients=3, steps=80)
            yield seed, session, session.arrivals

    played, wrong = await play_all(server, judge, sessions())
    assert wrong == []
    assert len(played) == SESSION_SEEDS
    assert server.metric("raffia_waiting_updates") == 0
    assert await cold(server, judge, played) == []


async def test_an_unfillable_update_holds_back_nothing_else(server: RaffiaServer, judge: YjsJudge) -> None:
    document = new_document("unfillable")
    before = server.metric("raffia_waiting_updates")
    observer = await YClient(inspect=True).join(server.ws, document)
    writer = await HocuspocusClient(document, inspect=True).join(server.ws)
    await writer.settle()
    answered = len(writer.statuses)
    never = insert(9, 5, "never", 4)  # clocks 0 to 4 of client 9 will not come
    writer.update(never)
    words = ["é", "😀", "a", "b"]
    good, clock = [], 0
    for word in words:
        good.append(insert(1, clock, word, clock - 1 if clock else None))
        clock += len(word.encode("utf-16-le")) // 2
        writer.update(good[-1])
    await writer.until(lambda: len(writer.statuses) - answered >= len(good), "answers to all but the one that waits")
    expected = judge.describe(*good)
    await observer.until(lambda: judge.describe(*observer.updates).same(expected), "all good updates")
    assert server.metric("raffia_waiting_updates") == before + 1
    assert writer.statuses.count(0) == 0
    assert len(writer.step1s) >= 2, "the server asks the session for what is missing"
    assert not observer.holds(b"never")
    async with await fresh_reader(server.ws, document) as reader:
        assert judge.describe(*reader.updates).same(expected)
    await writer.close()
    await observer.settle()
    assert server.metric("raffia_waiting_updates") == before, "what waited goes with its session"
    await observer.close()


async def test_the_update_that_was_missing_releases_what_waits(server: RaffiaServer, judge: YjsJudge) -> None:
    """A step 2 with a Skip in it, as a client with pending structs sends it; the missing part comes from another."""
    document = new_document("missing")
    parts = [insert(3, 0, "one é "), insert(3, 6, "two 😀 ", 5), insert(3, 13, "three", 12)]
    holey = judge.merge([parts[0], parts[2]])
    observer = await YClient(inspect=True).join(server.ws, document)
    first = await HocuspocusClient(document, inspect=True).join(server.ws)
    second = await YClient(inspect=True).join(server.ws, document)
    await first.settle()
    answered = len(first.statuses)
    first.step2(holey)
    await observer.until(lambda: observer.holds(b"one"), "the ready part")
    assert judge.describe(*observer.updates).same(judge.describe(parts[0]))
    second.update(parts[1])
    expected = judge.describe(*parts)
    await second.settle()
    await observer.until(lambda: judge.describe(*observer.updates).same(expected), "the whole")
    await first.until(lambda: len(first.statuses) > answered, "the answer to what waited")
    await first.settle()
    assert 0 not in first.statuses
    assert observer.skips == first.skips == second.skips == []
    for client in (first, second, observer):
        await client.close()
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with await fresh_reader(server.ws, document, inspect=True) as reader:
        assert judge.describe(*reader.updates).same(expected)
        assert reader.skips == []


async def test_the_waiting_list_is_bounded(tmp_path: Path) -> None:
    """Full closes 1013, is counted, and nothing of what waited is acknowledged."""
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_MAX_WAITING_UPDATES": "32"}) as server:
        document = new_document("full")
        neighbour = await YClient().join(server.ws, document)
        flooder = await YClient().join(server.ws, document)
        for number in range(64):
            flooder.update(insert(50 + number, 7, f"w{number:02}", 6))
        code, reason = await flooder.until_closed()
        assert (code, "wait" in reason) == (1013, True), reason
        assert not any(flooder.holds(f"w{number:02}".encode()) for number in range(64))
        assert server.metric('raffia_refusals_total{reason="waiting-full"}') == 1
        neighbour.update(insert(1, 0, "é"))
        await neighbour.settle()
        assert server.metric("raffia_waiting_updates") == 0
        await neighbour.close()


def section(client: int, clock: int, *structs: bytes) -> bytes:
    return b"\x01" + varuint(len(structs)) + varuint(client) + varuint(clock) + b"".join(structs) + b"\x00"


OVERLAPS = {
    "the same range with other text": section(1, 0, b"\x04\x01" + string("t") + string("XXX")),
    "longer, with other text where it is known": section(1, 0, b"\x04\x01" + string("t") + string("XXXde")),
    "from the middle": section(1, 1, b"\x84" + varuint(1) + varuint(0) + string("XXd")),
    "a GC over it": section(1, 0, b"\x00" + varuint(5)),
    "a deleted item over it": section(1, 0, b"\x01\x01" + string("t") + varuint(4)),
    "another kind of content": section(1, 0, b"\x03\x01" + string("t") + buf(b"\x01\x02"), b"\x00" + varuint(4)),
    "under another root": section(1, 0, b"\x04\x01" + string("other") + string("XXXX")),
}


@pytest.mark.parametrize("overlap", list(OVERLAPS))
async def test_an_overlap_cannot_rewrite_what_is_known(server: RaffiaServer, judge: YjsJudge, overlap: str) -> None:
    document = new_document("overlap")
    known = insert(1, 0, "abc")
    observer = await YClient(inspect=True).join(server.ws, document)
    writer = await YClient(inspect=True).join(server.ws, document)
    writer.update(known)
    await writer.settle()
    attacker = await HocuspocusClient(document, inspect=True).join(server.ws)
    attacker.update(OVERLAPS[overlap])
    await attacker.until(lambda: len(attacker.statuses) == attacker.sent, "an answer")
    await observer.settle()
    expected = judge.describe(known, OVERLAPS[overlap])  # Yjs cuts what it knows off an update
    live = judge.describe(*observer.updates)
    assert live.text("t").startswith("abc")
    assert live.same(expected)
    for client in (observer, writer, attacker):
        await client.close()
    async with await fresh_reader(server.ws, document) as warm:
        assert judge.describe(*warm.updates).same(live)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with await fresh_reader(server.ws, document) as cold_reader:
        assert judge.describe(*cold_reader.updates).same(live)
