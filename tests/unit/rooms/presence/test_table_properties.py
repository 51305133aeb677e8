"""The awareness table under random conversations: its bookkeeping holds, and reference clients converge (P1-P9)."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raffia.rooms.presence.entries import encode
from raffia.rooms.presence.table import PresenceTable
from raffia.wire import awareness
from raffia.wire.lib0 import write_varuint

Said = tuple[int, int, bytes | None]

SAID = st.tuples(st.integers(0, 4), st.integers(0, 6), st.sampled_from([None, b"{}", '{"é":"😀"}'.encode()]))
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("apply"), st.integers(0, 3), st.lists(SAID, max_size=3)),
        st.tuples(st.just("leave"), st.integers(0, 3), st.just([])),
        st.tuples(st.just("expire"), st.integers(0, 40), st.just([])),
        st.tuples(st.just("flush"), st.just(0), st.just([])),
    ),
    max_size=40,
)


def message(said: list[Said]) -> bytes:
    return write_varuint(len(said)) + b"".join(awareness.write_entry(*entry) for entry in said)


@settings(max_examples=300, deadline=None)
@given(STEPS)
def test_bookkeeping_and_what_a_reader_of_the_flushes_sees(steps: list[tuple[str, int, list[Said]]]) -> None:
    table = PresenceTable()
    now_s = 0.0
    reader: dict[int, tuple[int, bytes]] = {}
    for what, number, said in [*steps, ("flush", 0, [])]:
        now_s += 1.0
        if what == "apply":
            table.apply(message(said), number, now_s, user="zoë" if number % 2 else None)
        elif what == "leave":
            table.remove_owner(number, now_s)
            assert table.owned_by(number) == frozenset()
        elif what == "expire":
            now_s += number
            table.expire(now_s)
        else:
            for client, clock, state, _ in awareness.read_entries(table.take_dirty() or b"\x00"):
                if state == awareness.NULL:
                    reader.pop(client, None)
                else:
                    assert client not in reader or reader[client][0] < clock
                    reader[client] = (clock, state)
            live = {
                client: (clock, state)
                for client, clock, state, _ in awareness.read_entries(table.snapshot() or b"\x00")
            }
            assert reader == live
        entries = [entry for client in range(5) if (entry := table.get(client)) is not None]
        assert len(table) == len(entries)
        assert table.size_bytes == sum(len(entry.encoded) for entry in entries)
        for entry in entries:
            assert entry.client in table.owned_by(entry.owner)
        assert sum(len(table.owned_by(owner)) for owner in range(4)) == len(entries)


class ReferenceClient:
    """What the published clients do with awareness, written from the description in the protocol notes."""

    def __init__(self, client: int) -> None:
        self.client = client
        self.clock = 0
        self.states: dict[int, bytes] = {client: b'{"n":0}'}
        self.clocks: dict[int, int] = {client: 0}

    def own(self) -> bytes:
        return message([(self.client, self.clocks[self.client], self.states[self.client])])

    def move(self, number: int) -> bytes:
        self.clocks[self.client] += 1
        self.states[self.client] = f'{{"n":{number},"é":"😀"}}'.encode()
        return self.own()

    def receive(self, payload: bytes) -> bytes | None:
        """Apply a payload; returns what the client sends back: everything that changed, whoever said it."""
        changed: list[int] = []
        for client, said_clock, state, _ in awareness.read_entries(payload):
            clock, known = said_clock, self.clocks.get(client, 0)
            if not (known < clock or (known == clock and state == awareness.NULL and client in self.states)):
                continue
            if state != awareness.NULL:
                self.states[client] = state
            elif client == self.client:
                clock += 1
            else:
                self.states.pop(client, None)
            self.clocks[client] = clock
            changed.append(client)
        return message([(c, self.clocks[c], self.states.get(c)) for c in changed]) if changed else None

    def disconnected(self) -> None:
        self.states = {self.client: self.states[self.client]}


@pytest.mark.parametrize("seed", range(60))
def test_reference_clients_see_each_other_through_reconnects_and_half_open_sockets(seed: int) -> None:
    rng = random.Random(seed)
    table = PresenceTable()
    clients = [ReferenceClient(100 + number) for number in range(4)]
    sessions: dict[int, ReferenceClient] = {}
    half_open: list[int] = []
    next_session = 0
    now_s = 0.0

    def hear(session: int, payload: bytes | None) -> None:
        # A session hears of a removal and answers; each answer may make others news. It must come to rest.
        if payload is None or session not in sessions:
            return
        applied = table.apply(payload, session, now_s, user="é")
        if applied.answers:
            hear(session, sessions[session].receive(encode(applied.answers)))

    def flush() -> None:
        for _ in range(10):
            payload = table.take_dirty()
            if payload is None:
                return
            for session in list(sessions):
                hear(session, sessions[session].receive(payload))
        pytest.fail("presence does not come to rest")

    def connect(client: ReferenceClient) -> None:
        nonlocal next_session
        next_session += 1
        sessions[next_session] = client
        hear(next_session, client.own())
        hear(next_session, client.receive(table.snapshot() or b"\x00"))

    for client in clients:
        client.move(0)
        connect(client)
    for step in range(120):
        now_s += 0.2
        session = rng.choice(list(sessions))
        client = sessions[session]
        action = rng.random()
        if action < 0.7:
            hear(session, client.move(step))
        elif action < 0.85:
            del sessions[session]
            client.disconnected()
            if rng.random() < 0.5:
                half_open.append(session)
            else:
                table.remove_owner(session, now_s)
            connect(client)
        elif half_open:
            table.remove_owner(half_open.pop(rng.randrange(len(half_open))), now_s)
        if rng.random() < 0.5:
            flush()
    for session in half_open:
        table.remove_owner(session, now_s)
    flush()
    # The table holds everybody without waiting for a renewal ...
    everybody = {client.client: client.states[client.client] for client in clients}
    assert {c: s for c, _, s, _ in awareness.read_entries(table.snapshot() or b"\x00")} == everybody
    assert all(table.owned_by(session) == {client.client} for session, client in sessions.items())
    # ... and so do the clients after one: one that reconnects keeps its peers' clocks but not their states, and
    # ignores what it is sent at the same clock.
    for session, client in sessions.items():
        hear(session, client.move(-1))
    flush()
    everybody = {client.client: client.states[client.client] for client in clients}
    assert all(client.states == everybody for client in clients)
