"""The SQLite journal beyond the contract: folder lock, formats, failing disks, what a round does (SW1-SW5, DB1-DB4)."""

import asyncio
import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.disk import Disk

from raffia.errors import (
    DamagedStoreError,
    DataFolderInUseError,
    FormatTooNewError,
    FormatTooOldError,
    InternalError,
    JournalUnavailableError,
    QuarantinedError,
)
from raffia.journal import Snapshot
from raffia.journal.passed_time import SETTLED_MS
from raffia.journal.sqlite.database import DATABASE, Database, Steps
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.sqlite.rows import seal
from raffia.journal.testing.contract import BEGIN_MS, DOCUMENT, OTHER, Clock, Typist, canonical, content, edit
from raffia.types import START, DocumentId, Position

FSYNC = sqlite3.SQLITE_IOERR | 4 << 8
BATCH = (edit(b"\x00\x00"),)


def rows(folder: Path, sql: str) -> list[tuple[object, ...]]:
    """Look into a closed journal's file."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection:
        return connection.execute(sql).fetchall()


def change(folder: Path, sql: str) -> None:
    """Change a closed journal's file."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        connection.execute(sql)


# one owner


async def test_db1_a_second_process_is_refused_and_told_who_has_the_folder(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys\n"
        "from raffia.journal.sqlite.journal import SqliteJournal\n"
        "async def main():\n"
        "    async with SqliteJournal(sys.argv[1]):\n"
        "        print('in', flush=True)\n"
        "        sys.stdin.read()\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout is not None
        assert await asyncio.to_thread(owner.stdout.readline) == "in\n"
        with pytest.raises(DataFolderInUseError) as caught:
            await SqliteJournal(tmp_path).__aenter__()
        assert str(caught.value) == (
            f"data folder {tmp_path} is in use by another process (pid {owner.pid}); run replicas with --redis instead"
        )
        owner.kill()
        owner.wait()
    async with SqliteJournal(tmp_path) as journal:
        await journal.append(DOCUMENT, BATCH)


async def test_db1_nor_twice_in_one_process(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        for _ in range(2):
            with pytest.raises(DataFolderInUseError, match=f"pid {os.getpid()}"):
                await SqliteJournal(tmp_path).__aenter__()
        await journal.append(DOCUMENT, BATCH)


async def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(JournalUnavailableError, match="cannot open data folder"):
        await SqliteJournal(tmp_path / "file" / "data").__aenter__()


async def test_a_file_that_is_no_database_is_said_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / DATABASE).write_text("é" * 1000)
    with pytest.raises(DamagedStoreError, match="run raffia check --repair"):
        await SqliteJournal(tmp_path).__aenter__()
    assert (tmp_path / DATABASE).read_text() == "é" * 1000


# formats


async def test_j16_a_newer_format_is_refused_untouched(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        await journal.append(DOCUMENT, BATCH)
    change(tmp_path, "PRAGMA user_version = 3")
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(FormatTooNewError, match="has format 3; this Raffia reads up to 2"):
        await SqliteJournal(tmp_path).__aenter__()
    assert (tmp_path / DATABASE).read_bytes() == before
    change(tmp_path, "PRAGMA user_version = 1")
    before = (tmp_path / DATABASE).read_bytes()
    with pytest.raises(FormatTooOldError, match="has format 1, of an early build; this Raffia reads format 2"):
        await SqliteJournal(tmp_path).__aenter__()
    assert (tmp_path / DATABASE).read_bytes() == before
    change(tmp_path, "PRAGMA user_version = 2")
    async with SqliteJournal(tmp_path) as journal:
        assert len((await journal.load(DOCUMENT)).entries) == 1


async def test_db2_the_database_is_as_durable_as_promised(tmp_path: Path) -> None:
    database = Database(tmp_path)
    database.open()
    pragmas = ("journal_mode", "synchronous", "locking_mode", "application_id", "user_version", "auto_vacuum")
    found = [database.rows(f"PRAGMA {name}")[0][0] for name in pragmas]
    database.close()
    assert found == ["wal", 2, "exclusive", 0x52616666, 2, 2]


# failing disks (J6, J7, SW2, SW3)


async def test_sw2_what_was_called_before_the_failure_was_known_fails_with_it(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteJournal(tmp_path, connect=disk.connect) as journal:
        await journal.append(DOCUMENT, BATCH)
        gate = threading.Event()

        def block(database: Database) -> None:
            gate.wait(10)

        held = asyncio.ensure_future(journal._thread.call(block))  # the thread waits in here, as in a slow fsync
        await asyncio.sleep(0)
        disk.fail(sqlite3.SQLITE_FULL, on=("INSERT INTO entries",), times=1)
        first = journal.append(DOCUMENT, BATCH)
        gate.set()
        while journal.stats.failures == 0 and not first.done():
            second = journal.append(DOCUMENT, BATCH)  # called before the loop knows, whatever the thread does
            await asyncio.sleep(0)
        results = await asyncio.gather(held, first, second, return_exceptions=True)
        failed = [isinstance(result, JournalUnavailableError) for result in results]
        assert failed[1:] in ([True, True], [False, True])
        position = await journal.append(DOCUMENT, BATCH)
        assert (await journal.load(DOCUMENT)).position == position


@pytest.mark.parametrize("on", ["INSERT INTO entries", "COMMIT", "BEGIN"])
async def test_sw3_disk_full_keeps_the_connection_and_recovers(tmp_path: Path, on: str) -> None:
    disk = Disk()
    async with SqliteJournal(tmp_path, connect=disk.connect) as journal:
        typist = Typist(1)
        updates = [typist.type("é"), typist.type("🦊")]
        await journal.append(DOCUMENT, (edit(updates[0]),))
        disk.fail(sqlite3.SQLITE_FULL, on=(on,))
        # A new document in the same transaction: this one needs BEGIN and COMMIT.
        results = await asyncio.gather(
            journal.append(DOCUMENT, (edit(updates[1]),)), journal.append(OTHER, BATCH), return_exceptions=True
        )
        assert [type(result) for result in results] == [JournalUnavailableError] * 2
        assert "no room left" in str(results[0])
        assert await content(journal) == canonical(updates[:1])
        disk.mend()
        await journal.append(DOCUMENT, (edit(updates[1]),))
        assert disk.opened == 1
        assert await content(journal) == canonical(updates)
        assert (await journal.load(OTHER)).position == START


async def test_db3_after_an_io_error_the_wal_is_emptied_before_anything_is_written(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteJournal(tmp_path, connect=disk.connect) as journal:
        await journal.append(DOCUMENT, BATCH)
        disk.fail(FSYNC, on=("INSERT",), times=1)
        with pytest.raises(JournalUnavailableError, match="cannot write"):
            await journal.append(DOCUMENT, BATCH)
        disk.statements.clear()
        assert (await journal.load(DOCUMENT)).position == 1
        await journal.append(DOCUMENT, BATCH)
        assert disk.opened == 2
        written = [sql for sql in disk.statements if sql.startswith(("INSERT", "PRAGMA wal_checkpoint"))]
        assert written[0] == "PRAGMA wal_checkpoint(TRUNCATE)"
        assert written[1].startswith("INSERT INTO entries")
        await journal.append(DOCUMENT, BATCH)
        assert (await journal.load(DOCUMENT)).position == 3


async def test_j7_a_folder_that_cannot_be_reopened_for_a_while(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteJournal(tmp_path, connect=disk.connect) as journal:
        await journal.append(DOCUMENT, BATCH)
        disk.fail(sqlite3.SQLITE_IOERR, on=("INSERT", "PRAGMA", "SELECT"))
        for _ in range(3):
            with pytest.raises(JournalUnavailableError):
                await journal.append(DOCUMENT, BATCH)
            with pytest.raises(JournalUnavailableError):
                await journal.load(DOCUMENT)
            with pytest.raises(JournalUnavailableError):
                await journal.healthy()
        disk.mend()
        await journal.healthy()
        await journal.append(DOCUMENT, BATCH)
        assert len((await journal.load(DOCUMENT)).entries) == 2


async def test_sw4_a_compaction_that_does_not_fit_stops_nobody_and_leaves_nothing(tmp_path: Path) -> None:
    disk = Disk()
    async with SqliteJournal(tmp_path, connect=disk.connect) as journal:
        position = await journal.append(DOCUMENT, BATCH)
        disk.fail(sqlite3.SQLITE_FULL, on=("INSERT INTO snapshots",), times=1)
        with pytest.raises(JournalUnavailableError):
            await journal.compact(DOCUMENT, Snapshot(b"s" * 3_000_000, b"i"), position)
        await journal.healthy()
        position = await journal.append(DOCUMENT, BATCH)
        await journal.compact(DOCUMENT, Snapshot(b"s" * 1_000, b"i"), position)
        assert (await journal.load(DOCUMENT)).snapshot == Snapshot(b"s" * 1_000, b"i")
    assert rows(tmp_path, "SELECT count(*) FROM staging") == [(0,)]
    ((kept,),) = rows(tmp_path, "SELECT sum(length(bytes)) FROM pieces")
    assert isinstance(kept, int)
    assert kept < 2_000


async def test_db4_a_start_finds_what_a_cut_short_write_left(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        position = await journal.append(DOCUMENT, BATCH)
    change(tmp_path, "INSERT INTO staging VALUES (77)")
    change(
        tmp_path, "INSERT INTO pieces SELECT (77 << 20) + value, x'', 0, zeroblob(100) FROM json_each('[0,1,2,3,4,5]')"
    )
    async with SqliteJournal(tmp_path) as journal:
        await journal.compact(DOCUMENT, Snapshot(b"state", b"i"), position)
        await journal.prune()
    assert rows(tmp_path, "SELECT count(*) FROM pieces WHERE id >> 20 = 77") == [(0,)]
    assert rows(tmp_path, "SELECT count(*) FROM staging") == [(0,)]


async def test_db4_nothing_is_left_of_what_was_replaced_and_purged(tmp_path: Path, clock: Clock) -> None:
    async with SqliteJournal(tmp_path, now_ms=clock, elapsed_ms=clock.elapsed_ms, trash_ms=1000) as journal:
        typist = Typist(1)
        for _ in range(5):
            position = await journal.append(DOCUMENT, (edit(typist.type("é" * 100), clock.now_ms),))
            await journal.compact(DOCUMENT, Snapshot(b"s" * 700_000, b"i"), position)
        version = await journal.versions.save(DOCUMENT, b"v" * 600_000, time_ms=1)
        await journal.versions.save(DOCUMENT, b"w" * 600_000, time_ms=2)
        await journal.versions.delete(DOCUMENT, version.id)
        await journal.directory.delete(DOCUMENT)
        clock.advance(SETTLED_MS)
        await journal.prune()
    for table in ("entries", "pieces", "staging", "snapshots", "segments", "versions"):
        assert rows(tmp_path, f"SELECT count(*) FROM {table}") == [(0,)], table
    assert rows(tmp_path, "SELECT name, purged FROM documents") == [(DOCUMENT, 1)]


async def test_db4_the_number_of_a_blob_is_given_once(tmp_path: Path) -> None:
    for number in range(3):
        async with SqliteJournal(tmp_path) as journal:
            position = await journal.append(DOCUMENT, BATCH)
            await journal.compact(DOCUMENT, Snapshot(b"state %d" % number, b""), position)
        async with SqliteJournal(tmp_path) as journal:
            position = await journal.append(OTHER, BATCH)
            await journal.compact(OTHER, Snapshot(b"other %d" % number, b""), position)
        async with SqliteJournal(tmp_path) as journal:
            for document, state in ((DOCUMENT, b"state %d"), (OTHER, b"other %d")):
                assert (await journal.load(document)).snapshot == Snapshot(state % number, b"")


# damaged documents


@pytest.mark.parametrize(
    "damage",
    ["UPDATE entries SET body = x'0900000000'", "UPDATE entries SET body = x'01'", "DELETE FROM pieces"],
)
async def test_a_damaged_document_is_quarantined_and_the_others_are_served(tmp_path: Path, damage: str) -> None:
    async with SqliteJournal(tmp_path) as journal:
        position = await journal.append(DOCUMENT, BATCH)
        await journal.compact(DOCUMENT, Snapshot(b"state", b""), position)
        await journal.append(DOCUMENT, BATCH)
    change(tmp_path, damage)
    async with SqliteJournal(tmp_path) as journal:
        with pytest.raises(QuarantinedError):
            await journal.load(DOCUMENT)
        await journal.append(OTHER, BATCH)
        assert len((await journal.load(OTHER)).entries) == 1
        await journal.healthy()


# rounds


async def test_sw1_a_storm_of_loads_and_a_long_compaction_stop_no_acknowledgement(tmp_path: Path) -> None:
    large = DocumentId("large")
    async with SqliteJournal(tmp_path) as journal:
        position = await journal.append(large, BATCH)
        await journal.compact(large, Snapshot(b"s" * 5_000_000, b""), position)
        position = await journal.append(large, BATCH)
        compaction = asyncio.ensure_future(journal.compact(large, Snapshot(b"t" * 20_000_000, b""), position))
        loads = [asyncio.ensure_future(journal.load(large)) for _ in range(40)]
        await asyncio.sleep(0)
        for _ in range(5):
            await journal.append(DOCUMENT, BATCH)
        assert sum(load.done() for load in loads) < 40
        assert not compaction.done()
        sizes = {len(loaded.snapshot.state) for loaded in await asyncio.gather(*loads) if loaded.snapshot is not None}
        await compaction
        assert sizes <= {5_000_000, 20_000_000}


async def test_sw1_what_waits_goes_in_one_transaction(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        await journal.append(DOCUMENT, BATCH)
        gate = threading.Event()

        def block(database: Database) -> None:
            gate.wait(10)

        held = asyncio.ensure_future(journal._thread.call(block))
        await asyncio.sleep(0.01)
        commits = journal.stats.commits
        names = [DocumentId(f"d{number % 7}") for number in range(500)]
        waiting = [journal.append(name, BATCH) for name in names]
        gate.set()
        await asyncio.gather(held, *waiting)
        assert journal.stats.commits - commits <= 2
        assert [waiting[n].result() for n in range(0, 500, 7)] == list(range(1, 73))


async def test_j3_cancelled_appends_between_others_keep_the_order(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        typist = Typist(1)
        updates = [typist.type("é") for _ in range(100)]
        waiting = [journal.append(DOCUMENT, (edit(update),)) for update in updates]
        for future in waiting[::3]:
            future.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        assert await content(journal) == canonical(updates)


async def test_a_full_queue_refuses_and_says_so(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path, queue_bytes=1000) as journal:
        first = journal.append(DOCUMENT, (edit(b"x" * 5000),))  # a single one may be larger
        second = journal.append(DOCUMENT, BATCH)
        assert second.done()
        with pytest.raises(JournalUnavailableError, match="5000 bytes are queued"):
            await second
        await first
        await journal.append(DOCUMENT, BATCH)


async def test_what_cannot_be_stored_fails_alone(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        good = journal.append(DOCUMENT, BATCH)
        bad = journal.append(DOCUMENT, (edit(b"", author="\ud83d"),))
        after = journal.append(DOCUMENT, BATCH)
        assert await good < await after
        with pytest.raises(InternalError, match="cannot be stored"):
            await bad
        with pytest.raises(InternalError):
            await journal.append(DOCUMENT, (edit(b"", time_ms=2**70),))


async def test_positions_are_remembered_for_many_documents(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        names = [DocumentId(f"d{number}") for number in range(5000)]  # more than are remembered
        await asyncio.gather(*[journal.append(name, BATCH) for name in names])
        assert set(await asyncio.gather(*[journal.append(name, BATCH) for name in names])) == {Position(2)}


async def test_j11_no_retention_keeps_no_history(tmp_path: Path, clock: Clock) -> None:
    async with SqliteJournal(tmp_path, now_ms=clock, elapsed_ms=clock.elapsed_ms, retention_ms=0) as journal:
        for _ in range(3):
            position = await journal.append(DOCUMENT, (edit(b"\x00\x00", clock.now_ms),))
            await journal.compact(DOCUMENT, Snapshot(b"\x00\x00", b""), position)
            clock.advance(50_000)
        assert await journal.history.windows(DOCUMENT) == []
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert info.history_bytes == 0
        assert await journal.history.at(DOCUMENT, clock.now_ms) == [b"\x00\x00"]


async def test_j17_a_cancelled_opening_gives_the_folder_back(tmp_path: Path) -> None:
    opening = asyncio.ensure_future(SqliteJournal(tmp_path).__aenter__())
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening

    async def enter() -> SqliteJournal:
        while True:
            with contextlib.suppress(DataFolderInUseError):
                return await SqliteJournal(tmp_path).__aenter__()

    journal = await asyncio.wait_for(enter(), 10)
    await journal.append(DOCUMENT, BATCH)
    await journal.__aexit__(None, None, None)


def fails(database: Database) -> None:
    """A call that writes, and then fails by our fault."""
    database.execute("UPDATE probe SET count = count + 1000")
    known = database.living(DOCUMENT)
    assert known is not None
    known.deleted = True
    raise RuntimeError("our fault é")


async def test_sw5_an_unexpected_error_fails_its_item_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def job(database: Database) -> Steps[None]:
        yield
        database.execute("UPDATE probe SET count = count + 1000")
        raise LookupError("our fault é")

    async with SqliteJournal(tmp_path) as journal:
        before = journal.append(DOCUMENT, BATCH)
        failing = [
            asyncio.ensure_future(work) for work in (journal._thread.call(fails), journal._thread.job(job, writes=True))
        ]
        failing.append(asyncio.ensure_future(journal._thread.job(reads_nothing, writes=False)))
        await asyncio.sleep(0)
        after = journal.append(DOCUMENT, BATCH)
        for work, says in zip(failing, ("RuntimeError", "LookupError", "AttributeError"), strict=True):
            with pytest.raises(InternalError, match=says):
                await work
        assert await before < await after
        await journal.healthy()
        assert len((await journal.load(DOCUMENT)).entries) == 2
    assert rows(tmp_path, "SELECT count FROM probe")[0][0] < 1000  # what they wrote before they failed is undone
    assert [record.exc_info is not None for record in caplog.records if record.name == "raffia.journal"] == [True] * 3


def reads_nothing(database: Database) -> Steps[None]:
    yield
    database.nothing()  # type: ignore[attr-defined]


async def test_sw5_a_row_that_cannot_be_read_fails_who_asks(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        await journal.append(DOCUMENT, BATCH)
        await journal.versions.save(DOCUMENT, b"\x00\x00", time_ms=BEGIN_MS, authors=["zoë"])
    ((key, blob),) = rows(tmp_path, "SELECT document, blob FROM versions")
    sealed = seal("versions", 1, key, BEGIN_MS, "no JSON", None, blob, 2).hex()
    change(tmp_path, f"UPDATE versions SET authors = 'no JSON', checksum = x'{sealed}'")
    async with SqliteJournal(tmp_path) as journal:
        with pytest.raises(InternalError, match="JSONDecodeError"):
            await journal.versions.all(DOCUMENT)
        await journal.append(DOCUMENT, BATCH)


async def test_a_thread_that_dies_tells_everybody(tmp_path: Path) -> None:
    def die(database: Database) -> None:
        raise SystemExit("é")

    caught: list[object] = []
    hook: Callable[[threading.ExceptHookArgs], object] = threading.excepthook
    threading.excepthook = caught.append
    try:
        async with SqliteJournal(tmp_path) as journal:
            threads = [thread for thread in threading.enumerate() if thread.name == "raffia-journal"]
            waiting = [asyncio.ensure_future(journal._thread.call(die)), asyncio.ensure_future(journal.load(DOCUMENT))]
            for result in await asyncio.gather(*waiting, return_exceptions=True):
                assert isinstance(result, JournalUnavailableError)
            with pytest.raises(JournalUnavailableError):
                await journal.append(DOCUMENT, BATCH)
            with pytest.raises(JournalUnavailableError):
                await journal.healthy()
        for thread in threads:
            thread.join(10)
    finally:
        threading.excepthook = hook
    assert len(caught) == 1


@pytest.fixture
def clock() -> Clock:
    return Clock(BEGIN_MS)


async def test_j1_a_document_that_leaves_the_cache_within_a_round_keeps_its_positions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raffia.journal.sqlite.database._KNOWN", 1)
    async with SqliteJournal(tmp_path) as journal:
        names = [DOCUMENT, OTHER] * 5
        positions = await asyncio.gather(*[journal.append(name, BATCH) for name in names])
        assert positions == [Position(1 + index // 2) for index in range(10)]
