"""Bytes that are made to hurt: memory bombs, poisoned clocks, gaps. Sent by somebody who may write."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.attacks.scene import ALL_CORNERS, BAD, VERA, Place, Victims, enter, shown, shows
from tests.support.client import Client, HocuspocusClient
from tests.support.lib0 import buf, insert, varuint

MIB = 1 << 20
HUGE = (1 << 31) - 1
ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "vectors" / "killers.json").read_text())["rows"]
REFUSED = [row for row in ROWS if row["expected"] == "refused"]


def gc(client: int, clock: int, length: int) -> bytes:
    """An update with one GC struct: what was there is gone, whatever it was."""
    return b"\x01\x01" + varuint(client) + varuint(clock) + b"\x00" + varuint(length) + b"\x00"


def delete(client: int, clock: int, length: int) -> bytes:
    return b"\x00\x01" + varuint(client) + b"\x01" + varuint(clock) + varuint(length)


def send(client: Client, given: str, payload: bytes) -> None:
    if given == "state_vector":
        client.step1(payload)
    elif given == "awareness":
        client.send(client.prefix + b"\x01" + buf(payload))
    else:
        client.update(payload)


async def test_bombs_are_refused_and_cost_nothing(place: Place, dialect: str) -> None:
    """Every row of killers.json; tests/interop/test_killers.py compares what Yjs makes of the same."""
    async with Victims(place) as victims:
        memory = place.rss_bytes()
        pids = [server.pid for server in place.servers]
        for row in REFUSED:
            content = b"".join(bytes.fromhex(piece) * count for piece, count in row["bytes"])
            attacker = await enter(place.attacker, victims.document, dialect)
            send(attacker, row["given"], content)
            code, reason = await attacker.until_closed()
            assert (code, bool(reason)) == (4400, True), row["name"]
        assert place.rss_bytes() - memory < 60 * MIB
        assert [server.pid for server in place.servers if server.running] == pids


@pytest.mark.parametrize("corner", ALL_CORNERS, indirect=True)
@pytest.mark.parametrize("how", ["gc", "text", "step2", "beyond", "wraps"])
async def test_a_victims_clock_cannot_be_poisoned_while_she_types(place: Place, dialect: str, how: str) -> None:
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        for ahead in (0, 7, 500):
            clock = victims.clock + ahead
            if how == "gc":
                attacker.update(gc(VERA, clock, 5))
            elif how == "text":
                attacker.update(insert(VERA, clock, BAD, clock - 1))
            elif how == "step2":
                attacker.step2(gc(VERA, clock, 5))
            elif how == "beyond":
                attacker.update(gc(VERA, clock, HUGE - clock - 1000))
            else:
                attacker.update(gc(VERA, clock, HUGE))
                assert (await attacker.until_closed())[0] == 4400
                attacker = await enter(place.attacker, victims.document, dialect)
            await victims.go_on()
        assert not any(BAD.encode() in update for update in victims.walt.updates)
        await attacker.close()


@pytest.mark.parametrize("corner", ALL_CORNERS, indirect=True)
async def test_a_victims_clock_cannot_be_poisoned_before_she_speaks(place: Place, dialect: str) -> None:
    """Her editor has announced its id and nothing is written yet: the time at which others learn it."""
    first = VERA + 1
    async with Victims(place) as victims:
        late = HocuspocusClient(victims.document, token=victims.vera.token)
        await late.join(place.victims.ws)
        late.announce(first, 1, {"name": "Vera's other tab"})
        attacker = await enter(place.attacker, victims.document, dialect)
        await attacker.until(lambda: first in attacker.presence, "the id")
        attacker.update(gc(first, 0, HUGE - 1))
        attacker.update(insert(first, 0, BAD, root="late"))
        await victims.go_on()
        late.update(insert(first, 0, "zuerst é", root="late"))
        await late.until_stored()
        late.update(insert(first, 8, " und weiter", 7, root="late"))
        await late.until_stored()
        await shows("zuerst é und weiter", place.attacker, victims.document, root="late")
        await attacker.close()
        await late.close()


async def test_who_comes_back_finds_her_words_and_can_write(place: Place, dialect: str) -> None:
    """Her old id is guarded for a minute, and anybody's then (docs/security.md, "What remains"): what she wrote stays
    all the same, and an editor that is opened anew writes under a new id."""
    async with Victims(place) as victims:
        away = 0xABAD
        ana = await enter(place.victims, victims.document, "hocuspocus", user="ana")
        ana.update(insert(away, 0, "Anas Worte é", root="ana"))
        await ana.settle()
        await ana.close()
        attacker = await enter(place.attacker, victims.document, dialect)
        attacker.update(gc(away, 0, 5))  # what is known is not rewritten
        attacker.update(insert(away, 0, "x" * 12, root="ana"))
        attacker.update(gc(away, 12, HUGE - 20))
        await victims.go_on()  # what was sent before has been read; nothing of it is answered while the id is guarded
        await shows("Anas Worte é", place.victims, victims.document, root="ana")
        back = await enter(place.victims, victims.document, "hocuspocus", user="ana")
        back.update(insert(away + 1, 0, "Wieder da: ", root="ana2"))
        await back.settle()
        await shows("Wieder da: ", place.attacker, victims.document, root="ana2")
        await back.close()
        await attacker.close()


async def test_a_victim_without_presence_keeps_her_id(alone: Place, dialect: str) -> None:
    """A script announces nothing: having written the first struct is what makes the id hers (OW1)."""
    async with Victims(alone, has_presence=False) as victims:
        attacker = await enter(alone.attacker, victims.document, dialect)
        for _ in range(3):
            attacker.update(gc(VERA, victims.clock, 100_000))
            await victims.go_on()
        await attacker.close()


async def test_many_ids_make_nobody_forgotten(alone: Place) -> None:
    """What is remembered about ids is bounded (OW4): who makes many pushes out his own."""
    async with Victims(alone, has_presence=False) as victims:
        attacker = await enter(alone.attacker, victims.document, "hocuspocus")
        for client in range(1_000_000, 1_000_600):
            attacker.update(insert(client, 0, "x", root="own"))
        await attacker.settle()
        attacker.update(gc(VERA, victims.clock, 100_000))
        attacker.update(gc(VERA, victims.clock + 20, 100_000))
        await victims.go_on()
        await attacker.close()


@pytest.mark.parametrize("whose", ["mallory's", "vera's"])
async def test_gaps_are_bounded_and_never_relayed(place: Place, dialect: str, whose: str) -> None:
    """Thousands of tiny updates that refer to what never comes: each would cost every browser a search."""
    async with Victims(place) as victims:
        memory, tries = place.rss_bytes(), 3
        for _ in range(tries):
            attacker = await enter(place.attacker, victims.document, dialect)
            base = 10_000_000 if whose == "vera's" else 10
            client = VERA if whose == "vera's" else 4711
            for number in range(3000):
                clock = base + 2 * number
                attacker.update(insert(client, clock, "é", clock - 1))
            assert (await attacker.until_closed())[0] == 1013
        assert place.rss_bytes() - memory < 60 * MIB
        waiting = place.attacker.metrics()
        await victims.go_on()
        own = sum(1 for update in victims.walt.updates if b"<" in update)
        assert len(victims.walt.updates) - own <= 2  # the step 2s of the beginning
        assert waiting["raffia_waiting_updates"] <= 4096
    metrics = place.attacker.metrics()
    assert (metrics["raffia_waiting_updates"], metrics["raffia_waiting_bytes"]) == (0, 0)


async def test_a_gap_of_somebody_else_holds_nobody_up(place: Place, dialect: str) -> None:
    """What waits for Vera's clocks is tried when she passes them: it has to stay cheap, and her text hers."""
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        for number in range(900):
            attacker.update(insert(5000 + number, 0, "é", None, root="own")[:-1] + b"\x00")
            clock = victims.clock + 5 * (number % 60)
            origin = b"\x84" + varuint(VERA) + varuint(clock) + buf(b"x") + b"\x00"
            attacker.update(b"\x01\x01" + varuint(90_000 + number) + b"\x01" + origin)  # clock 1: never complete
        await victims.go_on(20)
        await attacker.close()


async def test_a_delete_in_advance_ends_with_its_session(place: Place, dialect: str) -> None:
    """Who may write may delete all that Vera writes, also before she does (docs/security.md, residual risks): her
    answers and her clock stay right, and when he is gone her words stay."""
    async with Victims(place, is_erased=True) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        attacker.update(delete(VERA, victims.clock + 40, 1 << 20))
        await victims.go_on(12)
        await attacker.close()
        await victims.go_on(2)
        word = f"<{len(victims.latencies_s):04}é>"  # the one that comes next
        await victims.go_on(3)
        assert word in await shown(place.victims, victims.document)


async def test_a_reader_deletes_nothing_in_advance(place: Place, dialect: str) -> None:
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect, can="read")
        attacker.update(delete(VERA, victims.clock + 40, 1 << 20))
        attacker.step2(delete(VERA, victims.clock + 400, 1 << 20))
        await victims.go_on(12)
        await attacker.close()
