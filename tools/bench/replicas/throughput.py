"""Part `throughput`: how many appends per second one Redis handles before their p99 exceeds 50 ms.

The driver is no replica and opens no WebSockets, so that our Python is not what saturates: it sends the calls of
`append.lua` that the journal's writer makes (its own code puts them together), on as many connections as there would be
replicas, one pipeline under way on each. Every append carries one keystroke. Each
document is heard on two connections, as if it were open on two replicas. Nobody decodes what they hear.

Rules:
    BR3  The rate is open: appends are due at fixed times, whether Redis keeps up or not, and their latency counts from
         when they were due.
    BR4  A rate is passed when at least 95 % of the appends that were due were answered in time, with a p99 of at most
         50 ms; one that is not is tried again. The highest that is passed counts: what fails below it was a hiccup of
         the machine or its disk. Two rates in a row with less than 80 % answered end it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import hiredis
import uvloop
from tests.support.redis import RedisServer

from raffia.journal.entries import encode_batch
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import Keys, position_at, sequence_of
from raffia.journal.redis.scripts import load_script
from raffia.journal.redis.writer import _Append
from raffia.types import DocumentId, Edit, Position
from tools.bench.frames import Typist, client_id, pointer_message, token
from tools.bench.replicas.places import EVERYSEC
from tools.bench.runner import say
from tools.bench.servers import BENCH
from tools.bench.usage import Usage
from tools.bench.work import Figures, quantile_ms

P99_MS = 50.0
MET = 0.95
SWAMPED = 0.8
SHOWN = ("p50_ms", "p99_ms", "redis_us", "redis_cpu_pct", "driver_cpu_pct")
WRITERS = 8
DOCUMENTS = 4000
HEARD_ON = 2
TICK_S = 0.001
STEP_S = 6.0
WARM_S = 1.0
RATES = (500, 1_000, 2_000, 4_000, 8_000, 12_000, 16_000, 20_000, 25_000, 30_000, 36_000, 43_000, 50_000)
TRIES = 2
COST_RATE = 4_000  # the rate at which the cost of a subscriber is measured: far from saturation
HEARERS = (0, 1, 4)
# Redis does not look into it, so one stands for all: a keystroke of somebody whose name is short.
_UPDATES = Typist(client_id(1))
_UPDATES.type(token(0))
_UPDATE = _UPDATES.type(token(1))
BATCH = (Edit("zoë", 1_700_000_000_000, _UPDATE),)
PAYLOAD = encode_batch(BATCH)
CURSOR = b"P0123456789abcdef\n" + bytes(4) + pointer_message(1, 1, token(1))
PREFIX = "raffia"
# A file that begins empty would be rewritten in most steps; one of gigabytes is, rarely.
STEADY = {**EVERYSEC, "auto_aof_rewrite_percentage": "0"}
FSYNC = {"everysec": STEADY, "always": {**STEADY, "appendfsync": "always"}}


def measure(quick: bool) -> Figures:
    """The rates up to saturation with both settings of `appendfsync`, and the cost of one more subscriber."""
    figures: Figures = {}
    for name, options in FSYNC.items():
        figures |= {f"{name}_{key}": value for key, value in _ramp(name, options, quick).items()}
    rate = 200 if quick else COST_RATE
    costs = [_step(STEADY, rate, hearers, quick)["redis_us"] for hearers in HEARERS]
    figures |= {f"redis_us_heard_by_{hearers}": cost for hearers, cost in zip(HEARERS, costs, strict=True)}
    figures["redis_us_per_message"] = round(max(0.0, costs[-1] - costs[0]) / HEARERS[-1], 2)
    figures["redis_us_per_publish"] = _step(STEADY, rate, 0, quick, presence=True)["redis_us"]
    return figures


def _ramp(name: str, options: dict[str, str], quick: bool) -> Figures:
    """Raise the rate until it is too high (BR4)."""
    figures: Figures = {"per_s": 0.0}
    swamped = 0
    for rate in (200, 400) if quick else RATES:
        for _ in range(TRIES):
            found = _step(options, rate, HEARD_ON, quick)
            say(f"{name} at {rate}/s: " + " ".join(f"{key}={value:g}" for key, value in found.items()))
            if is_passed := found["met"] >= MET and found["p99_ms"] <= P99_MS:
                break
        named = {key: value for key, value in found.items() if key in SHOWN}
        if is_passed:
            figures = {"per_s": rate} | {f"best_{key}": value for key, value in named.items()}
        elif "fails_at_per_s" not in figures:
            figures |= {"fails_at_per_s": rate} | {f"failing_{key}": value for key, value in named.items()}
        swamped = swamped + 1 if found["met"] < SWAMPED else 0
        if swamped == 2:
            break
    return figures


def _step(options: dict[str, str], rate: int, heard_on: int, quick: bool, *, presence: bool = False) -> Figures:
    folder = BENCH / "run" / f"throughput-{os.getpid()}"  # on the disk of this tree: temporary folders may be memory
    shutil.rmtree(folder, ignore_errors=True)
    try:
        with RedisServer(folder, **options) as redis:
            return uvloop.run(_drive(redis, rate, heard_on, 0.5 if quick else STEP_S, presence=presence))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _pack(*args: Argument) -> bytes:
    packed: bytes = hiredis.pack_command(args)  # type: ignore[arg-type]
    return packed


class _Replies(asyncio.Protocol):
    """A connection that counts replies and keeps errors."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader()
        self._transport: asyncio.Transport | None = None
        self.on_reply: Callable[[object], None] = lambda _: None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not False:
            self.on_reply(reply)

    def send(self, data: bytes) -> None:
        assert self._transport is not None
        self._transport.write(data)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


