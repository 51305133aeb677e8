"""A damaged database file: what the server does with it, what a rebuild finds (DB5, ROW1-ROW3, WL1, WL2, RBD1-RBD4)."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

import pytest

from raffia.errors import DamagedStoreError, DocumentDeletedError, QuarantinedError
from raffia.journal import Snapshot
from raffia.journal.sqlite.database import DATABASE, MARKER, WAL
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.sqlite.rebuild import QUARANTINE, rebuild
from raffia.journal.sqlite.rows import key_of, seal
from raffia.journal.sqlite.wal import PAGE_BYTES, read_wal
from raffia.journal.testing.contract import BEGIN_MS, DOCUMENT, OTHER, Clock, Typist, canonical, content, edit
from raffia.types import DocumentId, Revocation, Revoked


async def write(folder: Path) -> tuple[bytes, bytes]:
    """Two documents, one of them with a snapshot, history, a version, a link and a title; returns their content."""
    clock = Clock()
    typist = Typist(1)
    updates = [typist.type(f"é{number} 😀 ") for number in range(6)]
    async with SqliteJournal(folder, now_ms=clock) as journal:
        for update in updates:
            position = await journal.append(DOCUMENT, (edit(update, clock.now_ms),))
            clock.advance(20_000)
            if update == updates[3]:
                await journal.compact(DOCUMENT, Snapshot(canonical(updates[:4]), b"index"), position)
        await journal.versions.save(DOCUMENT, b"state", time_ms=1, authors=["é"], name="ü")
        await journal.directory.set_info(DOCUMENT, title="Titel ü", kind="doc")
        await journal.links.add(DOCUMENT, "edit", 5)
        await journal.append(OTHER, (edit(updates[0]),))
        await journal.revocations.add(Revocation(Revoked.USER, "zoë", BEGIN_MS, None))
        return await content(journal), await content(journal, OTHER)


def change(folder: Path, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        for statement in statements:
            assert connection.execute(statement).rowcount != 0, statement


def overwrite(folder: Path, at: int, content: bytes) -> None:
    with (folder / DATABASE).open("r+b") as file:
        file.seek(at)
        file.write(content)


async def everything(folder: Path) -> list[object]:
    async with SqliteJournal(folder, now_ms=Clock(BEGIN_MS + 300_000)) as journal:
        return [
            await content(journal),
            await content(journal, OTHER),
            await journal.history.windows(DOCUMENT),
            [canonical(await journal.history.at(DOCUMENT, BEGIN_MS + at)) for at in (0, 50_000, 200_000)],
            [await journal.versions.get(DOCUMENT, one.id) for one in await journal.versions.all(DOCUMENT)],
            [await journal.directory.info(name) for name in (DOCUMENT, OTHER)],
            (await journal.revocations.read()) is not None and (await journal.revocations.read()).revocations,  # type: ignore[union-attr]
        ]


@pytest.mark.parametrize("place", ["header", "schema", "indexes", "inner"])
async def test_rbd3_nothing_is_lost_with_the_schema_or_an_index(tmp_path: Path, place: str) -> None:
    await write(tmp_path)
    whole = await everything(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        roots = dict(connection.execute("SELECT name, rootpage FROM sqlite_schema WHERE type = 'index'"))
    if place == "header":
        overwrite(tmp_path, 0, b"\xff" * 100)
    elif place == "schema":
        overwrite(tmp_path, 100, b"\xff" * (PAGE_BYTES - 100))
    elif place == "indexes":
        for root in roots.values():
            overwrite(tmp_path, (root - 1) * PAGE_BYTES, b"\x00" * PAGE_BYTES)
    else:  # the cell pointers of every page
        for number in range(2, (tmp_path / DATABASE).stat().st_size // PAGE_BYTES):
            overwrite(tmp_path, number * PAGE_BYTES + 8, b"\xff" * 12)
    if place in ("header", "schema"):
        with pytest.raises(DamagedStoreError, match="run raffia check --repair"):
            await SqliteJournal(tmp_path).__aenter__()
    before = (tmp_path / DATABASE).read_bytes()
    said = rebuild(tmp_path)
    assert "found 2 documents" in said[1], said
    assert await everything(tmp_path) == whole
    assert (tmp_path / QUARANTINE / "database-1" / DATABASE).read_bytes() == before  # RBD1


async def test_rbd2_a_repair_that_was_interrupted_begins_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    await write(tmp_path)
    whole = await everything(tmp_path)
    overwrite(tmp_path, 100, b"\xff" * 500)

    def killed(*_: object) -> None:
        (tmp_path / DATABASE).unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("raffia.journal.sqlite.rebuild._take_over", killed)
        with pytest.raises(KeyboardInterrupt):
            rebuild(tmp_path)
    assert (tmp_path / MARKER).exists()
    with pytest.raises(DamagedStoreError, match="a repair was interrupted"):
        await SqliteJournal(tmp_path).__aenter__()
    rebuild(tmp_path)
    assert not (tmp_path / MARKER).exists()
    assert await everything(tmp_path) == whole


async def test_rbd4_a_lost_row_is_made_again_without_links_and_deleted_stays_deleted(tmp_path: Path) -> None:
    await write(tmp_path)
    async with SqliteJournal(tmp_path) as journal:
        before = await content(journal)
        await journal.directory.delete(OTHER)
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        ((root,),) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'documents'")
    overwrite(tmp_path, (root - 1) * PAGE_BYTES, b"\x00" * PAGE_BYTES)
    said = rebuild(tmp_path)
    assert any("its row is lost and was made again" in line for line in said), said
    async with SqliteJournal(tmp_path) as journal:
        assert await content(journal) == before
        info = await journal.directory.info(DOCUMENT)
        assert info is not None
        assert (info.title, info.links.edit_ms) == (None, None)
        assert info.links.generation > 1_000_000  # no link of before opens anything
        with pytest.raises(DocumentDeletedError):
            await journal.load(OTHER)


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (f"DELETE FROM documents WHERE key = {key_of(DOCUMENT)}", "is lost"),
        ("UPDATE documents SET title = 'x' WHERE title IS NOT NULL", "does not match its checksum"),
        ("UPDATE documents SET last = last - 1 WHERE title IS NOT NULL", "inverted"),
        ("UPDATE documents SET last = last + 1, last_inverted = last_inverted - 1 WHERE title IS NOT NULL", "ends at"),
        ("DELETE FROM entries WHERE position = 6", "ends at"),
        ("DELETE FROM entries WHERE position = 5", "entry 5 of the log is missing"),
        ("UPDATE entries SET time_ms = time_ms + 1 WHERE position = 5", "does not match its checksum"),
        ("UPDATE entries SET body = body || x'00' WHERE position = 5", "does not match its checksum"),
        ("DELETE FROM snapshots", "is missing"),
        ("UPDATE snapshots SET time_ms = 1", "does not match its checksum"),
        ("UPDATE pieces SET document = document + 1, bytes = x'00'", "is damaged"),
    ],
)
async def test_row1_whatever_is_changed_the_document_is_quarantined_and_the_other_is_not(
    tmp_path: Path, statement: str, message: str
) -> None:
    _, other = await write(tmp_path)
    change(tmp_path, statement)
    async with SqliteJournal(tmp_path) as journal:
        with pytest.raises(QuarantinedError, match=message):
            await journal.load(DOCUMENT)
        assert await content(journal, OTHER) == other


async def test_row3_a_row_in_the_wrong_place_is_not_taken_for_another(tmp_path: Path) -> None:
    await write(tmp_path)
    change(
        tmp_path,
        f"UPDATE entries SET document = {key_of(OTHER)}, position = 2"
        f" WHERE document = {key_of(DOCUMENT)} AND position = 6",
        f"UPDATE documents SET last = 2, last_inverted = -3 WHERE key = {key_of(OTHER)}",
    )
    async with SqliteJournal(tmp_path) as journal:
        for name in (DOCUMENT, OTHER):
            with pytest.raises(QuarantinedError):
                await journal.load(name)


async def test_cs2_a_hidden_part_of_the_history_is_noticed_and_a_damaged_row_is_not_listed(tmp_path: Path) -> None:
    await write(tmp_path)
    change(
        tmp_path,
        "DELETE FROM segments WHERE id = 1",
        f"UPDATE documents SET title = 'x' WHERE key = {key_of(OTHER)}",
    )
    async with SqliteJournal(tmp_path) as journal:
        with pytest.raises(QuarantinedError, match="3 of 4 parts of the history can be found"):
            await journal.history.windows(DOCUMENT)
        listing = await journal.directory.documents()
        assert [info.document for info in listing.documents] == [DOCUMENT]


async def test_a_damaged_revocation_is_not_passed_over(tmp_path: Path) -> None:
    await write(tmp_path)
    change(tmp_path, "UPDATE revocations SET before_ms = 1")
    async with SqliteJournal(tmp_path) as journal:
        with pytest.raises(QuarantinedError, match="the revocation of 'user' 'zoë' is damaged"):
            await journal.revocations.read()


# the write-ahead log


async def with_wal(folder: Path) -> Path:
    """A folder as a killed server leaves it: with a WAL of several transactions."""
    async with SqliteJournal(folder / "running") as journal:
        typist = Typist(1)
        for number in range(5):
            await journal.append(DocumentId(f"d{number}"), (edit(typist.type("é")),))
        shutil.copytree(folder / "running", folder / "killed")
    return folder / "killed"


async def test_wl2_a_damaged_wal_is_refused_and_what_follows_the_damage_is_found(tmp_path: Path) -> None:
    killed = await with_wal(tmp_path)
    wal = bytearray((killed / WAL).read_bytes())
    assert not read_wal(bytes(wal)).damaged
    for at in (10, 32 + 24 + 4000):  # its header; the content of its first frame
        damaged = bytearray(wal)
        damaged[at] ^= 1
        found = read_wal(bytes(damaged))
        assert found.damaged
        assert found.lost_commits > 3
        (killed / WAL).write_bytes(damaged)
        with pytest.raises(DamagedStoreError, match=r"transactions in raffia\.sqlite-wal follow a damaged one"):
            await SqliteJournal(killed).__aenter__()
        assert (killed / WAL).read_bytes() == damaged, "nothing was changed"
    (killed / WAL).write_bytes(wal)
    async with SqliteJournal(killed) as journal:
        assert (await journal.directory.documents()).total == 5


async def test_wl2_a_last_transaction_that_was_cut_short_does_not_keep_the_server_from_starting(tmp_path: Path) -> None:
    killed = await with_wal(tmp_path)
    wal = (killed / WAL).read_bytes()
    (killed / WAL).write_bytes(wal[:-2000])
    async with SqliteJournal(killed) as journal:
        assert (await journal.directory.documents()).total == 4


def test_the_seal_of_a_row_depends_on_its_table() -> None:
    assert seal("edits", 1, 2, None) != seal("segments", 1, 2, None)
