"""Inputs that break CRDT libraries, over a real socket in both dialects: the promised answer, and nobody else notices.

Expected answers are design.md's table: malformed closes the socket with 4400 in both dialects, before a byte of it is
stored or relayed; what is legitimate is kept and relayed exactly; each refusal is counted by its reason.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.interop.clients_of_npm import new_document
from tests.interop.judge import YjsJudge
from tests.support.client import Client, HocuspocusClient, YClient, fresh_reader
from tests.support.lib0 import buf, insert, string
from tests.support.server import RaffiaServer

ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "killers.json").read_text())["rows"]
REFUSED = [row for row in ROWS if row["expected"] == "refused"]
MALFORMED = 4400
REASONS = {"UpdateError": "malformed-update", "PresenceError": "malformed-presence", "WireError": "malformed-frame"}
MEMORY_BYTES = 30_000_000  # the hostile counts make a careless reader allocate 538 MB
ANSWER_S = 3.0


@pytest.fixture(scope="module")
def judge() -> Iterator[YjsJudge]:
    with YjsJudge() as asked:
        yield asked


class Neighbours:
    """Two people in another room, who type on while the attack runs."""

    def __init__(self, one: YClient, two: YClient) -> None:
        self.one = one
        self.two = two
        self.clock = 0

    async def type(self) -> None:
        text = f"<{self.clock:05}é>"
        self.one.update(insert(77, self.clock, text, self.clock - 1 if self.clock else None))
        self.clock += len(text)
        await self.one.settle(ANSWER_S)
        await self.two.until(lambda: self.two.holds(text.encode()), f"{text} in the other room", ANSWER_S)


@pytest.fixture
async def neighbours(server: RaffiaServer) -> AsyncIterator[Neighbours]:
    document = new_document("neighbours")
    pair = Neighbours(await YClient().join(server.ws, document), await YClient().join(server.ws, document))
    await pair.type()
    yield pair
    await pair.type()
    assert pair.one.closed is None
    assert pair.two.closed is None
    await pair.one.close()
    await pair.two.close()


async def join(server: RaffiaServer, document: str, dialect: str) -> Client:
    if dialect == "hocuspocus":
        return await HocuspocusClient(document, inspect=True).join(server.ws)
    return await YClient(inspect=True).join(server.ws, document)


def content(parts: list[list[Any]]) -> bytes:
    return b"".join(bytes.fromhex(piece) * count for piece, count in parts)


def send(client: Client, given: str, payload: bytes) -> None:
    if given == "state_vector":
        client.step1(payload)
    elif given == "awareness":
        client.send(client.prefix + b"\x01" + buf(payload))
    else:
        client.update(payload)


def refusals(server: RaffiaServer, reason: str) -> float:
    return server.metrics().get(f'raffia_refusals_total{{reason="{reason}"}}', 0.0)


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row, id=row["name"], marks=pytest.mark.xfail(strict=True, reason="not refused yet") if "open" in row else ()
        )
        for row in REFUSED
    ],
)
async def test_a_killer_is_refused(
    server: RaffiaServer, judge: YjsJudge, neighbours: Neighbours, row: dict[str, Any], dialect: str
) -> None:
    document = new_document("killer")
    before = content(row["on"]) if "on" in row else insert(1, 0, "abc")
    witness = await join(server, document, "y-websocket")
    victim = await join(server, document, "y-websocket")
    victim.update(before)
    await victim.settle()
    expected = judge.describe(before)
    reason = REASONS[row["error"]]
    counted, memory, pid = refusals(server, reason), server.rss_bytes(), server.pid
    attacker = await join(server, document, dialect)
    send(attacker, row["given"], content(row["bytes"]))
    code, said = await attacker.until_closed(ANSWER_S)
    assert code == MALFORMED
    assert said, "a refusal names its reason"
    await neighbours.type()
    assert refusals(server, reason) == counted + 1
    assert server.rss_bytes() - memory < MEMORY_BYTES
    # The same room goes on as well: the attack was neither stored nor relayed.
    await victim.settle()
    await witness.settle()
    assert judge.describe(*witness.updates).same(expected)
    async with await fresh_reader(server.ws, document, inspect=True) as reader:
        assert judge.describe(*reader.updates).same(expected)
    assert server.running
    assert server.pid == pid
    await victim.close()
    await witness.close()


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_a_delete_that_splits_a_surrogate_pair_is_relayed_exactly(
    server: RaffiaServer, judge: YjsJudge, dialect: str
) -> None:
    row = next(row for row in ROWS if row["name"] == "delete-splits-a-surrogate-pair")
    before, split = content(row["on"]), content(row["bytes"])
    document = new_document("surrogate")
    witness = await join(server, document, "y-websocket")
    editor = await join(server, document, dialect)
    editor.update(before)
    editor.update(split)
    await editor.settle()
    await witness.settle()
    expected = judge.describe(before, split)
    assert judge.describe(*witness.updates).same(expected)
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with await fresh_reader(server.ws, document) as reader:
        assert judge.describe(*reader.updates).same(expected)
        # and editors can go on: Yjs integrates what follows
        more = insert(1, 4, "z", 3)
        assert judge.describe(*reader.updates, more).same(judge.describe(before, split, more))


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_the_four_updates_out_of_order_end_whole(server: RaffiaServer, judge: YjsJudge, dialect: str) -> None:
    row = next(row for row in ROWS if row["expected"] == "waits")
    updates = [bytes.fromhex(update) for update in row["sequence"]]
    document = new_document("four")
    witness = await join(server, document, "y-websocket")
    editor = await join(server, document, dialect)
    for update in updates:
        editor.update(update)
    await editor.settle()
    await witness.settle()
    expected = judge.describe(*updates)
    assert not expected.pending
    assert judge.describe(*witness.updates).same(expected)
    assert witness.skips == []
    await asyncio.to_thread(server.kill)
    await asyncio.to_thread(server.start)
    async with await fresh_reader(server.ws, document) as reader:
        assert judge.describe(*reader.updates).same(expected)


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("empty", ""),
        ("unknown type", "05"),
        ("unknown sync type", "000301 00"),
        ("cut short", "000205aabb"),
        ("count beyond the frame", "0002ffffff7a"),
        ("53-bit length", "0002ffffffffffffff7f"),
        ("endless varint", "0002" + "ff" * 30),
        ("trailing bytes", "00020200000102"),
        ("awareness with a count beyond it", "0104ffffff7a"),
        ("awareness with an endless varint", "01a05d" + "ff" * 12_000),
        ("awareness with JSON that is none", "010501010001 78"),
        ("message for clients only", "02000161"),
    ],
)
async def test_malformed_frames_close_with_4400(
    server: RaffiaServer, neighbours: Neighbours, name: str, frame: str
) -> None:
    attacker = await YClient().join(server.ws, new_document("frame"))
    attacker.send(bytes.fromhex(frame))
    code, said = await attacker.until_closed(ANSWER_S)
    assert (code, bool(said)) == (MALFORMED, True), name
    await neighbours.type()


@pytest.mark.parametrize(
    ("name", "frame"),
    [
        ("empty", b""),
        ("no address", b"\x05ab"),
        ("unknown type", b"\x01d\x0b"),
        ("internal type 4", b"\x01d\x04\x00\x01\x00"),
        ("internal type 6", b"\x01d\x06\x00"),
        ("cut short", b"\x01d\x00\x02\x05ab"),
        ("count beyond the frame", b"\x01d\x00\x02\xff\xff\xff\x7a"),
    ],
)
async def test_malformed_hocuspocus_frames_close_with_4400(
    server: RaffiaServer, neighbours: Neighbours, name: str, frame: bytes
) -> None:
    attacker = await HocuspocusClient(new_document("frame")).join(server.ws)
    attacker.send(frame)
    code, said = await attacker.until_closed(ANSWER_S)
    assert (code, bool(said)) == (MALFORMED, True), name
    await neighbours.type()


async def test_deep_json_in_presence_does_not_reach_anybody(server: RaffiaServer, neighbours: Neighbours) -> None:
    document = new_document("deep")
    witness = await YClient().join(server.ws, document)
    attacker = await YClient().join(server.ws, document)
    state = b"[" * 8000 + b"]" * 8000
    attacker.send(b"\x01" + buf(b"\x01\x05\x01" + buf(state)))
    code, _ = await attacker.until_closed(ANSWER_S)
    assert code == MALFORMED
    await witness.settle()
    assert 5 not in witness.presence
    await neighbours.type()
    await witness.close()


async def test_an_address_that_is_no_document_is_denied(server: RaffiaServer) -> None:
    """In band, as the provider shows it to the user; the connection's other documents go on."""
    client = await HocuspocusClient(new_document("address")).join(server.ws)
    await client.settle()
    client.address = "no document"
    client.send(string("no document") + b"\x02\x00" + string("") + string("4.8.0"))
    await client.until(lambda: client.denied, "a denial", ANSWER_S)
    client.address = client.prefix[1:].decode()
    await client.settle()
    await client.close()


