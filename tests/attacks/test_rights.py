"""Who was let in and wants more: writing as a reader, old roles, other documents by their addresses, foreign caches."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
from pycrdt import Doc, Map

from tests.attacks.canary import revoke
from tests.attacks.scene import (
    ALL_CORNERS,
    BAD,
    VERA,
    Place,
    Victims,
    ending,
    enter,
    new_document,
    pass_for,
    refused,
    shows,
)
from tests.support.client import Client, HocuspocusClient, YClient
from tests.support.lib0 import buf, insert, string, varuint, write_vector
from tests.support.tokens import token

SECRET = "geheim-é😀"


def large(client: int, text: str) -> bytes:
    """An update over the size from which updates are read in another process."""
    return insert(client, 0, text * (40_000 // len(text)))


def erase(client: int, clock: int, length: int) -> bytes:
    return b"\x00\x01" + varuint(client) + b"\x01" + varuint(clock) + varuint(length)


WRITES: dict[str, Callable[[Client, int], None]] = {
    "update": lambda client, clock: client.update(insert(66, 0, BAD)),
    "step 2": lambda client, clock: client.step2(insert(66, 0, BAD)),
    "a large update": lambda client, clock: client.update(large(66, BAD)),
    "a large step 2": lambda client, clock: client.step2(large(66, BAD)),
    "under Vera's id": lambda client, clock: client.update(insert(VERA, clock, BAD, clock - 1)),
    "under Vera's id, later": lambda client, clock: client.update(insert(VERA, clock + 50, BAD, clock + 49)),
    "a delete": lambda client, clock: client.update(erase(VERA, 0, 5)),
    "a delete as step 2": lambda client, clock: client.step2(erase(VERA, 0, 5)),
    "a delete with an own insert": lambda client, clock: client.update(insert(66, 0, BAD)[:-1] + erase(VERA, 0, 5)[1:]),
    "a gap": lambda client, clock: client.update(insert(66, 10, BAD, 9)),
}


@pytest.mark.parametrize("corner", ALL_CORNERS, indirect=True)
@pytest.mark.parametrize("can", ["read", "comment"])
async def test_who_may_only_read_writes_by_no_path(place: Place, dialect: str, can: str) -> None:
    async with Victims(place) as victims:
        reader = await enter(place.attacker, victims.document, dialect, can=can)
        for name, write in WRITES.items():
            refused = getattr(reader, "statuses", []).count(0)
            write(reader, victims.clock)
            if isinstance(reader, HocuspocusClient):  # each is answered with 0; y-websocket has no word for no
                await reader.until(lambda refused=refused: reader.statuses.count(0) == refused + 1, name)  # type: ignore[misc]
            await victims.go_on(1)
        reader.announce(66, 1, {"name": "a reader"})
        await victims.walt.until(lambda: 66 in victims.walt.presence, "readers may be seen")
        heard = len(reader.updates)
        await reader.until(lambda: len(reader.updates) > heard, "what Vera goes on to type")
        assert reader.closed is None
        assert not any(BAD.encode() in update for update in (*victims.walt.updates, *reader.updates))
        await reader.close()


async def test_readers_are_told_the_truth_about_implied_deletes(place: Place) -> None:
    """Two set the same key at once: one value loses, and each editor that reads says that it is deleted."""
    async with Victims(place) as victims:
        one, two, both = (Doc[Map[str]](client_id=number) for number in (101, 102, 103))
        for doc, value in ((one, "é"), (two, "😀")):
            doc.get("m", type=Map)["key"] = value
        writer = await enter(place.victims, victims.document, "hocuspocus", user="ana")
        for doc in (one, two):
            writer.update(doc.get_update())
            both.apply_update(doc.get_update())
        await writer.settle()
        reader = await enter(place.attacker, victims.document, "hocuspocus", can="read")
        assert isinstance(reader, HocuspocusClient)
        await reader.settle()
        loser, winner = (101, 102) if both.get("m", type=Map)["key"] == "😀" else (102, 101)
        for update, answer in ((erase(loser, 0, 1), 1), (erase(winner, 0, 1), 0), (erase(loser, 0, 1), 1)):
            said = len(reader.statuses)
            reader.update(update)
            await reader.until(lambda said=said: len(reader.statuses) > said, "an answer")  # type: ignore[misc]
            assert reader.statuses[-1] == answer
        await reader.close()
        async with await enter(place.victims, victims.document, "y-websocket", user="newcomer", can="read") as fresh:
            doc: Doc[Map[str]] = Doc()
            for update in fresh.updates:
                doc.apply_update(update)
            assert doc.get("m", type=Map)["key"] == both.get("m", type=Map)["key"]
        await writer.close()


async def test_a_readers_deletes_cannot_keep_the_server_busy(place: Place) -> None:
    """Each asks for a view of the whole document; they share one, and the victims do not wait."""
    async with Victims(place) as victims:
        reader = await enter(place.attacker, victims.document, "hocuspocus", can="read")
        assert isinstance(reader, HocuspocusClient)
        await reader.settle()
        before = reader.sent
        for number in range(400):
            reader.update(erase(VERA, number % 5, 1))
        await victims.go_on(20)
        await reader.until(lambda: len(reader.statuses) >= before + 400, "all answers")
        assert set(reader.statuses[before:]) == {0}
        await reader.close()


@pytest.mark.parametrize("can", ["read", "admin"])
async def test_messages_of_the_application_reach_nobody(place: Place, can: str) -> None:
    """Stateless (5) is dropped: whoever relays it lets readers write."""
    async with Victims(place) as victims:
        friend = await enter(place.victims, victims.document, "hocuspocus", user="ana")
        friend.keep_frames = True
        attacker = await enter(place.attacker, victims.document, "hocuspocus", can=can)
        attacker.send(attacker.prefix + b"\x05" + string(BAD))
        await victims.go_on(5)
        assert not any(BAD.encode() in payload for payload in friend.frames)
        assert attacker.closed is None
        await attacker.close()
        await friend.close()


async def test_unknown_messages_end_only_their_sender(place: Place, dialect: str) -> None:
    """4 and 6 (broadcast) are internal to Hocuspocus servers; nothing unknown is passed on."""
    kinds = [4, 6, 8, 11, 100, 127, 200] if dialect == "hocuspocus" else [2, 4, 5, 6, 7, 8, 101, 103, 200]
    async with Victims(place) as victims:
        for kind in kinds:
            attacker = await enter(place.attacker, victims.document, dialect)
            attacker.send(attacker.prefix + varuint(kind) + string(BAD))
            assert (await attacker.until_closed())[0] == 4400, kind
        for sub in (3, 4, 127, 300):
            attacker = await enter(place.attacker, victims.document, dialect)
            attacker.send(attacker.prefix + b"\x00" + varuint(sub) + buf(insert(66, 0, BAD)))
            assert (await attacker.until_closed())[0] == 4400, sub


async def test_a_role_is_not_remembered(place: Place) -> None:
    """Demoted in band, to reading and then to nothing, with edits in flight: small, large, and such as wait."""
    async with Victims(place) as victims:
        own = insert(66, 0, "own", root="own")
        demoted = await enter(place.attacker, victims.document, "hocuspocus")
        assert isinstance(demoted, HocuspocusClient)
        demoted.update(own)
        await demoted.until_stored()
        gap = demoted.sent
        demoted.update(insert(66, 5, BAD, 4, "own"))  # waits for two clocks
        demoted.token = pass_for("mallory", victims.document, "read")
        demoted.authenticate()
        await demoted.until(lambda: demoted.scope == "readonly", "the new scope")
        demoted.update(insert(66, 3, "xx", 2, "own"))
        demoted.update(large(68, BAD))
        demoted.step2(insert(69, 0, BAD))
        helper = await enter(place.attacker, victims.document, "y-websocket")  # completes what waits
        helper.update(insert(66, 3, "ok", 2, "own"))
        await helper.settle()
        await demoted.until(lambda: demoted.statuses[gap:].count(0) >= 4, "four refusals")
        await shows("ownok", place.victims, victims.document, root="own")
        demoted.token = token(raffia={"elsewhere": "admin"})
        demoted.authenticate()
        await demoted.until(lambda: demoted.closes, "a CLOSE")
        heard = demoted.frames_in
        demoted.step1()
        demoted.send(demoted.prefix + b"\x03")
        demoted.update(insert(66, 6, BAD, 4, "own"))
        await victims.go_on(5)
        assert demoted.frames_in == heard
        await demoted.close()
        await helper.close()


async def test_who_was_revoked_writes_and_reads_no_more(place: Place, dialect: str) -> None:
    """Taken back at the victims' server; he writes on, at another one if there is one, until he is told."""
    async with Victims(place) as victims:
        user = f"mallory of {victims.document}"
        attacker = await enter(place.attacker, victims.document, dialect, user=user)
        made = pass_for(user, victims.document)
        spare = pass_for(user, victims.document)
        attacker.update(insert(66, 0, "before", root="own"))
        await attacker.settle()
        await asyncio.to_thread(revoke, place.victims, {"user": user})
        began = time.monotonic()
        assert await ending(attacker) in {"close 4401", "CLOSE revoked"}
        assert time.monotonic() - began < 5
        if dialect == "hocuspocus":
            heard = attacker.frames_in
            attacker.update(insert(66, 6, BAD, 5, "own"))
            attacker.announce(66, 1, BAD)
            await victims.go_on(5)
            assert attacker.frames_in == heard
        for other in (made, spare):
            assert (await refused(place.attacker, f"/sync/{victims.document}?token={other}"))[0] == 401
        await shows("before", place.victims, victims.document, root="own")
        await attacker.close()


