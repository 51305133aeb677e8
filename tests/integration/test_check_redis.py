"""`raffia check --redis`, while a journal is open: what is damaged is named and repaired (CK1-CK7, RMT1-RMT4)."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.bit_flips import folded, token
from tests.support.journals import Journals, Reader
from tests.support.redis import RedisServer

from raffia.crdt.merge import merge
from raffia.crdt.view import read_text
from raffia.errors import JournalUnavailableError, QuarantinedError
from raffia.journal import Gap
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.testing.contract import BEGIN_MS, Clock, Typist
from raffia.rooms.durable.loading import build_document
from raffia.types import DocumentId, Edit, Position

NAME = DocumentId("team/notes é")
OTHER = DocumentId("team/other")
TEXT = "".join(token(0, number) for number in range(12))
MOMENT = BEGIN_MS + 15_000
RETENTION_MS = 86_400_000


@pytest.fixture(scope="module")
def redis() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
def server(redis: RedisServer) -> RedisServer:
    redis.command("FLUSHALL")
    return redis


def check(server: RedisServer, folder: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("raffia")), "check", "--redis", server.url, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=folder)


async def write(journal: RedisJournal, clock: Clock) -> Position:
    """A document with two snapshots, history, a version and a log; and another one."""
    typist, updates = Typist(7), []
    for step in range(12):
        clock.now_ms = BEGIN_MS + step * 5_000
        updates.append(typist.type(token(0, step)))
        position = await journal.append(NAME, (Edit("ana", clock.now_ms, updates[-1]),))
        if step in (4, 8):
            await journal.compact(NAME, folded(updates), position)
    await journal.versions.save(NAME, folded(updates).state, time_ms=clock.now_ms, authors=["ana"], name="é")
    await journal.append(OTHER, (Edit(None, clock.now_ms, Typist(8).type("other")),))
    return position


async def text(journal: RedisJournal, name: DocumentId = NAME) -> str:
    return read_text(build_document(await journal.load(name), keep_deleted=False).merged(), "t")


async def past(journal: RedisJournal) -> str:
    return read_text(merge(await journal.history.at(NAME, MOMENT)), "t")


def key(kind: str) -> str:
    return f"raffia:{{{NAME}}}:{kind}"


def flipped(value: bytes, at: int = -9) -> bytes:
    at %= len(value)
    return value[:at] + bytes([value[at] ^ 0x01]) + value[at + 1 :]


def zeroed(value: bytes) -> bytes:
    return value[:-8] + bytes(8)


Change = Callable[[bytes], bytes]


def change_hash(server: RedisServer, name: str, field: bytes | str, change: Change) -> None:
    server.command("HSET", name, field, change(server.command("HGET", name, field)))


def blob_of(line: bytes) -> str:
    return key("blob:" + json.loads(line)["blob"])


def change_snapshot(server: RedisServer, change: Change) -> None:
    folded_id = server.command("HGET", key("meta"), "folded")
    change_hash(server, blob_of(server.command("HGET", key("stones"), folded_id)), "0", change)


def change_base(server: RedisServer, change: Change) -> None:
    change_hash(server, key("stones"), server.command("HGET", key("meta"), "folded"), change)


def change_version(server: RedisServer, change: Change) -> None:
    change_hash(server, blob_of(server.command("HGET", key("versions"), "1")), "0", change)


def change_name(server: RedisServer, change: Change) -> None:
    change_hash(server, key("versions"), "1:name", change)


def change_segment_record(server: RedisServer, change: Change) -> None:
    member = server.command("ZRANGE", key("segments"), 0, 0)[0]
    score = server.command("ZSCORE", key("segments"), member)
    server.command("ZREM", key("segments"), member)
    server.command("ZADD", key("segments"), score, change(member))


def change_segment(server: RedisServer, change: Change) -> None:
    change_hash(server, blob_of(server.command("ZRANGE", key("segments"), 0, 0)[0]), "0", change)


def change_entry(server: RedisServer, change: Change) -> None:
    entries = server.command("XRANGE", key("log"), "-", "+")
    server.command("DEL", key("log"))
    for index, (id_, fields) in enumerate(entries):
        payload = change(fields[1]) if index == len(entries) - 2 else fields[1]
        server.command("XADD", key("log"), id_, fields[0], payload)


PARTS = [
    change_snapshot,
    change_base,
    change_version,
    change_name,
    change_segment_record,
    change_segment,
    change_entry,
]


def dumps(server: RedisServer) -> dict[bytes, Any]:
    return {name: server.command("DUMP", name) for name in server.command("KEYS", "*")}


async def test_a_check_of_redis_only_reads_and_servers_may_run(server: RedisServer, tmp_path: Path) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS, beat_s=3600.0)
        await write(journal, clock)
        before = dumps(server)
        found = check(server, tmp_path)
        assert (found.returncode, found.stdout) == (0, "2 documents checked: all can be read\n"), found.stderr
        assert dumps(server) == before
        assert list(tmp_path.iterdir()) == []


def test_a_redis_without_raffia_is_an_error(server: RedisServer, tmp_path: Path) -> None:
    found = check(server, tmp_path)
    assert found.returncode == 2
    assert "there is no raffia:{-}:format" in found.stderr
    away = check(server, tmp_path, "--redis", "redis://127.0.0.1:1/0")
    assert away.returncode == 1
    assert away.stderr.endswith("; start Redis, or set --redis to where it is\n")


@pytest.mark.parametrize("damage", PARTS)
async def test_a_changed_bit_is_named_and_corrected(server: RedisServer, tmp_path: Path, damage: Any) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        await write(journal, clock)
        then, before = await past(journal), dumps(server)
        damage(server, flipped)
        damaged = dumps(server)
        assert damaged != before
        found = check(server, tmp_path)
        assert found.returncode == 1, found.stdout + found.stderr
        assert found.stdout.startswith(f"{NAME}: ")
        assert "history" in found.stdout
        assert str(OTHER) not in found.stdout
        assert dumps(server) == damaged
        mended = check(server, tmp_path, "--repair")
        assert mended.returncode == 0, mended.stdout + mended.stderr
        assert "corrected: one bit of" in mended.stdout
        assert "starts over" not in mended.stdout
        assert f"the original data is in {tmp_path / 'quarantine'}" in mended.stdout
        assert check(server, tmp_path).returncode == 0
        assert await text(journal) == TEXT
        assert await past(journal) == then
        (info,) = await journal.versions.all(NAME)
        assert (await journal.versions.get(NAME, info.id)).info.name == "é"


async def test_a_version_whose_name_is_damaged_loses_only_its_name(server: RedisServer, tmp_path: Path) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        await write(journal, clock)
        (info,) = await journal.versions.all(NAME)
        state = (await journal.versions.get(NAME, info.id)).state
        change_name(server, lambda name: b"\x00" * len(name))
        mended = check(server, tmp_path, "--repair")
        assert mended.returncode == 0, mended.stdout + mended.stderr
        assert "left out: the name of version 1" in mended.stdout
        assert check(server, tmp_path).returncode == 0
        kept = await journal.versions.get(NAME, info.id)
        assert (kept.info.name, kept.state) == (None, state)


@pytest.mark.parametrize("damage", [change_snapshot, change_base])
async def test_a_damaged_document_is_rebuilt(server: RedisServer, tmp_path: Path, damage: Any) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        await write(journal, clock)
        damage(server, zeroed)
        with pytest.raises(QuarantinedError):
            await journal.load(NAME)
        data = tmp_path / "data"
        mended = check(server, tmp_path, "--repair", "--data", str(data))
        assert mended.returncode == 0, mended.stdout + mended.stderr
        assert "its history starts over" in mended.stdout
        (copy,) = (data / "quarantine").iterdir()
        assert json.loads((copy / "stored.json").read_text())["document"] == NAME
        assert check(server, tmp_path).returncode == 0
        assert await text(journal) == TEXT
        (info,) = await journal.versions.all(NAME)
        await journal.versions.get(NAME, info.id)
        # It can be edited and compacted as before.
        update = Typist(9).type("more")
        position = await journal.append(NAME, (Edit("bo", clock.now_ms, update),))
        document = build_document(await journal.load(NAME), keep_deleted=False)
        assert position == (await journal.load(NAME)).position
        await journal.compact(NAME, folded([document.merged()]), position)
        assert "more" in await text(journal)
        assert check(server, tmp_path).returncode == 0


async def test_a_damaged_entry_and_what_depends_on_it_are_left_out_and_named(
    server: RedisServer, tmp_path: Path
) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        await write(journal, clock)
        change_entry(server, zeroed)
        mended = check(server, tmp_path, "--repair")
        assert mended.returncode == 0, mended.stdout + mended.stderr
        assert "left out: entry 11: " in mended.stdout
        assert "in entry 12" in mended.stdout
        assert await text(await journals.open()) == TEXT[: 10 * len(token(0, 0))]


async def test_rmt4_a_replica_that_has_it_open_reads_it_again(server: RedisServer, tmp_path: Path) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        position = await write(journal, clock)
        async with Reader(journal, position, NAME) as reader:
            change_snapshot(server, zeroed)
            assert check(server, tmp_path, "--repair").returncode == 0
            (gap,) = await reader.has(1)
            loaded = await journal.load(NAME)
            assert isinstance(gap, Gap)
            assert gap.upto == loaded.position
            update = Typist(9).type("more")
            appended = await journal.append(NAME, (Edit("bo", clock.now_ms, update),))
            entry = (await reader.has(2))[1]
            assert entry.position == appended  # type: ignore[union-attr]
        assert "more" in await text(journal)


async def test_rmt4_an_append_on_the_old_log_is_refused(server: RedisServer, tmp_path: Path) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        await write(journal, clock)
        change_snapshot(server, zeroed)
        assert check(server, tmp_path, "--repair").returncode == 0
        with pytest.raises(JournalUnavailableError):
            await journal.append(NAME, (Edit("bo", clock.now_ms, Typist(9).type("more")),))
        assert await text(journal) == TEXT
        await journal.append(NAME, (Edit("bo", clock.now_ms, Typist(9).type("more")),))


async def test_rmt1_a_damaged_listing_is_named_and_corrected(server: RedisServer, tmp_path: Path) -> None:
    clock = Clock()
    async with Journals(server, clock) as journals:
        journal = await journals.open(retention_ms=RETENTION_MS)
        await write(journal, clock)
        server.command("ZREM", "raffia:{-}:documents", NAME)
        server.command("ZADD", "raffia:{-}:documents", 0, flipped(NAME.encode(), 0))
        found = check(server, tmp_path)
        assert found.returncode == 1
        assert f"{NAME}: the listing lacks it\n" in found.stdout
        assert "the listing has 'ueam/notes é', but there is no such document\n" in found.stdout
        assert "2 documents checked" in found.stdout
        assert check(server, tmp_path, "--repair").returncode == 0
        assert check(server, tmp_path).stdout == "2 documents checked: all can be read\n"
        assert [info.document for info in (await journal.directory.documents()).documents] == [NAME, OTHER]
