"""Presence: speaking for others, taking over their ids, clocks, sizes, rates."""

from __future__ import annotations

import json

import pytest

from tests.attacks.scene import ALL_CORNERS, BAD, VERA, Place, Victims, enter, new_document, pass_for
from tests.support.client import Client, YClient
from tests.support.lib0 import buf, string, varuint

MIB = 1 << 20
STEP = 1 << 20


def entry(client: int, clock: int, state: str) -> bytes:
    return varuint(client) + varuint(clock) + string(state)


def present(attacker: Client, *entries: bytes) -> None:
    attacker.send(attacker.prefix + b"\x01" + buf(varuint(len(entries)) + b"".join(entries)))


FORGED = json.dumps({"name": BAD})


@pytest.mark.parametrize("corner", ALL_CORNERS, indirect=True)
@pytest.mark.parametrize("can", ["read", "admin"])
async def test_nobody_speaks_for_vera(place: Place, dialect: str, can: str) -> None:
    """Her state is never changed and never removed, whatever clock is claimed, alone or beside an own state."""
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect, can=can)
        await attacker.until(lambda: VERA in attacker.presence, "Vera's presence")
        for clock in (0, 1, 2, 50, STEP, STEP + 2, (1 << 31) - 1, 1 << 31, (1 << 53) - 1):
            for state in (FORGED, "null"):
                present(attacker, entry(VERA, clock, state))
                present(attacker, entry(4711, clock, FORGED), entry(VERA, clock, state))
        present(attacker, entry(4711, 5, '{"name":"last"}'))
        victims.announce()
        await victims.go_on()
        await attacker.close()
        before = len(victims.walt.told)
        victims.announce()
        await victims.walt.until(lambda: any(told[0] == VERA for told in victims.walt.told[before:]), "her renewal")


async def test_an_id_whose_user_is_away_is_not_taken_over(place: Place, dialect: str) -> None:
    ana_id = 0xA4A
    async with Victims(place) as victims:
        ana = await enter(place.victims, victims.document, "y-websocket", user="ana")
        attacker = await enter(place.attacker, victims.document, dialect)
        ana.announce(ana_id, 1, {"name": "Ana"})
        await victims.walt.until(lambda: ana_id in victims.walt.presence, "Ana")
        await attacker.until(lambda: ana_id in attacker.presence, "Ana")
        await ana.close()
        await victims.walt.until(lambda: victims.walt.presence[ana_id][1] is None, "that she is away")
        await attacker.until(lambda: attacker.presence[ana_id][1] is None, "that she is away")
        present(attacker, entry(ana_id, 9, FORGED))
        await victims.go_on()
        again = await enter(place.victims, victims.document, "y-websocket", user="ana")
        again.announce(ana_id, 1, {"name": "Ana, again"})
        await victims.walt.until(lambda: victims.walt.presence[ana_id][1] == {"name": "Ana, again"}, "her return")
        assert [state for client, _, state in victims.walt.told if client == ana_id and state] == [
            {"name": "Ana"},
            {"name": "Ana, again"},
        ]
        await again.close()
        await attacker.close()


async def test_a_late_end_of_an_old_socket_removes_nobody(place: Place) -> None:
    """An attacker cannot make one either: he who has the same user name in another document has no grant here."""
    ana_id = 0xA4B
    async with Victims(place) as victims:
        old = await enter(place.attacker, victims.document, "y-websocket", user="ana")
        old.announce(ana_id, 1, {"name": "Ana"})
        await victims.walt.until(lambda: ana_id in victims.walt.presence, "Ana")
        new = await enter(place.victims, victims.document, "hocuspocus", user="ana")
        new.announce(ana_id, 2, {"name": "Ana moved"})
        await victims.walt.until(lambda: victims.walt.presence[ana_id][1] == {"name": "Ana moved"}, "her move")
        old.drop()
        await victims.go_on(10)
        assert victims.walt.presence[ana_id][1] == {"name": "Ana moved"}
        await new.close()


@pytest.mark.parametrize("clock", [1 << 31, (1 << 53) - 1])
async def test_clocks_past_31_bits_are_not_relayed(place: Place, dialect: str, clock: int) -> None:
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        present(attacker, entry(4711, 1, '{"name":"fine"}'))
        await victims.walt.until(lambda: 4711 in victims.walt.presence, "the attacker")
        present(attacker, entry(4711, clock, FORGED))
        await victims.go_on()
        assert all(known < 1 << 31 for _, known, _ in victims.walt.told)
        await attacker.close()