@pytest.mark.parametrize("size", [65_700, 80_000, 400_000], ids=["just over", "over the frame's limit", "far over"])
async def test_an_update_over_the_limit_is_refused_for_good(tmp_path: Path, size: int) -> None:
    """4413, or y-websocket would come back with the same for ever; Hocuspocus: 0, then CLOSE for that document.

    Of a message over the frame's limit only the start is read, and that holds the address.
    """
    env = {"RAFFIA_MAX_UPDATE_BYTES": "64KiB", "RAFFIA_MAX_DOCUMENT_BYTES": "64KiB"}
    with RaffiaServer(tmp_path / "data", env=env) as server:
        big = insert(1, 0, "é" * (size // 2))
        document = new_document("big")
        witness = await YClient().join(server.ws, document)
        first = await YClient().join(server.ws, document)
        first.update(big)
        assert (await first.until_closed(ANSWER_S))[0] == 4413
        second = await HocuspocusClient(document).join(server.ws)
        await second.settle()
        second.update(big)
        await second.until(lambda: second.closes, "CLOSE", ANSWER_S)
        assert second.statuses[-1] == 0
        await witness.settle()
        assert second.closed is None
        assert not witness.holds("éé".encode())
        await second.close()
        await witness.close()
        assert server.metrics()['raffia_refusals_total{reason="too-large"}'] == 2
        assert server.log().count("too-large") >= 2


async def test_random_bytes_for_a_while(server: RaffiaServer, neighbours: Neighbours) -> None:
    """A hundred sockets that send noise: every one is closed with 4400, or ignored where noise is a message."""
    codes = []
    for number in range(100):
        attacker = await YClient().join(server.ws, new_document("noise"))
        attacker.send(os.urandom(1 + number * 13))
        attacker.send(b"\x05")  # if the noise was a message by chance, this is none
        codes.append((await attacker.until_closed(ANSWER_S))[0])
    assert set(codes) == {MALFORMED}
    await neighbours.type()
