"""The canary (I3): no byte of a document reaches a session that has no grant for it at that time.

Owners write the name of their document into it, and into their presence, all the time. Meanwhile hundreds of visitors
come and go, in both dialects, with grants of every kind and none. Every byte that any of them receives is searched.

Rules:
    CAN1  A grant counts from the moment at which its token was sent. It ends, to the byte, with the server's own word
        (a denial, a CLOSE, the end of the socket, the pong behind the visitor's own CLOSE), and `GRACE_S` after its
        token at the latest.
    CAN2  Whoever has a grant has to see what it opens: a canary that hears nothing proves nothing.
    CAN3  Everything is chosen from one seed, which a failure prints.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import time
import urllib.request
from collections import Counter
from collections.abc import Awaitable, Callable

from tests.attacks.scene import Place, Stream
from tests.integration.server.raw import head
from tests.support.client import Client
from tests.support.lib0 import EMPTY_UPDATE, buf, insert, read_string, read_varuint, string, varuint
from tests.support.server import RaffiaServer
from tests.support.tokens import token

SECRET = re.compile(rb"canary<([^<>]*)>")
GRACE_S = 4.0
SPREAD_S = 6.0  # a revocation has 5 s to reach all replicas
PACE_S = 0.04
DEADLINE_S = 20.0
STEP1 = b"\x00\x00\x01\x00"


def ever() -> float:
    return float("inf")


class Spy(Client):
    """One connection of which every byte is searched.

    Attributes:
        until_s: address -> until when its document may be seen (CAN1).
        seen: documents whose secrets have come, and how often.
        told: address -> how often it was told no: denied, or closed.
    """

    def __init__(self, run: Run, *, is_hocuspocus: bool) -> None:
        super().__init__()
        self.run = run
        self.is_hocuspocus = is_hocuspocus
        self.until_s: dict[str, float] = {}
        self.seen: Counter[str] = Counter()
        self.told: Counter[str] = Counter()
        self.pongs = 0

    def frame(self, payload: bytes, *, text: bool) -> None:
        self.run.search(payload, self)
        self.frames_in += 1
        if self.is_hocuspocus:
            self._hear(payload)
        self._changed.set()

    def may_see(self, document: str) -> bool:
        now_s = time.time()
        return any(name.partition("\0")[0] == document and now_s < until_s for name, until_s in self.until_s.items())

    def _hear(self, payload: bytes) -> None:
        if payload == b"\x0a":
            self.pongs += 1
            return
        address, at = read_string(payload, 0)
        kind, at = read_varuint(payload, at)
        if kind == 7 or (kind == 2 and payload[at] == 1):
            self.told[address] += 1
            self.until_s.pop(address, None)
        elif kind == 0 and payload[at] == 0:
            self.say(address, b"\x00\x01" + buf(EMPTY_UPDATE))

    # -- what it says

    def say(self, address: str, body: bytes) -> None:
        self.send((string(address) if self.is_hocuspocus else b"") + body)

    def sign_in(self, address: str, made: str, until_s: float) -> None:
        """Send a token; `until_s` is 0 when it does not open this document."""
        if until_s:
            self.until_s[address] = until_s
        self.say(address, b"\x02\x00" + string(made) + string("4.8.0"))

    def say_everything(self, address: str) -> None:
        """All that a client can say, as one who has nothing to lose."""
        client = self.run.random.randrange(1 << 31)
        self.say(address, STEP1)
        self.say(address, b"\x01" + buf(b"\x01" + varuint(client) + b"\x01" + string('{"name":"a visitor"}')))
        self.say(address, b"\x03")
        self.say(address, b"\x00\x02" + buf(insert(client, 0, "a visitor", root="visitors")))

    # -- what it waits for

    async def sees(self, document: str) -> None:
        """Wait for news of a document (CAN2)."""
        before = self.seen[document]
        await self.until(lambda: self.seen[document] > before, f"news of {document}", DEADLINE_S)

    async def hears_no(self, address: str) -> None:
        before = self.told[address]
        await self.until(lambda: self.told[address] > before, f"a no for {address}", DEADLINE_S)

    async def detaches(self, address: str) -> None:
        """Say CLOSE; from the pong on nothing more of that document may come (CAN1)."""
        self.say(address, b"\x07")
        pongs = self.pongs
        self.send(b"\x09")
        await self.until(lambda: self.pongs > pongs, "a pong", DEADLINE_S)
        self.until_s.pop(address, None)


class Run:
    """One run of the canary.

    Args:
        place: where; owners write at `victims`, visitors come to all servers.
        seed: of everything that is chosen (CAN3).
        visits: how many visitors come in all.
        at_once: how many of them at the same time.

    Attributes:
        leaks: what was seen by somebody who might not.
        looked: how many bytes were searched.
        sightings: secrets that were seen by those who might.
        visits: how many visitors of each kind have been served.
    """

    def __init__(self, place: Place, seed: int, *, visits: int, at_once: int) -> None:
        self.place = place
        self.random = random.Random(seed)
        self.seed = seed
        stem = f"canary{seed:x}"
        self.documents = [f"{stem}/a", f"{stem}/b", f"{stem}/a:b", f"{stem}/a/b", f"{stem}-3", f"{stem}_3"]
        self.leaks: list[str] = []
        self.looked = 0
        self.sightings = 0
        self.visits: Counter[str] = Counter()
        self.written: Counter[str] = Counter()
        self._most = visits
        self._at_once = at_once
        self._over = asyncio.Event()
        self._written = asyncio.Condition()

    def search(self, payload: bytes, spy: Spy | None) -> None:
        """Look at what somebody has received; `spy` is None for one who may see nothing."""
        self.looked += len(payload)
        for name in SECRET.findall(payload):
            document = name.decode()
            if spy is not None and spy.may_see(document):
                spy.seen[document] += 1
                self.sightings += 1
                continue
            held = sorted(spy.until_s) if spy is not None else []
            self.leaks.append(f"{document} came to one who holds {held}: {payload[:60]!r} (seed {self.seed})")
            self._over.set()

    # -- owners

    async def _own(self, document: str, ready: asyncio.Event) -> None:
        spy = Spy(self, is_hocuspocus=True)
        name, clock = f"canary<{document}>", 0
        await spy.open(self.place.victims.ws)
        spy.sign_in(document, token(sub=f"owner of {document}", raffia={document: "admin"}), ever())
        spy.say(document, STEP1)
        while not self._over.is_set():
            words = f"{name}{self.written[document]:05}é"
            spy.say(document, b"\x00\x02" + buf(insert(7, clock, words, clock - 1 if clock else None)))
            clock += len(words)
            state = f'{{"name":"{name}😀"}}'
            spy.say(document, b"\x01" + buf(b"\x01" + b"\x07" + varuint(self.written[document] + 1) + string(state)))
            async with self._written:
                self.written[document] += 1
                self._written.notify_all()
            ready.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), PACE_S)
        await spy.close()

    async def writes_on(self, *documents: str) -> None:
        """Wait until owners have written some more: time in which something could leak."""
        goal = {document: self.written[document] + 4 for document in documents}
        async with asyncio.timeout(DEADLINE_S), self._written:
            await self._written.wait_for(lambda: all(self.written[name] >= least for name, least in goal.items()))

    # -- visitors

    @property
    def server(self) -> RaffiaServer:
        return self.random.choice(self.place.servers)

    def choose(self, count: int) -> list[str]:
        return self.random.sample(self.documents, count)

    def bad_token(self, document: str) -> str:
        """One that does not open this document."""
        other = self.random.choice([name for name in self.documents if name != document])
        return self.random.choice(
            [
                token(sub="stranger", raffia={other: "admin"}),
                token(sub="stranger", raffia={document: "none", "*": "read", f"{document}/x": "admin"}),
                token(sub="stranger", raffia={document: "edit"}, lifetime_s=-1),
                token("x" * 40, sub="stranger", raffia={document: "edit"}),
                token(sub="stranger", raffia={}),
                "",
            ]
        )

    def good_token(self, document: str) -> str:
        return token(sub="guest", raffia={document: self.random.choice(["read", "comment", "edit", "admin"])})

    async def _hocuspocus(self) -> Spy:
        return await Spy(self, is_hocuspocus=True).open(self.server.ws)

    async def _yws(self, document: str, made: str, until_s: float) -> Spy:
        spy = Spy(self, is_hocuspocus=False)
        spy.until_s[document] = until_s
        return await spy.open(f"{self.server.ws}/{document}?token={made}")

    async def stranger(self) -> None:
        """Refused before the upgrade; every byte of the answer is searched, also if it is no refusal."""
        (document,) = self.choose(1)
        request = head(f"/sync/{document}?token={self.bad_token(document)}")
        async with await Stream.open(self.server, request) as stream, asyncio.timeout(DEADLINE_S):
            stream.writer.write(b"\x82\x84\0\0\0\0" + STEP1)
            with contextlib.suppress(ConnectionResetError):
                while received := await stream.reader.read(1 << 16):
                    self.search(received, None)

    async def stranger_in_band(self) -> None:
        document, own = self.choose(2)
        async with await self._hocuspocus() as spy:
            spy.sign_in(own, self.good_token(own), ever())
            spy.say(own, STEP1)
            spy.say_everything(document)
            spy.sign_in(document, self.bad_token(document) or "x", 0)
            spy.say_everything(document)
            await spy.hears_no(document)
            spy.say_everything(document)
            spy.say_everything(f"{document}\0{own}")
            await self.writes_on(document, own)
            await spy.sees(own)

    async def guest(self) -> None:
        (document,) = self.choose(1)
        async with await self._yws(document, self.good_token(document), ever()) as spy:
            spy.say_everything(document)
            await spy.sees(document)
            await spy.sees(document)

    async def guest_of_many(self) -> None:
        *good, bad = self.choose(4)
        async with await self._hocuspocus() as spy:
            for document in good:
                address = f"{document}\0{self.random.random()}" if self.random.random() < 0.5 else document
                spy.sign_in(address, self.good_token(document), ever())
                spy.say_everything(address)
            spy.say_everything(bad)
            for document in good:
                await spy.sees(document)
            await self.writes_on(bad)

    async def demoted(self) -> None:
        document, own = self.choose(2)
        async with await self._hocuspocus() as spy:
            for address in (document, own):
                spy.sign_in(address, self.good_token(address), ever())
                spy.say(address, STEP1)
                await spy.sees(address)
            spy.sign_in(document, self.bad_token(document) or "x", 0)
            await spy.hears_no(document)
            spy.say_everything(document)
            await self.writes_on(document)
            await spy.sees(own)
            spy.sign_in(document, self.good_token(document), ever())
            spy.say(document, STEP1)
            await spy.sees(document)

    async def leaver(self) -> None:
        document, own = self.choose(2)
        async with await self._hocuspocus() as spy:
            for address in (document, own):
                spy.sign_in(address, self.good_token(address), ever())
                spy.say(address, STEP1)
                await spy.sees(address)
            await spy.detaches(document)
            await self.writes_on(document)
            await spy.sees(own)
            spy.drop()

    async def expiring(self) -> None:
        document, own = self.choose(2)
        until_s = time.time() + 3  # time enough to connect on a busy machine
        made = token(sub="guest", raffia={document: "edit"}, exp=until_s)
        if self.random.random() < 0.5:
            async with await self._yws(document, made, until_s + GRACE_S) as spy:
                spy.say_everything(document)
                await spy.until_closed(DEADLINE_S)
            return
        async with await self._hocuspocus() as spy:
            spy.sign_in(own, self.good_token(own), ever())
            spy.sign_in(document, made, until_s + GRACE_S)
            for address in (document, own):
                spy.say(address, STEP1)
            await spy.hears_no(document)
            spy.say_everything(document)
            await self.writes_on(document)
            await spy.sees(own)

    async def revoked(self) -> None:
        """Taken back at one server, noticed at any; nothing more comes, and nothing can be opened with it again."""
        document, own = self.choose(2)
        name = f"j{self.random.getrandbits(64):x}"
        made = token(sub="guest", jti=name, raffia={document: "edit"})
        async with await self._hocuspocus() as spy:
            for address, by in ((document, made), (own, self.good_token(own))):
                spy.sign_in(address, by, ever())
                spy.say(address, STEP1)
                await spy.sees(address)
            server = self.server
            waits = asyncio.create_task(spy.hears_no(document))
            await asyncio.to_thread(revoke, server, {"token": name})
            spy.until_s[document] = min(spy.until_s.get(document, 0), time.time() + SPREAD_S)
            await waits
            spy.say_everything(document)
            spy.sign_in(document, made, 0)
            await self.writes_on(document)
            spy.say_everything(document)
            await spy.sees(own)

    # -- all of it

    def _kinds(self) -> list[Callable[[], Awaitable[None]]]:
        common = [self.stranger, self.stranger_in_band, self.guest, self.guest_of_many, self.demoted, self.leaver]
        return [*common, *common, self.expiring, self.revoked]

    async def _visit(self, todo: list[Callable[[], Awaitable[None]]]) -> None:
        while todo and not self._over.is_set():
            kind = todo.pop()
            try:
                await kind()
            except Exception as error:
                error.add_note(f"a visit of {kind.__name__}, seed {self.seed}")  # type: ignore[attr-defined]
                raise
            self.visits[kind.__name__] += 1  # type: ignore[attr-defined]

    async def play(self) -> None:
        """Play it; `leaks` says what came of it. A first leak ends the run."""
        kinds = self._kinds()
        todo = [kinds[number % len(kinds)] for number in range(self._most)]
        self.random.shuffle(todo)
        ready = [asyncio.Event() for _ in self.documents]
        async with asyncio.TaskGroup() as group:
            for document, event in zip(self.documents, ready, strict=True):
                group.create_task(self._own(document, event))
            try:
                for event in ready:
                    await event.wait()
                visitors = [asyncio.create_task(self._visit(todo)) for _ in range(self._at_once)]
                over = asyncio.create_task(self._over.wait())
                everybody = asyncio.gather(*visitors)
                try:
                    await asyncio.wait([everybody, over], return_when=asyncio.FIRST_COMPLETED)
                    if not self._over.is_set():
                        await everybody
                finally:
                    over.cancel()
                    await _end(visitors)
                    await asyncio.gather(everybody, return_exceptions=True)
            finally:
                self._over.set()


def revoke(server: RaffiaServer, what: dict[str, str]) -> None:
    """Take something back; returns when that is durable."""
    request = urllib.request.Request(
        f"{server.http}/api/revocations",
        data=json.dumps(what).encode(),
        headers={
            "Authorization": f"Bearer {token(sub='operator', raffia={'*': 'admin'})}",
            "Content-Type": "application/json",
        },
    )
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        assert answer.status == 200


async def _end(tasks: list[asyncio.Task[None]]) -> None:
    """End tasks; a `wait_for` of Python 3.11 may swallow a cancellation that comes with its result."""
    while left := [task for task in tasks if not task.done()]:
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=0.1)