async def test_steps_of_clocks_are_bounded(place: Place, dialect: str) -> None:
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        present(attacker, entry(4711, 1, '{"name":"fine"}'))
        present(attacker, entry(4711, STEP + 2, FORGED))
        present(attacker, entry(4711, STEP + 1, '{"name":"a long step"}'))
        await victims.walt.until(lambda: victims.walt.presence.get(4711, (0, 0))[0] == STEP + 1, "the long step")
        await attacker.close()
        assert BAD not in json.dumps(victims.walt.told, ensure_ascii=False)


DEEP = {
    "lists": '{"a":' + "[" * 8000 + "]" * 8000 + "}",
    "objects": '{"a":' * 2700 + "1" + "}" * 2700,
    "unfinished": "[" * 16000,
    "a huge number": '{"a":' + "9" * 16000 + "}",
    "quotes": '{"a":"' + '\\"' * 8000 + '"}',
    "no object": '"text"',
    "NaN": '{"a":NaN}',
    "half a pair": '{"a":"\\ud83d"}',
    "bytes that are no UTF-8": "",
}


@pytest.mark.parametrize("name", list(DEEP))
async def test_hostile_json_hurts_nobody(place: Place, dialect: str, name: str) -> None:
    """What is not refused is relayed as it came: then it was harmless, and browsers can read it (Walt does)."""
    async with Victims(place) as victims:
        memory = place.rss_bytes()
        attacker = await enter(place.attacker, victims.document, dialect)
        if name.startswith("bytes"):
            raw = b"\x01" + varuint(4711) + b"\x01" + buf(b'{"a":"\xff\xfe"}')
            attacker.send(attacker.prefix + b"\x01" + buf(raw))
        else:
            present(attacker, entry(4711, 1, DEEP[name]))
        await victims.go_on()
        if name in {"quotes", "half a pair"}:
            await victims.walt.until(lambda: 4711 in victims.walt.presence, "a state that is merely odd")
            await attacker.close()
        else:
            assert (await attacker.until_closed())[0] == 4400
            assert 4711 not in victims.walt.presence
        assert place.rss_bytes() - memory < 30 * MIB


async def test_states_are_bounded_to_16_kib(place: Place, dialect: str) -> None:
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        most = '{"a":"' + "x" * (16384 - 8) + '"}'
        present(attacker, entry(4711, 1, most))
        await victims.walt.until(lambda: 4711 in victims.walt.presence, "the largest state")
        dropped = place.metric("raffia_presence_dropped_total")
        present(attacker, entry(4711, 2, most.replace("xx", "xxx", 1)))
        present(attacker, entry(4711, 3, '{"a":"small again"}'))
        await victims.walt.until(lambda: victims.walt.presence[4711][0] == 3, "the session goes on")
        assert (4711, 2) not in [told[:2] for told in victims.walt.told]
        assert place.metric("raffia_presence_dropped_total") - dropped >= 1
        await attacker.close()


async def test_ids_of_one_session_are_bounded(place: Place, dialect: str) -> None:
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        for start in range(0, 2000, 100):
            present(attacker, *(entry(9000 + number, 1, "{}") for number in range(start, start + 100)))
        await attacker.settle()

        def theirs() -> list[int]:
            return [client for client in victims.walt.presence if 9000 <= client < 20_000]

        await victims.walt.until(lambda: len(theirs()) >= 256, "as many as are allowed")
        await victims.go_on()
        ids = theirs()
        assert len(ids) == 256
        await attacker.close()
        await victims.walt.until(lambda: not any(victims.walt.presence[client][1] for client in ids), "they go")


async def test_a_flood_of_presence_is_thinned(place: Place, dialect: str) -> None:
    """60 a second of one session; Walt's browser is not woken for the rest."""
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        dropped = place.metric("raffia_presence_dropped_total")
        for clock in range(1, 5001):
            present(attacker, entry(4711, clock, '{"n":' + str(clock) + "}"))
        await attacker.settle()
        await victims.go_on()
        heard = [clock for client, clock, _ in victims.walt.told if client == 4711]
        assert 1 <= len(heard) < 600  # within some seconds on a busy machine
        assert place.metric("raffia_presence_dropped_total") - dropped > 4000
        await attacker.close()


async def test_presence_stays_in_its_document(place: Place, dialect: str) -> None:
    other = new_document("elsewhere")
    async with Victims(place) as victims, YClient() as watcher:
        attacker = await enter(place.attacker, other, dialect)
        present(attacker, entry(VERA, 77, FORGED))
        await watcher.join(place.attacker.ws, f"{other}?token={pass_for('watcher', other, 'read')}")
        await watcher.until(lambda: VERA in watcher.presence, "it is there")
        await victims.go_on()
        assert BAD not in json.dumps(victims.walt.told, ensure_ascii=False)
        await attacker.close()


def _ids(victims: Victims) -> list[int]:
    return [client for client in victims.walt.presence if 9000 <= client < 20_000]
