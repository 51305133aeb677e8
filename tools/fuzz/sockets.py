"""Targets for what arrives on a socket: the Hocuspocus conversation alone, and both dialects with real rooms."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from tests.unit.world import EDIT, READ, Client, turns

from raffia.crdt.document import Document
from raffia.errors import ForbiddenError
from raffia.journal.testing.memory import MemoryJournal, MemoryStore
from raffia.rooms.hub import Hub
from raffia.runtime.jobs import Job
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings
from raffia.sockets.connection import Connection
from raffia.sockets.conversation import UNDECIDED, Authorise, Deliver, Detach, HocuspocusConversation, Renew, Reply
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import DocumentId, Grant
from raffia.wire import hocuspocus
from raffia.wire.lib0 import write_string
from tools.fuzz.corpus import Corpus
from tools.fuzz.loop import finish
from tools.fuzz.mutate import mutate_one
from tools.fuzz.parts import join, mutate_parts, split
from tools.fuzz.targets import check

P = ParamSpec("P")
R = TypeVar("R")
PREAUTH_BYTES = 600


def _frame(rng: random.Random, corpus: Corpus) -> bytes:
    """A Hocuspocus frame, usually one that matters to a conversation."""
    address = hocuspocus.prefix(rng.choice(("d", "e", "é/😀", "d\0s1")))
    kind = rng.randrange(6)
    if kind == 0:
        return address + b"\x02\x00" + write_string(rng.choice(("tk", "", "no", "é")))
    if kind == 1:
        return address + b"\x07"
    if kind == 2:
        return rng.choice((address + b"\x00\x00\x01\x00", address + b"\x03", b"\x09", b"\x0a"))
    return rng.choice(corpus.hocuspocus)


class Conversation:
    """The conversation's state machine: counts are right, bounds hold, and kept messages come out in order.

    A part is an operation: a byte, then a frame or the choice of an address.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def _part(self, rng: random.Random) -> bytes:
        operation = rng.choice((0, 0, 0, 0, 1, 1, 2, 3, 4))
        return bytes((operation,)) + (rng.randbytes(1) if operation else _frame(rng, self._corpus))

    def make(self, rng: random.Random) -> bytes:
        return join(self._part(rng) for _ in range(rng.randint(1, 20)))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_parts(rng, data, self._part, mutate_one)

    def seeds(self) -> list[bytes]:
        rng = random.Random(12)
        return [join(self._part(rng) for _ in range(6)) for _ in range(20)]

    def run(self, data: bytes) -> None:
        talk = HocuspocusConversation(max_documents=4, preauth_documents=2, preauth_bytes=PREAUTH_BYTES)
        is_open: set[str] = set()
        for part in split(data):
            operation, rest = (part[0] % 5, part[1:]) if part else (0, b"")
            if operation == 0:
                self._receive(talk, rest, is_open)
            else:
                self._decide(talk, operation, rest, is_open)
            self._judge(talk, is_open)

    @staticmethod
    def _decide(talk: HocuspocusConversation, operation: int, rest: bytes, is_open: set[str]) -> None:
        """What a connection says of one address, as far as it may."""
        lines = sorted(talk._lines)
        if not lines or not rest:
            return
        address = lines[rest[0] % len(lines)]
        line = talk._lines[address]
        if operation == 1 and line.state == "asking":
            talk.opened(address)
            is_open.add(address)
        elif operation == 2 and line.state == "asking" and line.token is None:
            talk.denied(address, wait_for_auth=True)
        elif operation == 3 and line.state in {"asking", "open"}:
            talk.denied(address, wait_for_auth=False)
            is_open.discard(address)
        elif operation == 4 and line.state == "open":
            talk.ended(address)
            is_open.discard(address)

    @staticmethod
    def _receive(talk: HocuspocusConversation, frame: bytes, is_open: set[str]) -> None:
        for effect in talk.receive(frame):
            if isinstance(effect, Reply):
                hocuspocus.decode(effect.payload)
                continue
            check(frame.startswith(write_string(effect.address)), "an effect for somebody else")
            if isinstance(effect, Deliver | Renew):
                check(effect.address in is_open, "a message for a session that is not open")
            elif isinstance(effect, Authorise):
                check(effect.address not in is_open, "an open session is asked about")
            elif isinstance(effect, Detach):
                is_open.discard(effect.address)

    @staticmethod
    def _judge(talk: HocuspocusConversation, is_open: set[str]) -> None:
        states = [line.state for line in talk._lines.values()]
        check(talk.undecided == sum(state in UNDECIDED for state in states), "a wrong count of undecided ones")
        check(talk._asking == states.count("asking"), "a wrong count of those that are asked about")
        check({address for address, line in talk._lines.items() if line.state == "open"} == is_open, "wrong ones open")
        check(len(states) <= 4, "too many documents")
        for line in talk._lines.values():
            if line.inbox is not None:
                check(bool(line.inbox.messages) <= (line.state in UNDECIDED), "messages kept for nobody")


