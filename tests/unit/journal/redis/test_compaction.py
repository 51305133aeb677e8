"""Compaction and what is stored: RK1-RK4 of `compaction`, RB1-RB3 of `blobs`, RL1, RP4, RP5, J16."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from tests.support.journals import Journals, Reader, until

from raffia.errors import FormatTooNewError, InternalError, JournalUnavailableError, QuarantinedError, SettingsError
from raffia.journal.passed_time import SETTLED_MS
from raffia.journal.protocol import Entry, Folded, Snapshot
from raffia.journal.redis import blobs, compaction
from raffia.journal.redis.compaction import trim
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.redis.keys import FORMAT, Keys, id_of, position_of
from raffia.journal.testing.contract import DOCUMENT, OTHER, Clock, Typist, canonical, content, edit, updates_of
from raffia.types import DocumentId, Position

EMPTY = b"\x00\x00"
KEYS = Keys("raffia")
META, LOG, STONES = KEYS.meta(DOCUMENT), KEYS.log(DOCUMENT), KEYS.base_snapshots(DOCUMENT)


class Barrier:
    """Holds a compaction before one of its steps."""

    def __init__(self, journal: RedisJournal, step: str) -> None:
        self.reached = asyncio.Event()
        self._go = asyncio.Event()
        self._step = step
        journal._compactor.at_step = self

    async def __call__(self, step: str) -> None:
        if step == self._step:
            self.reached.set()
            await self._go.wait()

    def open(self) -> None:
        self._go.set()


async def typed(journal: RedisJournal, count: int) -> tuple[list[bytes], list[Position]]:
    typist = Typist(1)
    updates = [typist.type("é🦊") for _ in range(count)]
    return updates, [await journal.append(DOCUMENT, (edit(update),)) for update in updates]


async def test_rk1_a_commit_with_an_old_fence_changes_nothing(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    updates, positions = await typed(one, 6)
    barrier = Barrier(one, "commit")
    slow = asyncio.ensure_future(one.compact(DOCUMENT, Snapshot(canonical(updates[:4]), b"slow"), positions[3]))
    await barrier.reached.wait()
    await two.compact(DOCUMENT, Snapshot(b"held", b""), positions[1])
    assert journals.server.command("HGET", META, "folded") is None, "the lease keeps the other one away"
    journals.server.command("DEL", KEYS.lease(DOCUMENT))  # as if it had expired
    await two.compact(DOCUMENT, Snapshot(canonical(updates[:2]), b"quick"), positions[1])
    before = journals.server.command("HGETALL", META), journals.server.command("HGETALL", STONES)
    barrier.open()
    await slow
    assert (journals.server.command("HGETALL", META), journals.server.command("HGETALL", STONES)) == before
    loaded = await one.load(DOCUMENT)
    assert loaded.snapshot == Snapshot(canonical(updates[:2]), b"quick")
    assert await content(one) == canonical(updates)
    assert (one.stats.compactions, two.stats.compactions) == (0, 1)


async def test_rk1_a_trim_with_an_old_fence_changes_nothing(journals: Journals, clock: Clock) -> None:
    one, two = await journals.open(), await journals.open()
    updates, positions = await typed(one, 6)
    await one.compact(DOCUMENT, Snapshot(canonical(updates[:2]), b""), positions[1])
    clock.advance(60_000)
    barrier = Barrier(one, "trim")
    slow = asyncio.ensure_future(one.compact(DOCUMENT, Snapshot(canonical(updates[:4]), b""), positions[3]))
    await barrier.reached.wait()
    journals.server.command("DEL", KEYS.lease(DOCUMENT))
    fence = int(journals.server.command("HGET", META, "fence"))
    hold = Barrier(two, "commit")
    other = asyncio.ensure_future(two.compact(DOCUMENT, Snapshot(canonical(updates[:5]), b""), positions[4]))
    await hold.reached.wait()
    assert await trim(one._base, DOCUMENT, fence) is None
    assert journals.server.command("XLEN", LOG) == 6, "nothing was trimmed"
    hold.open()
    await other
    assert journals.server.command("XLEN", LOG) == 5, (
        "folded a minute ago: up to the second entry, which names the lineage"
    )
    barrier.open()
    await slow
    assert await content(one) == canonical(updates)


async def test_rk2_what_was_not_committed_expires(journals: Journals) -> None:
    one = await journals.open()
    updates, positions = await typed(one, 2)
    barrier = Barrier(one, "commit")
    slow = asyncio.ensure_future(one.compact(DOCUMENT, Snapshot(b"x" * 2_500_000, b"i"), positions[1]))
    await barrier.reached.wait()
    staged = journals.server.command("KEYS", KEYS.blob(DOCUMENT, "*"))
    assert len(staged) == 2, "the snapshot and one segment"
    assert all(0 < journals.server.command("PTTL", key) <= blobs.STAGED_MS for key in staged)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)
    await until(lambda: journals.server.command("EXISTS", KEYS.lease(DOCUMENT)) == 0, "the lease was given back")
    journals.server.command("UNLINK", *staged)
    barrier.open()
    await one.compact(DOCUMENT, Snapshot(canonical(updates), b""), positions[1])
    named = journals.server.command("KEYS", KEYS.blob(DOCUMENT, "*"))
    assert [journals.server.command("PTTL", key) for key in named] == [-1, -1]


async def test_rk2_blobs_that_expired_before_the_commit_stop_it(journals: Journals) -> None:
    one = await journals.open()
    updates, positions = await typed(one, 2)
    barrier = Barrier(one, "commit")
    slow = asyncio.ensure_future(one.compact(DOCUMENT, Snapshot(canonical(updates), b""), positions[1]))
    await barrier.reached.wait()
    journals.server.command("UNLINK", *journals.server.command("KEYS", KEYS.blob(DOCUMENT, "*")))
    barrier.open()
    await slow
    loaded = await one.load(DOCUMENT)
    assert loaded.snapshot is None
    assert updates_of(loaded.entries) == updates


async def test_replaced_snapshots_stay_a_little_for_those_who_read_them(journals: Journals) -> None:
    one = await journals.open()
    updates, positions = await typed(one, 2)
    await one.compact(DOCUMENT, Snapshot(canonical(updates[:1]), b""), positions[0])
    old = json.loads(journals.server.command("HVALS", STONES)[0])["blob"]
    await one.compact(DOCUMENT, Snapshot(canonical(updates), b""), positions[1])
    assert 0 < journals.server.command("PTTL", KEYS.blob(DOCUMENT, old)) <= 60_000
    assert journals.server.command("HKEYS", STONES) == [id_of(positions[1]).encode()]


async def test_rk3_a_snapshot_of_another_lineage_is_not_put_in(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    updates, positions = await typed(one, 3)
    journals.server.command("FLUSHALL")
    for update in updates:
        await two.append(DOCUMENT, (edit(update),))
    before = journals.server.command("HGETALL", META)
    # A nonce that is smaller than the one that took its place: by its number it lies before the log's end.
    await one.compact(DOCUMENT, Snapshot(b"of the old lineage", b""), Position(positions[0]))
    fields = dict(zip(before[::2], before[1::2], strict=True))
    now = journals.server.command("HGETALL", META)
    found = dict(zip(now[::2], now[1::2], strict=True))
    found.pop(b"fence", None)
    assert found == fields
    assert updates_of((await two.load(DOCUMENT)).entries) == updates


async def test_rk3_compacting_what_the_log_has_lost_is_no_fault_of_the_caller(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    _, positions = await typed(one, 3)
    journals.server.command("FLUSHALL")
    await two.append(DOCUMENT, (edit(EMPTY),))
    await one.compact(DOCUMENT, Snapshot(b"lost", b""), positions[2])
    assert (await two.load(DOCUMENT)).snapshot is None
    with pytest.raises(InternalError):
        await two.compact(DOCUMENT, Snapshot(b"never there", b""), positions[2])


async def test_rk4_trimming_goes_in_bounded_steps(
    journals: Journals, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compaction, "TRIM_ENTRIES", 7)
    one = await journals.open()
    waiting = [one.append(DOCUMENT, (edit(EMPTY),)) for _ in range(100)]
    positions = await asyncio.gather(*waiting)
    await one.compact(DOCUMENT, Snapshot(EMPTY, b""), positions[79])
    await one.compact(DOCUMENT, Snapshot(EMPTY, b""), positions[89])
    assert journals.server.command("XLEN", LOG) == 100
    clock.advance(60_000)
    journals.server.command("CONFIG", "RESETSTAT")
    await one.prune()
    assert journals.server.command("XLEN", LOG) == 21
    assert journals.server.info("commandstats")["cmdstat_xtrim"].startswith("calls=12,")
    assert journals.server.command("HGET", META, "floor") == b"80"
    clock.advance(60_000)
    await one.prune()
    assert journals.server.command("XLEN", LOG) == 11, "the idle document is trimmed to its snapshot, too"
    assert len((await one.load(DOCUMENT)).entries) == 10


async def test_folded_is_told_to_all_replicas(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    async with Reader(one) as first, Reader(two) as second:
        updates, positions = await typed(one, 3)
        await one.compact(DOCUMENT, Snapshot(canonical(updates[:2]), b""), positions[1])
        await first.has(4)
        await second.has(4)
        assert first.items == second.items
        assert first.items[3] == Folded(positions[1])
        assert all(isinstance(item, Entry) for item in first.items[:3])


# J16: formats


async def test_j16_a_newer_store_is_refused_before_anything_is_written(journals: Journals) -> None:
    await journals.open()
    server = journals.server
    assert server.command("GET", KEYS.format) == str(FORMAT).encode()
    server.command("FLUSHALL")
    server.command("SET", KEYS.format, FORMAT + 1)
    with pytest.raises(FormatTooNewError, match="update Raffia"):
        await journals.open()
    await until(lambda: len(server.command("KEYS", "*")) <= 2, "only what the other journal writes")
    assert server.command("KEYS", "raffia:{[^-]*") == []


@pytest.mark.parametrize(
    "attempt",
    [
        pytest.param(lambda journal: journal.append(DOCUMENT, (edit(EMPTY),)), id="append"),
        pytest.param(lambda journal: journal.load(DOCUMENT), id="load"),
        pytest.param(lambda journal: journal.compact(DOCUMENT, Snapshot(b"", b""), Position(1 << 48)), id="compact"),
        pytest.param(lambda journal: journal.history.at(DOCUMENT, 0), id="at"),
        pytest.param(lambda journal: journal.history.windows(DOCUMENT), id="history"),
        pytest.param(lambda journal: journal.versions.save(DOCUMENT, b"", time_ms=1), id="save_version"),
        pytest.param(lambda journal: journal.versions.all(DOCUMENT), id="versions"),
        pytest.param(lambda journal: journal.directory.set_info(DOCUMENT, title="x", kind=None), id="set_info"),
        pytest.param(lambda journal: journal.directory.info(DOCUMENT), id="info"),
        pytest.param(lambda journal: journal.directory.delete(DOCUMENT), id="delete"),
        pytest.param(lambda journal: journal.directory.restore(DOCUMENT), id="restore"),
        pytest.param(lambda journal: anext(journal.follow(DOCUMENT, Position(0))), id="follow"),
    ],
)
async def test_j16_a_newer_document_is_refused(
    journals: Journals, attempt: Callable[[RedisJournal], Awaitable[object]]
) -> None:
    one = await journals.open()
    await typed(one, 2)
    server = journals.server
    server.command("HSET", META, "format", FORMAT + 1)
    before = server.command("HGETALL", META), server.command("XLEN", LOG), sorted(server.command("KEYS", "*team*"))
    with pytest.raises(FormatTooNewError):
        await attempt(one)
    after = server.command("HGETALL", META), server.command("XLEN", LOG), sorted(server.command("KEYS", "*team*"))
    assert after == before
    await one.append(OTHER, (edit(EMPTY),))


# damage


async def compacted(journal: RedisJournal, state: bytes) -> str:
    _, positions = await typed(journal, 2)
    await journal.compact(DOCUMENT, Snapshot(state, b"index"), positions[0])
    line = (await journal._base.run(("HVALS", STONES)))[0]
    assert isinstance(line, list)
    return str(json.loads(line[0])["blob"])


async def test_rb1_large_snapshots_lie_in_pieces(journals: Journals) -> None:
    one = await journals.open()
    state = bytes(range(256)) * 10_000
    blob = await compacted(one, state)
    sizes = {
        field: journals.server.command("HSTRLEN", KEYS.blob(DOCUMENT, blob), field) - 4
        for field in (b"0", b"1", b"2", b"3")
    }
    assert sizes == {b"0": 1 << 20, b"1": 1 << 20, b"2": len(state) - (2 << 20), b"3": 5}
    assert journals.server.command("HLEN", KEYS.blob(DOCUMENT, blob)) == 4
    assert (await one.load(DOCUMENT)).snapshot == Snapshot(state, b"index")


@pytest.mark.parametrize("damage", ["changed", "short", "missing", "all", "stone", "stone-format"])
async def test_rb3_what_is_damaged_is_quarantined_and_stays(journals: Journals, damage: str) -> None:
    one = await journals.open()
    blob = KEYS.blob(DOCUMENT, await compacted(one, b"s" * 1_500_000))
    server = journals.server
    piece = server.command("HGET", blob, "1")
    if damage == "changed":
        server.command("HSET", blob, "1", piece[:100] + b"x" + piece[101:])
    elif damage == "short":
        server.command("HSET", blob, "1", piece[:-1])
    elif damage == "missing":
        server.command("HDEL", blob, "1")
    elif damage == "all":
        server.command("DEL", blob)
    else:
        (field,) = server.command("HKEYS", STONES)
        server.command("HSET", STONES, field, b"{}" if damage == "stone" else b'{"v":2}')
    with pytest.raises(QuarantinedError, match=str(DOCUMENT)):
        await one.load(DOCUMENT)
    assert server.command("XLEN", LOG) == 2
    await one.append(OTHER, (edit(EMPTY),))
    assert len((await one.load(OTHER)).entries) == 1


async def test_rl1_a_hole_in_the_log_is_quarantined(journals: Journals) -> None:
    one = await journals.open()
    _, positions = await typed(one, 5)
    journals.server.command("XDEL", LOG, id_of(positions[2]))
    with pytest.raises(QuarantinedError, match="entry 3"):
        await one.load(DOCUMENT)


async def test_rl1_a_compaction_during_a_load_is_noticed(journals: Journals, monkeypatch: pytest.MonkeyPatch) -> None:
    one, two = await journals.open(), await journals.open()
    updates, positions = await typed(one, 6)
    await one.compact(DOCUMENT, Snapshot(canonical(updates[:2]), b""), positions[1])
    run, between = two._engine.run, [positions[3], positions[5]]

    async def runs(commands, **options):  # type: ignore[no-untyped-def]
        if commands[0].args[0] == "HGET" and between:
            upto = between.pop(0)
            count = positions.index(upto) + 1
            await one.compact(DOCUMENT, Snapshot(canonical(updates[:count]), b""), upto)
        return await run(commands, **options)

    monkeypatch.setattr(two._engine, "run", runs)
    loaded = await two.load(DOCUMENT)
    assert not between
    assert loaded.snapshot == Snapshot(canonical(updates), b"")
    assert loaded.entries == []
    assert loaded.position == positions[5]


async def test_an_unknown_error_of_a_script_is_our_fault(journals: Journals) -> None:
    one = await journals.open()
    journals.server.command("SET", META, "somebody else's key")
    with pytest.raises(InternalError):
        await one.append(DOCUMENT, (edit(EMPTY),))


async def test_refusals_that_pass_are_away(journals: Journals) -> None:
    one = await journals.open()
    server = journals.server
    server.command("REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(JournalUnavailableError):
        await one.append(DOCUMENT, (edit(EMPTY),))
    with pytest.raises(JournalUnavailableError):
        await one.healthy()
    server.command("REPLICAOF", "NO", "ONE")
    await one.append(DOCUMENT, (edit(EMPTY),))


# pruning and listing


async def test_rp5_two_replicas_prune_at_once_and_nothing_is_scanned(journals: Journals, clock: Clock) -> None:
    options = {"retention_ms": 10_000, "beat_s": 3600.0}  # no sign of life among the commands that are counted
    one, two = await journals.open(**options), await journals.open(**options)
    names = [DocumentId(f"d{number}") for number in range(120)]
    for name in names:
        positions = [await one.append(name, (edit(EMPTY, clock.now_ms),)) for _ in range(2)]
        await one.compact(name, Snapshot(EMPTY, b""), positions[0])
    clock.advance(SETTLED_MS)
    await asyncio.gather(one.prune(), two.prune())
    infos = [await one.directory.info(name) for name in names]
    assert [info.history_bytes for info in infos if info is not None] == [0] * 120
    assert journals.server.command("ZCARD", KEYS.due) == 0
    journals.server.command("CONFIG", "RESETSTAT")
    await one.prune()
    assert journals.server.info("commandstats")["cmdstat_evalsha"].startswith("calls=3,"), (
        "only the questions what time it is, what is due, and which revocations are over"
    )


async def test_j11_no_retention_keeps_no_history(journals: Journals, clock: Clock) -> None:
    one = await journals.open(retention_ms=0)
    for _ in range(3):
        position = await one.append(DOCUMENT, (edit(EMPTY, clock.now_ms),))
        await one.compact(DOCUMENT, Snapshot(EMPTY, b""), position)  # prunes, though at first there is nothing to drop
        clock.advance(50_000)
    await one.prune()
    info = await one.directory.info(DOCUMENT)
    assert info is not None
    assert info.history_bytes == 0
    assert await one.history.windows(DOCUMENT) == []
    assert await one.history.at(DOCUMENT, clock.now_ms) == [EMPTY]


async def test_j14_purging_leaves_the_tombstone_only(journals: Journals, clock: Clock) -> None:
    one = await journals.open(trash_ms=1000)
    await compacted(one, b"s" * 1_500_000)
    await one.versions.save(DOCUMENT, b"v" * 1_500_000, time_ms=1, name="é")
    await one.directory.delete(DOCUMENT)
    journals.server.command("HSET", STONES, "9-9", b"damaged")
    clock.advance(SETTLED_MS)
    await one.prune()
    assert journals.server.command("KEYS", "raffia:{team*") == [META.encode()]
    assert journals.server.command("ZCARD", KEYS.trash) == 0


async def test_j14_one_document_that_cannot_be_purged_does_not_keep_the_others(
    journals: Journals, clock: Clock
) -> None:
    one = await journals.open(trash_ms=1000)
    await typed(one, 1)
    for number in range(60):  # more than are looked at in one go
        journals.server.command("HSET", KEYS.meta(DocumentId(f"newer/{number}")), "format", 99, "deleted_ms", 1)
        journals.server.command("ZADD", KEYS.trash, 1, f"newer/{number}")
    await one.directory.delete(DOCUMENT)
    clock.advance(SETTLED_MS)
    async with asyncio.timeout(10):
        await one.prune()
    assert journals.server.command("KEYS", "raffia:{team*") == [META.encode()]
    assert journals.server.command("ZCARD", KEYS.trash) == 60


async def test_rd2_a_note_without_a_tombstone_is_put_right(journals: Journals, clock: Clock) -> None:
    one = await journals.open(trash_ms=1000)
    await typed(one, 1)
    journals.server.command("ZADD", KEYS.trash, clock.now_ms, DOCUMENT)
    journals.server.command("ZADD", KEYS.trash, clock.now_ms, "never/there")
    journals.server.command("ZREM", KEYS.documents, DOCUMENT)
    clock.advance(SETTLED_MS)
    await one.prune()
    assert journals.server.command("ZCARD", KEYS.trash) == 0
    assert [info.document for info in (await one.directory.documents()).documents] == [DOCUMENT]


async def test_the_listing_under_two_journals_at_once(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    names = [DocumentId(f"n{number:03}") for number in range(60)]
    await asyncio.gather(
        *[journal.append(name, (edit(EMPTY),)) for name in names for journal in (one, two)],
        *[journal.directory.set_info(name, title=f"é{name}", kind="board") for name in names for journal in (one, two)],
    )
    await asyncio.gather(*[journal.directory.delete(name) for name in names[::3] for journal in (one, two)])
    await asyncio.gather(*[journal.directory.restore(name) for name in names[::6] for journal in (one, two)])
    gone = [name for name in names[::3] if name not in names[::6]]
    for journal in (one, two):
        page = await journal.directory.documents(limit=1000)
        assert [info.document for info in page.documents] == [name for name in names if name not in gone]
        assert page.total == 60 - len(gone)
        assert {info.title for info in page.documents} == {f"é{name}" for name in names if name not in gone}
        page = await journal.directory.documents(limit=1000, deleted=True)
        assert [info.document for info in page.documents] == gone


@pytest.mark.parametrize("prefix", ["", "a{b}", "a b", "é", "x" * 65, "a\n"])
def test_rky1_a_prefix_that_would_move_the_tag_is_refused(prefix: str) -> None:
    with pytest.raises(SettingsError):
        Keys(prefix)


async def test_two_prefixes_share_one_redis(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open(prefix="staging:raffia")
    await one.append(DOCUMENT, (edit(b"one"),))
    async with Reader(two) as reader:
        await two.append(DOCUMENT, (edit(b"two"),))
        await one.append(DOCUMENT, (edit(b"one"),))
        await reader.has(1)
        assert updates_of((await two.load(DOCUMENT)).entries) == [b"two"]
    assert (await two.directory.documents()).total == 1
    journals.server.command("SET", "staging:raffia:{-}:format", "something else")
    with pytest.raises(SettingsError, match="prefix"):
        await journals.open(prefix="staging:raffia")


def test_rky1_keys_of_a_document_carry_its_tag_and_nothing_else_does() -> None:
    names = ("meta", "log", "channel", "lease", "base_snapshots", "segments", "versions")
    keys = [getattr(KEYS, name)(DOCUMENT) for name in names] + [KEYS.blob(DOCUMENT, "x")]
    assert all(key.startswith("raffia:{team:e/notes}:") for key in keys)
    assert len(set(keys)) == len(keys)
    assert KEYS.documents == "raffia:{-}:documents"


def test_rky3_positions_and_ids() -> None:
    position = Position((7 << 48) + 5)
    assert id_of(position) == "7-5"
    assert position_of("7-5") == position_of(b"7-5") == position
