"""Too much: large messages and documents, states asked for again and again, readers and writers that are slow."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.attacks.conftest import guarded
from tests.attacks.scene import BAD, Place, Stream, Victims, ending, enter, knock, new_document, pass_for, shown, shows
from tests.integration.server.raw import frame
from tests.support.client import Client, HocuspocusClient, YClient
from tests.support.lib0 import insert, string, varuint

KIB, MIB = 1 << 10, 1 << 20
UPDATE_BYTES = 64 * KIB
DOCUMENT_BYTES = 256 * KIB


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server with low limits on sizes."""
    env = {
        "RAFFIA_MAX_UPDATE_BYTES": f"{UPDATE_BYTES}",
        "RAFFIA_MAX_DOCUMENT_BYTES": f"{DOCUMENT_BYTES}",
        "RAFFIA_MAX_WAITING_BYTES": f"{UPDATE_BYTES}",
    }
    with guarded(tmp_path_factory.mktemp("small"), "data", **env) as server:
        yield Place(server, server)


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_what_is_too_large_ends_its_sender(small: Place, dialect: str) -> None:
    """An update; a message; and a message that is only announced, by eight bytes."""
    async with Victims(small) as victims:
        attacker = await enter(small.attacker, victims.document, dialect)
        attacker.update(insert(66, 0, "x" * (UPDATE_BYTES - 100), root="own"))
        await attacker.settle()
        attacker.update(insert(66, UPDATE_BYTES - 100, BAD * (UPDATE_BYTES // 5), UPDATE_BYTES - 101))
        assert await ending(attacker) in {"close 4413", "CLOSE too-large"}
        attacker = await enter(small.attacker, victims.document, dialect)
        attacker.send(b"\x00" * (DOCUMENT_BYTES * 2))
        assert await ending(attacker) == "close 4413"
        memory = small.rss_bytes()
        path = f"/sync/{victims.document}" if dialect == "y-websocket" else "/sync"
        async with await knock(small.attacker, f"{path}?token={pass_for('mallory', victims.document)}") as stream:
            stream.writer.write(b"\x82\xff" + (1 << 62).to_bytes(8, "big") + b"mask")
            assert await stream.close_code() == 4413
        assert small.rss_bytes() - memory < 20 * MIB
        assert not any(BAD.encode() in update for update in victims.walt.updates)


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_a_document_that_is_full_is_refused_and_can_be_read(small: Place, dialect: str) -> None:
    full = new_document("full")
    async with Victims(small):
        writer = await enter(small.attacker, full, dialect)
        for clock in range(0, 8 * 50_000, 50_000):
            writer.update(insert(66, clock, "x" * 50_000, clock - 1 if clock else None))
        assert await ending(writer) in {"close 4413", "CLOSE too-large"}
        stored = await shown(small.attacker, full)
        assert DOCUMENT_BYTES - 60_000 < len(stored) <= DOCUMENT_BYTES


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_a_full_document_can_be_emptied(small: Place, dialect: str) -> None:
    """Filled to the last byte, it still takes deletes, or nobody but the operator could mend it."""
    full = new_document("brim")
    clock = 0
    for size in (50_000, 5_000, 500, 50, 1):
        writer = await enter(small.attacker, full, "hocuspocus")
        for _ in range(40):
            writer.update(insert(66, clock, "x" * size, clock - 1 if clock else None))
            if await answer(writer) == 0:
                break
            clock += size
        await writer.close()
    owner = await enter(small.attacker, full, dialect, user="vera")
    owner.update(b"\x00\x01" + varuint(66) + b"\x01\x00" + varuint(clock))
    await owner.settle()
    await shows("", small.attacker, full)
    owner.update(insert(77, 0, "Platz é"))
    await owner.settle()
    await shows("Platz é", small.attacker, full)
    await owner.close()


@pytest.mark.parametrize("dialect", ["y-websocket", "hocuspocus"])
async def test_who_knows_a_large_document_may_add_a_word(small: Place, dialect: str) -> None:
    """A step 2 repeats what is known; only what is new of it needs room."""
    document = new_document("more-than-half")
    async with await enter(small.attacker, document, "hocuspocus", user="ana") as writer:
        for clock in range(0, 210_000, 30_000):
            writer.update(insert(1, clock, "x" * 30_000, clock - 1 if clock else None))
        await writer.settle()
    offline = insert(1, 120_000, "x" * 60_000, 119_999)[:-1] + b"\x00"
    async with await enter(small.attacker, document, dialect, user="ana") as writer:
        writer.step2(b"\x02" + offline[1:-1] + insert(2, 0, "unterwegs é")[1:])
        await writer.settle()
        assert writer.closed is None
    assert (await shown(small.attacker, document)).count("unterwegs é") == 1


async def answer(writer: Client) -> int:
    """Wait for the answer to the last update; 0 when it was refused, be it with the end of the session."""
    assert isinstance(writer, HocuspocusClient)
    async with asyncio.timeout(15):
        while len(writer.statuses) < writer.sent and not writer.closes and writer.closed is None:
            await writer.changed()
    return 0 if writer.closes or writer.closed or not writer.statuses else writer.statuses[-1]


# -- states


async def filled(place: Place, size_bytes: int) -> str:
    """A document of some size."""
    document = new_document("large")
    async with await enter(place.attacker, document, "hocuspocus", user="ana") as writer:
        writer.update(insert(1, 0, "x" * size_bytes))
        await writer.settle()
    return document


async def test_the_state_is_not_given_without_end(place: Place, dialect: str) -> None:
    """One byte asks for a megabyte: a second's worth of questions are answered, then the session ends, with "later"."""
    document = await filled(place, MIB)
    async with Victims(place):
        sent, memory = place.metric("raffia_bytes_out_total"), place.rss_bytes()
        attacker = await enter(place.attacker, document, dialect, can="read")
        for _ in range(200):
            attacker.step1()
        assert (await attacker.until_closed())[0] == 1013
        assert len(attacker.updates) <= 15
        assert place.metric("raffia_bytes_out_total") - sent < 20 * MIB
        assert place.rss_bytes() - memory < 80 * MIB


async def test_many_sessions_of_one_connection_are_not_given_more_than_it_reads(place: Place) -> None:
    """Session ids make as many sessions as one likes, and each may ask; whoever reads nothing is owed little."""
    document = await filled(place, MIB)
    made = pass_for("mallory", document, "read")
    async with Victims(place) as victims:
        memory = place.rss_bytes()
        stream = await knock(place.attacker, "/sync")
        stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
        frames = []
        for number in range(100):
            address = string(f"{document}\0{number}")
            frames.append(frame(2, address + b"\x02\x00" + string(made)))
            frames += [frame(2, address + b"\x00\x00\x01\x00")] * 5
        stream.writer.write(b"".join(frames))
        await victims.go_on(20)
        assert place.rss_bytes() - memory < 160 * MIB
        stream.end()


async def test_a_thousand_state_vectors_are_not_all_kept(place: Place, dialect: str) -> None:
    """Each asks for another difference; answers are kept for those who ask the same, and not for all."""
    document = await filled(place, 200 * KIB)
    async with Victims(place) as victims:
        memory = place.rss_bytes()
        made = pass_for("mallory", document, "read")

        async def ask(start: int) -> None:
            for number in range(start, start + 8):
                vector = b"\x01\x01" + varuint(number * 10 + 1)
                client: YClient | HocuspocusClient
                if dialect == "hocuspocus":
                    client = await HocuspocusClient(document, token=made).join(place.attacker.ws, vector=vector)
                else:
                    client = await YClient().join(place.attacker.ws, f"{document}?token={made}", vector=vector)
                await client.close()

        await asyncio.gather(*(ask(start) for start in range(0, 96, 8)))
        await victims.go_on()
        assert place.rss_bytes() - memory < 80 * MIB


# -- slow ones


async def test_slow_writers_hold_nobody_up(place: Place, dialect: str) -> None:
    """A hundred that announce a large message and send a little of it: what is not there takes no memory."""
    async with Victims(place) as victims:
        memory = place.attacker.rss_bytes()
        path = f"/sync/{victims.document}" if dialect == "y-websocket" else "/sync"
        made = pass_for("mallory", victims.document)
        streams = await asyncio.gather(*(knock(place.attacker, f"{path}?token={made}") for _ in range(100)))
        whole = frame(2, b"\x00\x02" + b"x" * (8 * MIB))
        for stream in streams:
            stream.writer.write(whole[:2000])
        for at in range(2000, 2200, 20):
            for stream in streams:
                stream.writer.write(whole[at : at + 20])
            await victims.go_on(1)
        assert place.attacker.rss_bytes() - memory < 60 * MIB
        for stream in streams:
            stream.end()


async def test_who_reads_nothing_holds_nobody_up(place: Place, dialect: str) -> None:
    """Ten readers with small windows that read nothing, while megabytes are written."""
    async with Victims(place) as victims:
        path = f"/sync/{victims.document}" if dialect == "y-websocket" else "/sync"
        made = pass_for("mallory", victims.document, "read")
        prefix = b"" if dialect == "y-websocket" else victims.vera.prefix
        memory = place.rss_bytes()
        streams: list[Stream] = []
        for _ in range(10):
            stream = await knock(place.attacker, f"{path}?token={made}", window_bytes=4096)
            stream.writer.transport.pause_reading()  # type: ignore[attr-defined]
            if prefix:
                stream.writer.write(frame(2, prefix + b"\x02\x00" + string(made)))
            stream.writer.write(frame(2, prefix + b"\x00\x00\x01\x00"))
            streams.append(stream)
        writer = await enter(place.attacker, victims.document, "hocuspocus", user="ana")
        for number in range(64):
            writer.update(insert(1, number * 100_000, "y" * 100_000, number * 100_000 - 1 if number else None, "own"))
            await writer.settle()
        await victims.go_on()
        assert place.metric("raffia_slow_readers") >= 8
        assert place.rss_bytes() - memory < 150 * MIB
        for stream in streams:
            stream.end()
        await writer.close()


async def test_typing_as_fast_as_one_can_leaves_others_their_turn(place: Place, dialect: str) -> None:
    """Ten thousand edits at once of one who may write; Vera's go on to be answered."""
    async with Victims(place) as victims:
        attacker = await enter(place.attacker, victims.document, dialect)
        for number in range(10_000):
            attacker.update(insert(66, number, "x", number - 1 if number else None, root="own"))
        await victims.go_on(10)
        await attacker.settle()
        assert len(await shown(place.attacker, victims.document, root="own")) == 10_000
        await attacker.close()