# -- one connection, other documents


class Raw(HocuspocusClient):
    """Keeps every byte and reads none of it."""

    def __init__(self, document: str, made: str) -> None:
        super().__init__(document, token=made)
        self.keep_frames = True

    def message(self, payload: bytes) -> None:
        pass

    def say(self, address: str, body: bytes) -> None:
        self.send(string(address) + body)

    def auth(self, address: str, made: str) -> None:
        self.say(address, b"\x02\x00" + string(made) + string("4.8.0"))


MESSAGES = [
    b"\x00\x00\x01\x00",
    b"\x00\x01" + buf(insert(66, 0, BAD)),
    b"\x00\x02" + buf(insert(66, 0, BAD)),
    b"\x01" + buf(b"\x01" + varuint(66) + b"\x01" + string('{"name":"' + BAD + '"}')),
    b"\x03",
    b"\x05" + string(BAD),
]


async def test_an_address_opens_its_own_document_only(place: Place) -> None:
    """A session on one document, and every message under the address of the victims', spelt in every way."""
    own = new_document("own")
    async with Victims(place) as victims:
        victims.vera.announce(VERA, 1000, {"name": "Vera é😀"})
        other = victims.document
        for made in (pass_for("mallory", own), token(sub="mallory", raffia={own: "admin", f"{other}/x": "admin"})):
            raw = Raw(own, made)
            await raw.open(place.attacker.ws)
            raw.auth(own, made)
            raw.say(own, MESSAGES[0])
            await raw.until(lambda raw=raw: raw.frames_in >= 3, "the own document")  # type: ignore[misc]
            spelt = [other, f"{other}\0", f"{other}\0x", f"{other}\0{own}", other.upper(), other.replace("/", "\0")]
            spelt += [
                f"{own}\0{other}",
                f"{own}\0",
                f"{own}\0/../{other}",
                f"{other} ",
                f"./{other}",
                f"{own}/../{other}",
            ]
            for address in spelt:
                for message in MESSAGES:  # before an Auth
                    raw.say(address, message)
                raw.auth(address, made)
                for message in MESSAGES:  # while it is being decided
                    raw.say(address, message)
                raw.say(address, b"\x07")
                raw.say(address, MESSAGES[0])
            await victims.go_on(3)
            for address in spelt:
                for message in MESSAGES:  # after a denial
                    raw.say(address, message)
                raw.auth(address, made.swapcase())
                raw.say(address, MESSAGES[0])
            await victims.go_on(3)
            assert not any(b"<0" in payload or b"Vera" in payload for payload in raw.frames)
            assert raw.closed is None
            await raw.close()
        assert not any(BAD.encode() in update for update in victims.walt.updates)
        assert 66 not in victims.walt.presence


