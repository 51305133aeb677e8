"""Presence between replicas (RLY1-RLY5 of the relay, P10)."""

from __future__ import annotations

import pytest
from tests.unit.cluster import Replica, cluster
from tests.unit.world import Client, turns, until

from raffia.errors import WireError
from raffia.rooms.presence import relay as relay_module
from raffia.rooms.presence.entries import PresenceEntry, make_entry
from raffia.rooms.presence.relay import FORMAT, HELLO, STATES, decode, encode
from raffia.types import Access, Grant
from raffia.wire import awareness, ywebsocket
from raffia.wire.lib0 import write_buf, write_varuint
from raffia.wire.messages import Awareness

Yws = Client
ZOE = Grant(Access.EDIT, user="zoë")
STATE = '{"é":"😀"}'.encode()


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "PAUSE_S", 0.0)


def publish(client: Yws, number: int, clock: int, state: bytes | None = STATE) -> None:
    payload = write_varuint(1) + awareness.write_entry(number, clock, state)
    client.send(b"\x01" + write_buf(payload))


def heard(client: Yws) -> list[tuple[int, int, bytes]]:
    """The entries that came since the last call."""
    entries = []
    for payload in client.transport.take():
        message = ywebsocket.decode(payload)
        if isinstance(message, Awareness):
            entries += [(c, k, s) for c, k, s, _ in awareness.read_entries(message.payload)]
    return entries


def present(replica: Replica) -> dict[int, int]:
    return {client: entry.clock for client, entry in replica.room._presence.table._live.items()}


async def quiet(*replicas: Replica) -> None:
    for _ in range(4):
        for replica in replicas:
            replica.room.flush()
        await turns(6)


@pytest.mark.parametrize("count", [1, 2, 5])
async def test_rly1_one_message_for_each_change_however_many_replicas(count: int) -> None:
    async with cluster(count) as (network, replicas):
        clients = [
            await replica.yws(ZOE if number == 0 else Grant(Access.EDIT)) for number, replica in enumerate(replicas)
        ]
        await quiet(*replicas)
        network.messages = 0
        for clock in range(1, 11):
            publish(clients[0], 7, clock)
            await quiet(*replicas)
        assert network.messages == 10
        assert all(present(replica) == {7: 10} for replica in replicas)
        for client in clients[1:]:
            assert heard(client) == [(7, clock, STATE) for clock in range(1, 11)]
            publish(client, 7, 10)  # every client sends back what it hears
        await quiet(*replicas)
        assert network.messages == 10


async def test_rly2_between_two_messages_only_the_latest_of_an_id_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_module, "PAUSE_S", 0.05)
    async with cluster() as (network, (a, b)):
        ana, bo = await a.yws(ZOE), await b.yws()
        await quiet(a, b)
        network.messages = 0
        for clock in range(1, 30):
            publish(ana, 7, clock)
            a.room.flush()
        await until(lambda: present(b) == {7: 29})
        assert network.messages == 2  # the first at once, the rest together
        await quiet(a, b)
        assert [clock for _, clock, _ in heard(bo)] == [1, 29]


async def test_rly3_who_comes_or_hears_again_says_hello_and_is_answered() -> None:
    async with cluster() as (network, (a, b)):
        ana = await a.yws(ZOE)
        publish(ana, 7, 1)
        await quiet(a)
        bo = await b.yws()  # its room opens now
        await quiet(a, b)
        assert present(b) == {7: 1}
        assert heard(bo) == [(7, 1, STATE)]
        b.bus.cut()
        publish(ana, 7, 2)
        publish(bo, 8, 1)
        await quiet(a, b)
        assert present(b) == {7: 1, 8: 1}
        assert present(a) == {7: 2}
        network.messages = 0
        b.bus.heal()
        await quiet(a, b)
        assert present(a) == present(b) == {7: 2, 8: 1}
        assert network.messages == 2  # the hello and one answer


async def test_rly4_what_cannot_be_read_is_dropped_and_counted() -> None:
    async with cluster() as (_, (a, b)):
        ana = await a.yws(ZOE)
        bo = await b.yws()
        await quiet(a, b)
        good = encode("r0", [make_entry(7, 1, STATE, ("r0", 1), "zoë")], is_hello=False)
        for bad in (
            b"",
            b"\x01",
            bytes([FORMAT + 1]) + good[1:],
            good[:-1],
            good[:3],
            b"\x01\x00\x02r0\xff\xff\xff\x7a",
        ):
            a.bus.publish(a.room.document_id, bad)
        await quiet(a, b)
        assert b.metrics.presence_unreadable == 6
        assert bo.transport.closed is ana.transport.closed is None
        a.bus.publish(a.room.document_id, good + b"what a newer version adds")
        await quiet(a, b)
        assert present(b) == {7: 1}