class _Ear(asyncio.Protocol):
    """A connection that discards the messages it gets."""

    def __init__(self) -> None:
        self.bytes = 0
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        self.bytes += len(data)


@dataclass(slots=True)
class _Writer:
    """Sends what one replica's writer would: its own documents in turn, everything due in one pipeline."""

    link: _Replies
    documents: list[DocumentId]
    interval_s: float
    journal: RedisJournal  # never entered: it only builds what it would send
    presence: bool  # publish cursors instead of appending
    latencies_s: list[float] = field(default_factory=list)
    sent: int = 0
    errors: list[object] = field(default_factory=list)
    _next: int = 0
    _nobody: asyncio.Future[Position] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def call(self) -> bytes:
        """The next append; its id is known in advance, since no one else appends here."""
        number, self._next = self._next, self._next + 1
        document = self.documents[number % len(self.documents)]
        if self.presence:
            return _pack("PUBLISH", Keys(PREFIX).channel(document), CURSOR)
        seen = self.journal._seen.get(document)
        append = _Append(document, BATCH, PAYLOAD, self._nobody, 0)
        script, keys, args = self.journal._writer._call(document, [append])
        self.journal._seen.set(document, position_at(1 if seen is None else sequence_of(seen) + 1, append.nonce))
        return _pack("EVALSHA", script.sha, len(keys), *keys, *args)

    async def run(self, began_s: float, until_s: float) -> None:
        """Send what is due until the end (BR3)."""
        loop = asyncio.get_running_loop()
        due = 0
        while (now_s := time.perf_counter()) < until_s:
            dues_s = []
            while (due_s := began_s + due * self.interval_s) <= now_s:
                dues_s.append(due_s)
                due += 1
            if not dues_s:
                await asyncio.sleep(max(TICK_S, due_s - now_s))
                continue
            answered: asyncio.Future[None] = loop.create_future()
            self.link.on_reply = self._counter(dues_s, answered)
            self.sent += len(dues_s)
            self.link.send(b"".join([self.call() for _ in dues_s]))
            await answered

    def _counter(self, dues_s: list[float], answered: asyncio.Future[None]) -> Callable[[object], None]:
        waiting = iter(dues_s)
        left = len(dues_s)

        def count(reply: object) -> None:
            nonlocal left
            if not (isinstance(reply, int) if self.presence else isinstance(reply, list) and reply[0] == b"ok"):
                self.errors.append(reply)
            self.latencies_s.append(time.perf_counter() - next(waiting))
            left -= 1
            if not left:
                answered.set_result(None)

        return count


async def _drive(redis: RedisServer, rate: int, heard_on: int, seconds: float, *, presence: bool) -> Figures:
    loop = asyncio.get_running_loop()
    redis.command("SCRIPT", "LOAD", load_script("append").source)
    documents = [DocumentId(f"team-{number % 10}/document-{number}") for number in range(DOCUMENTS)]
    ears = []
    for _ in range(heard_on):
        _, ear = await loop.create_connection(_Ear, "127.0.0.1", redis.port)
        assert ear.transport is not None
        ear.transport.write(hiredis.pack_command(("SUBSCRIBE", *[Keys(PREFIX).channel(name) for name in documents])))
        ears.append(ear)
    writers = []
    for number in range(WRITERS):
        _, link = await loop.create_connection(_Replies, "127.0.0.1", redis.port)
        journal = RedisJournal(open_engine(redis.url), prefix=PREFIX, replica=f"{number:016x}")
        writers.append(_Writer(link, documents[number::WRITERS], WRITERS / rate, journal, presence))
    await asyncio.sleep(0.2)
    redis_usage, own_usage = Usage(redis.pid), Usage(os.getpid())
    warm_s = min(WARM_S, seconds / 4)
    began_s = time.perf_counter()
    await asyncio.gather(*[writer.run(began_s, began_s + warm_s) for writer in writers])
    errors = [error for writer in writers for error in writer.errors]
    if errors:
        raise RuntimeError(f"Redis refused appends: {errors[0]!r}")
    for writer in writers:
        writer.latencies_s.clear()
        writer.sent = 0
    redis_s, own_s = redis_usage.cpu_s(), own_usage.cpu_s()
    began_s = time.perf_counter()
    await asyncio.gather(*[writer.run(began_s, began_s + seconds) for writer in writers])
    took_s = time.perf_counter() - began_s
    redis_s, own_s = redis_usage.cpu_s() - redis_s, own_usage.cpu_s() - own_s
    errors = [error for writer in writers for error in writer.errors]
    if errors:
        raise RuntimeError(f"Redis refused appends: {errors[0]!r}")
    latencies_s = [latency_s for writer in writers for latency_s in writer.latencies_s]
    for ear in ears:
        assert ear.transport is not None
        ear.transport.abort()
    for writer in writers:
        writer.link.close()
    return {
        "p50_ms": quantile_ms(latencies_s, 0.5),
        "p99_ms": quantile_ms(latencies_s, 0.99),
        "met": round(len(latencies_s) / (rate * took_s), 3),
        "redis_us": round(redis_s / len(latencies_s) * 1e6, 2),
        "redis_cpu_pct": round(100 * redis_s / took_s),
        "driver_cpu_pct": round(100 * own_s / took_s),
    }
