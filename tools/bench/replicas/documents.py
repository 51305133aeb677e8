"""Part `documents`: the memory of a document in Redis, written through the journal, without servers.

At rest: folded into a snapshot, history past its retention, log trimmed; measured at two sizes, to separate the cost of
a document from that of its bytes. While it is edited: each log entry that is not folded yet, and each piece of history,
which is what one author wrote in ten seconds.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import TypeVar

import uvloop
from tests.support.redis import RedisServer

from raffia.journal import Snapshot
from raffia.journal.protocol import WINDOW_MS
from raffia.journal.redis.base import KEEP_MS
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.types import DocumentId, Edit, Position
from tools.bench.frames import Typist, client_id, token
from tools.bench.replicas.places import EVERYSEC
from tools.bench.work import Figures

SIZES = (1 << 10, 17 << 10)  # of the snapshot
INDEX = bytes(64)
ENTRIES = 100
EDITED = 100  # documents that are being edited
WINDOWS = 50
PER_WINDOW = 20
AT_ONCE = 50
SMALL_NODE = 512  # bytes that Redis reserves for a log at a time, instead of 4096
START_MS = 1_700_000_000_000
T = TypeVar("T")


class _Clock:
    def __init__(self) -> None:
        self.now_ms = START_MS

    def __call__(self) -> int:
        return self.now_ms


def measure(quick: bool) -> Figures:
    """Memory at rest, per entry, per piece of history."""
    count = 100 if quick else 3000
    with RedisServer(**EVERYSEC) as redis:
        figures = uvloop.run(_measure(redis, count))
    with RedisServer(**EVERYSEC, stream_node_max_bytes=SMALL_NODE) as redis:
        small = uvloop.run(_measure(redis, count))
    return figures | {f"small_nodes_{key}": small[key] for key in ("bytes_per_document", "bytes_per_entry")}


async def _measure(redis: RedisServer, count: int) -> Figures:
    clock = _Clock()
    figures: Figures = {}
    at_rest: list[float] = []
    async with RedisJournal(open_engine(redis.url), now_ms=clock, retention_ms=0, check_s=3600.0) as journal:
        for size in SIZES:
            before = _memory(redis)
            await _all([_rest(journal, clock, DocumentId(f"team/rest-{size}-{n}"), size) for n in range(count)])
            await _prune(journal, clock)
            at_rest.append((_memory(redis) - before) / count)
        per_byte = (at_rest[1] - at_rest[0]) / (SIZES[1] - SIZES[0])
        figures["bytes_per_document"] = round(at_rest[0] - per_byte * SIZES[0])
        figures["bytes_per_byte"] = round(per_byte, 3)

        before = _memory(redis)
        await _all([_edited(journal, clock, DocumentId(f"team/log-{n}"), ENTRIES) for n in range(EDITED)])
        figures["bytes_per_entry"] = round((_memory(redis) - before) / (EDITED * ENTRIES))
    async with RedisJournal(open_engine(redis.url), now_ms=clock, check_s=3600.0) as journal:
        names = [DocumentId(f"team/history-{n}") for n in range(EDITED)]
        lasts = await _all([_edited(journal, clock, name, 1) for name in names])
        await _all([journal.compact(n, Snapshot(bytes(1024), INDEX), p) for n, p in zip(names, lasts, strict=True)])
        before = _memory(redis)
        lasts = await _all([_windows(journal, clock, name) for name in names])
        await _all([journal.compact(n, Snapshot(bytes(1024), INDEX), p) for n, p in zip(names, lasts, strict=True)])
        clock.now_ms += WINDOWS * WINDOW_MS
        await _prune(journal, clock)
        figures["bytes_per_history_window"] = round((_memory(redis) - before) / (EDITED * WINDOWS))
    return figures


def _memory(redis: RedisServer) -> int:
    info = redis.info("memory")
    # Buffers of connections and of the append-only file vary.
    return int(info["used_memory"]) - int(info["mem_clients_normal"]) - int(info["mem_aof_buffer"])


async def _all(work: Sequence[Coroutine[None, None, T]]) -> list[T]:
    """Do all of it, a few at a time: a lease or a read has a deadline."""
    done: list[T] = []
    for at in range(0, len(work), AT_ONCE):
        done += await asyncio.gather(*work[at : at + AT_ONCE])
    return done


async def _prune(journal: RedisJournal, clock: _Clock) -> None:
    """Trim the log; what was folded in the meantime is trimmed a little later."""
    for _ in range(3):
        clock.now_ms += KEEP_MS + 1
        await journal.prune()


def _keystrokes(count: int) -> list[bytes]:
    typist = Typist(client_id(1))
    return [typist.type(token(number)[:1]) for number in range(count)]


async def _rest(journal: RedisJournal, clock: _Clock, document: DocumentId, size: int) -> None:
    last = await _edited(journal, clock, document, 2)
    await journal.compact(document, Snapshot(bytes(size), INDEX), last)


async def _edited(journal: RedisJournal, clock: _Clock, document: DocumentId, count: int) -> Position:
    last = Position(0)
    for update in _keystrokes(count):
        last = await journal.append(document, (Edit("zoë", clock.now_ms, update),))
    return last


async def _windows(journal: RedisJournal, clock: _Clock, document: DocumentId) -> Position:
    last = Position(0)
    for number, update in enumerate(_keystrokes(WINDOWS * PER_WINDOW)):
        time_ms = clock.now_ms + number // PER_WINDOW * WINDOW_MS
        last = await journal.append(document, (Edit("zoë", time_ms, update),))
    return last