def test_rly4_messages_come_back_as_they_were() -> None:
    entries = [
        make_entry(7, 3, STATE, ("replica-é", 4), "zoë"),
        make_entry((1 << 53) - 1, 0, None, ("replica-é", 300), None),
    ]
    for is_hello in (True, False):
        assert decode(encode("replica-é", entries, is_hello=is_hello)) == (is_hello, entries)
    payload = encode("r", entries[:1], is_hello=False)
    assert payload[:2] == bytes([FORMAT, STATES])
    assert encode("r", [], is_hello=True)[:2] == bytes([FORMAT, HELLO])
    with pytest.raises(WireError, match="announces"):
        decode(bytes([FORMAT, STATES]) + b"\x01r" + write_varuint(1 << 40))


async def test_a_session_that_ends_is_removed_everywhere_and_forgotten() -> None:
    async with cluster(3) as (_, replicas):
        a, b, c = replicas
        ana, bo = await a.yws(ZOE), await b.yws()
        await c.yws()
        publish(ana, 7, 1)
        await quiet(*replicas)
        heard(bo)
        ana.connection.closed(1000)
        await quiet(*replicas)
        assert present(b) == present(c) == {}
        assert heard(bo) == [(7, 1, awareness.NULL)]
        assert (
            b.room._presence.table._speakers == c.room._presence.table._speakers == {}
        )  # nobody would ever say when it ends


async def test_a_dead_replica_takes_the_presence_of_its_sessions_along() -> None:
    async with cluster(3) as (network, replicas):
        a, b, c = replicas
        ana, bo, cy = await a.yws(ZOE), await b.yws(), await c.yws()
        publish(ana, 7, 1)
        publish(bo, 8, 1)
        await quiet(*replicas)
        heard(cy)
        network.die("r0")
        await quiet(b, c)
        assert present(b) == present(c) == {8: 1}
        assert heard(cy) == [(7, 1, awareness.NULL)]


async def moved(a: Replica, b: Replica, c: Replica) -> tuple[Yws, Yws, Yws]:
    """Ana is at the first replica, somebody watches at the third."""
    ana, watcher = await a.yws(ZOE), await c.yws()
    await b.yws()
    publish(ana, 7, 5)
    await quiet(a, b, c)
    heard(watcher)
    return ana, await b.yws(ZOE), watcher


def shown(entries: list[tuple[int, int, bytes]]) -> bool:
    """Whether a client that heard this, and knew 7 at clock 5, sees 7."""
    clock, is_there = 5, True
    for _, said, state in entries:
        if said > clock or (said == clock and state == awareness.NULL and is_there):
            clock, is_there = said, state != awareness.NULL
    return is_there


async def test_p4_a_client_that_moves_is_not_removed_by_its_half_open_socket() -> None:
    async with cluster(3) as (_, (a, b, c)):
        old, new, watcher = await moved(a, b, c)
        publish(new, 7, 5)  # what a client announces when it connects again
        await quiet(a, b, c)
        assert heard(watcher) == []  # nobody notices
        old.connection.closed(1006)
        await quiet(a, b, c)
        assert heard(watcher) == []
        assert present(a) == present(b) == present(c) == {7: 5}


async def test_p10_a_client_that_moves_while_its_removal_is_under_way_stays() -> None:
    async with cluster(3) as (_, (a, b, c)):
        old, new, watcher = await moved(a, b, c)
        publish(new, 7, 5)
        old.connection.closed(1006)  # the removal and the move cross each other
        await quiet(a, b, c)
        assert shown(heard(watcher))
        assert present(a) == present(b) == present(c) == {7: 6}  # raised, without the client's doing


async def test_p10_a_client_that_moves_to_a_replica_that_did_not_know_of_its_removal_is_seen() -> None:
    async with cluster(3) as (_, (a, b, c)):
        ana, watcher = await a.yws(ZOE), await c.yws()
        publish(ana, 7, 5)
        await quiet(a, c)
        ana.connection.closed(1006)
        await quiet(a, c)
        entries = heard(watcher)
        new = await b.yws(ZOE)  # only now the room opens here
        publish(new, 7, 5)
        await quiet(a, b, c)
        entries += heard(watcher)
        assert entries[-1] == (7, 6, STATE)
        assert present(a) == present(b) == present(c) == {7: 6}


async def test_rly5_a_state_that_was_overtaken_is_not_denied_while_its_id_is_present() -> None:
    async with cluster() as (network, (a, b)):
        ana, _ = await a.yws(ZOE), await b.yws()
        publish(ana, 7, 9)
        await quiet(a, b)
        network.messages = 0
        late = PresenceEntry(7, 3, STATE, awareness.write_entry(7, 3, STATE), ("r9", 1), "zoë", 0.0)
        a.bus._network.send("r9", a.room.document_id, encode("r9", [late], is_hello=False))  # long overtaken
        await quiet(a, b)
        assert network.messages == 1
        assert present(a) == present(b) == {7: 9}


async def test_a_room_that_closes_says_its_last_word() -> None:
    async with cluster() as (_, (a, b)):
        ana, _ = await a.yws(ZOE), await b.yws()
        publish(ana, 7, 1)
        await quiet(a, b)
        ana.connection.closed(1000)
        a.hub._evict(a.room.document_id, a.room)
        await until(lambda: present(b) == {})
        await until(lambda: not a.hub._closing)
        assert not a.bus._listeners