async def test_many_connections_of_one_user_share_no_grant(place: Place) -> None:
    """The token decides, not the person: another connection of Vera's without one opens nothing."""
    async with Victims(place) as victims:
        for made in (token(sub="vera", raffia={}), token(sub="vera", raffia={"other": "admin"})):
            raw = Raw(victims.document, made)
            await raw.open(place.victims.ws)
            raw.auth(victims.document, made)
            raw.say(victims.document, MESSAGES[0])
            await raw.until(lambda raw=raw: raw.frames, "a denial")  # type: ignore[misc]
            await victims.go_on(3)
            assert all(payload.startswith(victims.vera.prefix + b"\x02\x01") for payload in raw.frames)
            await raw.close()


# -- caches

ALIKE = ["alike:a:b", "alike:a", "alike", "alike:a/b", "alike/a:b", "alike_a", "alike-a", "alike.a", "alike@a", "Alike"]


async def test_nothing_of_one_document_is_kept_for_another(place: Place, dialect: str) -> None:
    """The same client id, the same clocks, as many entries, names that are alike: only the words differ."""
    stem = new_document("cache").removeprefix("team/")
    names = {f"{stem}{name}": f"{SECRET}{number:03}" for number, name in enumerate(ALIKE)}

    async def write(name: str, words: str) -> None:
        writer = await enter(place.victims, name, "hocuspocus", user="ana")
        writer.update(insert(1, 0, words[:6]))
        writer.update(insert(1, 6, words[6:], 5))
        await writer.settle()
        await writer.close()

    async def read(name: str, words: str) -> None:
        for clock in (0, 3, 6):
            vector = write_vector({1: clock}) if clock else b"\x00"
            made = pass_for("mallory", name, "read")
            reader: Client
            if dialect == "hocuspocus":
                reader = await HocuspocusClient(name, token=made).join(place.attacker.ws, vector=vector)
            else:
                reader = await YClient().join(place.attacker.ws, f"{name}?token={made}", vector=vector)
            async with reader:
                assert any(words[6:].encode() in update for update in reader.updates), name
                others = [other[8:].encode() for other in names.values() if other != words]
                assert not any(other in update for other in others for update in reader.updates)

    await asyncio.gather(*(write(name, words) for name, words in names.items()))
    await asyncio.gather(*(read(name, words) for name, words in names.items()))
    made = pass_for("mallory", f"{stem}alike:a", "read")
    for other in names:
        if other != f"{stem}alike:a":
            raw = Raw(other, made)
            await raw.open(place.attacker.ws)
            raw.auth(other, made)
            raw.say(other, MESSAGES[0])
            await raw.until(lambda raw=raw: raw.frames, other)  # type: ignore[misc]
            assert all(SECRET.encode() not in payload for payload in raw.frames)
            await raw.close()