class Here(Workers):
    """Does at once what the server does in a worker process."""

    async def run_job(self, _job: Job, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        return work(*args, **kwargs)


class Sockets:
    """Clients of both dialects on one document: whatever they send is not the server's fault (X1), readers change
    nothing, and the result can be loaded.

    A part is a byte for the client, then its frame. Client 0 edits and 1 reads (y-websocket); 2 edits, 3 reads, and
    4 needs the token "tk" (Hocuspocus).
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def _part(self, rng: random.Random) -> bytes:
        who = rng.randrange(5)
        if who < 2:
            frame = rng.choice(self._corpus.ywebsocket)
        else:
            address = hocuspocus.prefix(rng.choice(("d", "d", "d\0s1", "é/😀", "e")))
            frame = rng.choice(
                (
                    address + b"\x02\x00" + write_string(rng.choice(("tk", "tk", "", "no"))),
                    address + rng.choice(self._corpus.ywebsocket),
                    address + rng.choice(self._corpus.ywebsocket),
                    rng.choice(self._corpus.hocuspocus),
                )
            )
        return bytes((who,)) + frame

    def make(self, rng: random.Random) -> bytes:
        return join(self._part(rng) for _ in range(rng.randint(1, 10)))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_parts(rng, data, self._part, mutate_one)

    def seeds(self) -> list[bytes]:
        rng = random.Random(13)
        return [join(self._part(rng) for _ in range(8)) for _ in range(20)]

    def run(self, data: bytes) -> None:
        finish(self._talk(split(data)))

    async def _talk(self, parts: list[bytes]) -> None:
        settings = Settings(journal_pause_s=0.0, coalesce_factor=0.0, preauth_bytes=4096, max_waiting_updates=10)
        document = DocumentId("d")
        async with (
            Here(1) as workers,
            MemoryJournal(store=MemoryStore()) as journal,
            Hub(journal, workers, settings, Metrics()) as hub,
        ):
            clients = self._clients(hub, document)
            await turns(4)
            for part in parts:
                who = part[0] % len(clients) if part else 0
                client = clients[who]
                if client.transport.closed is not None:
                    continue
                before = {name: dict(room.document.clocks) for name, room in hub.rooms.items()} if who in {1, 3} else {}
                client.send(part[1:])
                for name, clocks in before.items():
                    check(hub.rooms[name].document.clocks == clocks, "who may only read has changed the document")
                await turns(2)
            for room in list(hub.rooms.values()):
                room.flush()
            await turns(8)
            for room in list(hub.rooms.values()):
                merged = room.document.merged()
                cold = Document.from_state(merged)
                check(cold.clocks == room.document.clocks, "hot and cold clocks differ")
                check(cold.known_step2() == room.document.known_step2(), "hot and cold deletes differ")
                waits = {session for session in room.sessions if room._intake.waiting.of(session)}
                owed = [session for session in room.sessions if session.open_tickets and session not in waits]
                check(not owed, "an update that is durable is not answered")
                check(all(session.open_tickets >= 0 for session in room.sessions), "an update is answered twice")
            for client in clients:
                closed = client.transport.closed
                check(closed is None or closed[0] != 1011, f"a socket was closed with 1011: {closed and closed[1]}")
                if closed is not None:
                    check(len(closed[1].encode()) < 4096, "a close reason without bound")
                client.connection.closed(1005)
            await turns(2)
            check(hub.metrics.refusals["internal"] == 0, "something was our fault")
            check(all(not room.sessions for room in hub.rooms.values()), "a session outlives its socket")

    @staticmethod
    def _clients(hub: Hub, document: DocumentId) -> list[Client]:
        async def edit(token: str | None, document: DocumentId) -> Grant:
            return EDIT

        async def read(token: str | None, document: DocumentId) -> Grant:
            return READ

        async def with_token(token: str | None, document: DocumentId) -> Grant:
            if token != "tk":
                raise ForbiddenError("no")
            return EDIT

        return [
            Client(Connection(hub, YWebsocketDialect(document, EDIT))),
            Client(Connection(hub, YWebsocketDialect(document, READ))),
            *(Client(Connection(hub, HocuspocusDialect(ask, hub.settings))) for ask in (edit, read, with_token)),
        ]
