"""`raffia check`: damaged documents are found, kept aside and mended (CK1-CK5, RPR1-RPR4)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.world import Author
from typer.testing import CliRunner

from raffia.cli.check import check_journal, examine
from raffia.cli.main import app
from raffia.cli.quarantine import QUARANTINE, set_aside
from raffia.cli.repair import repair
from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.view import read_text
from raffia.errors import QuarantinedError, UpdateError
from raffia.journal import Loaded, Snapshot
from raffia.journal.entries import encode_batch, salvage_batch
from raffia.journal.sqlite.database import DATABASE
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.sqlite.rows import SEALED, seal
from raffia.journal.stored import Stored
from raffia.journal.testing.contract import BEGIN_MS, Clock
from raffia.rooms.durable.loading import build_document
from raffia.types import START, DocumentId, Edit, Position

DOCUMENT = DocumentId("team:e/notes")
OTHER = DocumentId("team:e/other")
FIRST, SECOND, THIRD = "Über alles 😀. ", "Zweiter Satz é. ", "Dritter."


def folded(updates: list[bytes]) -> Snapshot:
    """The snapshot that a room makes of these updates."""
    document = Document.from_state(merge(updates))
    job = document.fold()
    document.folded(job, job.run())
    return Snapshot(document.base, document.index(document.base))


async def write(folder: Path, *, retention_ms: int | None = None) -> None:
    """Two documents: one with a snapshot of two edits by two people and a log of one more, one with a log alone."""
    options = {} if retention_ms is None else {"retention_ms": retention_ms}
    async with SqliteJournal(folder, now_ms=Clock(), **options) as journal:
        author = Author(7)
        updates = [author.type(FIRST), author.type(SECOND), author.type(THIRD)]
        await journal.append(DOCUMENT, (Edit("zoë", BEGIN_MS, updates[0]),))
        position = await journal.append(DOCUMENT, (Edit("bo 🦊", BEGIN_MS + 20_000, updates[1]),))
        await journal.compact(DOCUMENT, folded(updates[:2]), position)
        await journal.append(DOCUMENT, (Edit("zoë", BEGIN_MS + 40_000, updates[2]),))
        await journal.append(OTHER, (Edit(None, BEGIN_MS, Author(8).type("é 😀")),))


def change(folder: Path, sql: str, change_bytes: Callable[[bytes], bytes] | None = None) -> None:
    """Change a closed journal's file; `damage(x)` in the statement is `change_bytes`."""
    with contextlib.closing(sqlite3.connect(folder / DATABASE)) as connection, connection:
        if change_bytes is not None:
            connection.create_function("damage", 1, change_bytes)
        assert connection.execute(sql).rowcount > 0
        # The row of the document is whole; something else is damaged.
        for (key,) in connection.execute("SELECT key FROM documents").fetchall():
            (row,) = connection.execute(f"SELECT {SEALED['documents']} FROM documents WHERE key = ?", (key,))
            connection.execute("UPDATE documents SET checksum = ? WHERE key = ?", (seal("documents", *row), key))


KEY = f"(SELECT key FROM documents WHERE name = '{DOCUMENT}')"
STATE = f"UPDATE pieces SET bytes = damage(bytes) WHERE id >> 20 = (SELECT state FROM snapshots WHERE document = {KEY})"
INDEX = f"UPDATE pieces SET bytes = damage(bytes) WHERE id >> 20 = (SELECT aside FROM snapshots WHERE document = {KEY})"
ENTRY = f"UPDATE entries SET body = damage(body) WHERE document = {KEY}"
NO_HISTORY = f"UPDATE documents SET complete_from = folded WHERE key = {KEY}"
SEGMENT = "UPDATE pieces SET bytes = damage(bytes) WHERE id >> 20 = (SELECT min(blob) FROM segments)"
NO_SEGMENTS = f"DELETE FROM segments WHERE document = {KEY}"


def flip(at: int, mask: int = 0x01) -> Callable[[bytes], bytes]:
    return lambda body: body[:at] + bytes([body[at] ^ mask]) + body[at:][1:]


def cut(body: bytes) -> bytes:
    return body[:-3]


async def run(folder: Path, *, repair: bool = False) -> tuple[bool, list[str]]:
    said: list[str] = []
    async with SqliteJournal(folder) as journal:
        findings = await check_journal(journal, keep_deleted=False, repair=repair, report=said.append)
    return findings.is_well, said


async def text(folder: Path, document: DocumentId = DOCUMENT) -> str:
    async with SqliteJournal(folder) as journal:
        return read_text(build_document(await journal.load(document), keep_deleted=False).merged(), "t")


async def test_ck1_a_folder_in_which_all_is_well(tmp_path: Path) -> None:
    await write(tmp_path)
    assert await run(tmp_path) == (True, ["2 documents checked: all can be read"])
    assert await run(tmp_path, repair=True) == (True, ["2 documents checked: all can be read"])
    assert not (tmp_path / QUARANTINE).exists()


async def test_ck1_every_document_is_read(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path) as journal:
        for number in range(7):
            await journal.append(DocumentId(f"d{number}"), (Edit(None, BEGIN_MS, Author(8).type("é")),))
    assert await run(tmp_path) == (True, ["7 documents checked: all can be read"])


@pytest.mark.parametrize("what", ["clocks", "deletes"])
def test_ck1_an_index_that_says_something_else_than_its_state(what: str) -> None:
    author = Author(7)
    updates = [author.type("ab é😀"), author.delete(0, 1)]
    state = folded(updates)
    wrong = Document.from_state(state.state)
    if what == "clocks":
        wrong.clocks[7] += 1
        wrong.version += 1
    else:
        wrong.deletes.add(7, 2, 3)
    loaded = Loaded(Snapshot(state.state, wrong.index(state.state)), [], Position(2))
    build_document(loaded, keep_deleted=False)  # the hub does not see it
    with pytest.raises(UpdateError, match=r"index says"):
        examine(loaded, keep_deleted=False)
    assert examine(Loaded(state, [], Position(2)), keep_deleted=False).clocks == {7: 6}


@pytest.mark.parametrize(
    ("sql", "damage"),
    [
        (STATE, flip(30)),
        (STATE, cut),
        (STATE, lambda _: b""),
        (INDEX, flip(0)),
        (INDEX, flip(2)),
        (INDEX, cut),
        (INDEX, flip(-1, 0xFF)),
        (STATE.replace("UPDATE pieces SET bytes = damage(bytes)", "DELETE FROM pieces"), None),
        (f"DELETE FROM snapshots WHERE document = {KEY}", None),
    ],
    ids=[
        "state flipped",
        "state cut",
        "state emptied",
        "index version",
        "checksum",
        "index cut",
        "index end",
        "state gone",
        "row gone",
    ],
)
async def test_rpr2_a_damaged_snapshot_comes_back_whole_from_the_history(
    tmp_path: Path, sql: str, damage: Callable[[bytes], bytes] | None
) -> None:
    await write(tmp_path)
    change(tmp_path, sql, damage)
    well, said = await run(tmp_path)
    assert not well
    assert [line.split(": ")[0] for line in said] == [DOCUMENT, "2 documents checked"]  # CK2
    assert "position 3)" in said[0]
    well, said = await run(tmp_path, repair=True)
    assert well, said
    assert said[-1] == "2 documents checked: 1 damaged, 1 of them repaired"
    assert await run(tmp_path) == (True, ["2 documents checked: all can be read"])
    assert await text(tmp_path) == FIRST + SECOND + THIRD
    assert await text(tmp_path, OTHER) == "é 😀"


async def test_rpr1_an_edit_that_cannot_be_read_is_left_out_and_named(tmp_path: Path) -> None:
    await write(tmp_path)
    change(tmp_path, ENTRY, cut)
    well, said = await run(tmp_path, repair=True)
    assert well, said
    assert any(line.startswith("  left out: entry 3: 39 bytes do not match their checksum") for line in said), said
    assert await text(tmp_path) == FIRST + SECOND


async def test_rpr1_what_refers_to_a_lost_edit_is_left_out_too_and_the_rest_is_kept(tmp_path: Path) -> None:
    one, other = Author(7), Author(8)
    async with SqliteJournal(tmp_path) as journal:
        batch = [Edit("zoë", BEGIN_MS, one.type(word)) for word in ("eins ", "zwei ", "drei")]
        await journal.append(DOCUMENT, (batch[0], Edit(None, BEGIN_MS, b"\xff\x01"), batch[2]))
        await journal.append(DOCUMENT, (Edit("bo 🦊", BEGIN_MS, other.type("é 😀")),))
    well, said = await run(tmp_path, repair=True)
    assert well, said
    left_out = [line for line in said if line.startswith("  left out")]
    assert [line.split(" in entry")[0] for line in left_out] == [
        "  left out: edit of an anonymous author at 2025-10-09T08:53:20Z",
        "  left out: edit of 'zoë' at 2025-10-09T08:53:20Z",
    ]
    assert "depends on missing content" in left_out[1]
    kept = await text(tmp_path)
    assert "eins " in kept
    assert "é 😀" in kept
    assert "drei" not in kept


@pytest.mark.parametrize("sql", [STATE, ENTRY, SEGMENT], ids=["snapshot", "entry", "history"])
async def test_ck5_one_changed_bit_is_corrected_and_nothing_is_lost(tmp_path: Path, sql: str) -> None:
    await write(tmp_path)
    async with SqliteJournal(tmp_path) as journal:
        before = await journal.history.windows(DOCUMENT)
    change(tmp_path, sql, flip(25))
    well, said = await run(tmp_path)
    assert not well
    well, said = await run(tmp_path, repair=True)
    assert well, said
    assert any(line.startswith("  corrected: one bit of ") for line in said), said
    assert not any("left out" in line for line in said)
    assert await text(tmp_path) == FIRST + SECOND + THIRD
    async with SqliteJournal(tmp_path) as journal:
        assert await journal.history.windows(DOCUMENT) == before


async def test_rpr3_a_snapshot_that_reads_but_was_changed_is_left_out(tmp_path: Path) -> None:
    await write(tmp_path)
    first = f"id = (SELECT min(id) FROM segments WHERE document = {KEY})"
    change(tmp_path, f"DELETE FROM segments WHERE {first}")
    change(tmp_path, STATE, lambda state: state.replace(b"alles", b"allez"))
    well, said = await run(tmp_path, repair=True)
    assert not well, said
    assert any("snapshot of 45 bytes up to position 2 is damaged" in line for line in said), said
    with pytest.raises(QuarantinedError, match="blob 1 is damaged"):
        await text(tmp_path)


async def test_ck5_a_version_that_cannot_be_read_is_dropped_and_named(tmp_path: Path) -> None:
    await write(tmp_path)
    async with SqliteJournal(tmp_path) as journal:
        for state in (b"one", b"two"):
            await journal.versions.save(DOCUMENT, state, time_ms=BEGIN_MS)
    change(tmp_path, "UPDATE pieces SET bytes = x'fffefd' WHERE id >> 20 = (SELECT blob FROM versions WHERE id = 1)")
    async with SqliteJournal(tmp_path) as journal:
        with pytest.raises(QuarantinedError, match="is damaged"):
            await journal.versions.get(DOCUMENT, 1)
    well, said = await run(tmp_path)
    assert not well
    assert said[0].startswith(f"{DOCUMENT}: version 1 is damaged: 3 bytes: ")
    well, said = await run(tmp_path, repair=True)
    assert well, said
    async with SqliteJournal(tmp_path) as journal:
        assert [version.id for version in await journal.versions.all(DOCUMENT)] == [2]
        assert (await journal.versions.get(DOCUMENT, 2)).state == b"two"
        assert len(await journal.history.windows(DOCUMENT)) == 3


async def test_rpr2_history_with_a_hole_does_not_matter_to_a_snapshot_whose_index_is_damaged(tmp_path: Path) -> None:
    await write(tmp_path)
    first = f"id = (SELECT min(id) FROM segments WHERE document = {KEY})"
    change(tmp_path, f"DELETE FROM segments WHERE {first}")
    change(tmp_path, INDEX, flip(2))
    well, said = await run(tmp_path, repair=True)
    assert well, said
    assert await text(tmp_path) == FIRST + SECOND + THIRD


async def test_ck4_a_document_of_which_nothing_can_be_read_stays_as_it_is(tmp_path: Path) -> None:
    await write(tmp_path)
    change(tmp_path, NO_HISTORY)
    change(tmp_path, NO_SEGMENTS)
    change(tmp_path, STATE, cut)
    async with SqliteJournal(tmp_path) as journal:
        before = await journal.stored(DOCUMENT)
    well, said = await run(tmp_path, repair=True)
    assert not well
    assert "  not repaired: nothing of it can be read; restore a backup, or delete it" in said
    assert said[-1] == "2 documents checked: 1 damaged, 0 of them repaired"
    async with SqliteJournal(tmp_path) as journal:
        assert await journal.stored(DOCUMENT) == before


async def test_ck3_all_that_was_stored_is_kept_aside_each_time(tmp_path: Path) -> None:
    await write(tmp_path)
    change(tmp_path, STATE, flip(30))
    async with SqliteJournal(tmp_path) as journal:
        stored = await journal.stored(DOCUMENT)
    await run(tmp_path, repair=True)
    (folder,) = (tmp_path / QUARANTINE).iterdir()
    assert folder.name.startswith("team%3Ae%2Fnotes-")
    about = json.loads((folder / "stored.json").read_text())
    assert about["document"] == DOCUMENT
    assert [entry["position"] for entry in about["entries"]] == [3]
    assert {segment["author"] for segment in about["segments"]} == {"zoë", "bo 🦊"}
    assert (folder / "snapshot-2.state").read_bytes() == stored.snapshots[0].state
    assert (folder / "snapshot-2.index").read_bytes() == stored.snapshots[0].index
    assert (folder / "entries").read_bytes() == stored.entries[0].body
    assert (folder / "segments").read_bytes() == b"".join(segment.body for segment in stored.segments)
    again = set_aside(stored, tmp_path)
    assert again != folder
    assert (again / "snapshot-2.state").read_bytes() == stored.snapshots[0].state


def test_ck3_no_name_leads_out_of_the_folder_or_into_anothers(tmp_path: Path) -> None:
    names = ["a/../b", "x" * 256, "x" * 255 + "y", "Notes", "notes", "a/b", "a%2Fb"]
    folders = [set_aside(Stored(DocumentId(name), Position(1), START, START, [], [], []), tmp_path) for name in names]
    assert {folder.parent for folder in folders} == {tmp_path / QUARANTINE}
    assert len({folder.name.casefold() for folder in folders}) == len(names)


async def test_ck5_after_a_repair_the_document_lives_on(tmp_path: Path) -> None:
    await write(tmp_path)
    change(tmp_path, INDEX, cut)
    async with SqliteJournal(tmp_path) as journal:
        version = await journal.versions.save(DOCUMENT, b"state \xff", time_ms=BEGIN_MS)
    await run(tmp_path, repair=True)
    async with SqliteJournal(tmp_path) as journal:
        assert (await journal.versions.get(DOCUMENT, version.id)).state == b"state \xff"
        assert await journal.history.windows(DOCUMENT) == []
        loaded = await journal.load(DOCUMENT)
        assert (loaded.entries, loaded.position) == ([], 4)
        document = build_document(loaded, keep_deleted=False)
        author = Author(9)
        author.doc.apply_update(document.merged())
        update = author.type(" Weiter é 😀")
        assert await journal.append(DOCUMENT, (Edit("zoë", BEGIN_MS + 60_000, update),)) == 5
        await journal.compact(DOCUMENT, folded([document.merged(), update]), Position(5))
        assert len(await journal.history.at(DOCUMENT, BEGIN_MS + 60_000)) >= 1
    assert await text(tmp_path) == FIRST + SECOND + THIRD + " Weiter é 😀"
    with contextlib.closing(sqlite3.connect(tmp_path / DATABASE)) as connection:
        named = "SELECT state FROM snapshots UNION SELECT aside FROM snapshots UNION SELECT blob FROM segments"
        named += " UNION SELECT blob FROM versions"
        sql = f"SELECT count(*) FROM pieces WHERE id >> 20 NOT IN ({named})"
        assert connection.execute(sql).fetchone() == (0,), "blobs that nobody names"


def test_en2_of_a_damaged_batch_the_whole_edits_before_the_damage_are_read() -> None:
    batch = tuple(Edit(author, 1, b"\x00\x00" * size) for author, size in (("é", 1), (None, 3), ("", 2)))
    body = encode_batch(batch)
    assert salvage_batch(body) == list(batch)
    assert salvage_batch(body[:-1]) == list(batch[:2])
    assert salvage_batch(b"\x02" + body[1:]) == []
    for at in range(len(body)):
        for mask in (0x01, 0x80, 0xFF):
            salvage_batch(flip(at, mask)(body))  # never raises, never goes on for ever
        assert salvage_batch(body[:at]) == list(batch[: len(salvage_batch(body[:at]))])


def _damaged(chance: random.Random, body: bytes) -> bytes:
    """Flipped, overwritten, cut short, or with bytes put in or taken out; or as it was."""
    if not body or chance.random() < 0.4:
        return body
    at = chance.randrange(len(body))
    some = chance.randbytes(chance.randrange(1, 9))
    return chance.choice(
        [flip(at, 1 << chance.randrange(8))(body), body[:at], body[:at] + some + body[at:], body[:at] + body[at:][9:]]
    )


async def test_rpr1_whatever_is_damaged_what_is_kept_can_be_read(tmp_path: Path) -> None:
    await write(tmp_path)
    async with SqliteJournal(tmp_path) as journal:
        stored = await journal.stored(DOCUMENT)
    kept = 0
    for seed in range(2000):
        chance = random.Random(seed)
        damaged = replace(
            stored,
            complete_from=chance.choice([START, stored.folded]),
            snapshots=[
                replace(one, state=_damaged(chance, one.state), index=_damaged(chance, one.index))
                for one in stored.snapshots
            ],
            segments=[replace(one, body=_damaged(chance, one.body)) for one in stored.segments],
            entries=[replace(one, body=_damaged(chance, one.body)) for one in stored.entries],
        )
        rescued = repair(damaged, keep_deleted=False)
        if not rescued.is_empty:
            kept += 1
            examine(Loaded(rescued.snapshot(), [], stored.position), keep_deleted=False)
        if damaged.snapshots == stored.snapshots and damaged.entries == stored.entries:
            assert rescued.document.clocks == {7: 39}, seed
            assert not rescued.lost, seed
    assert 1000 < kept < 2000


# the command


def raffia_check(*flags: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["check", *flags])
    return result.exit_code, result.stdout, result.stderr


def test_the_command_says_it_with_its_exit_status(tmp_path: Path) -> None:
    asyncio.run(write(tmp_path))
    assert raffia_check("--data", str(tmp_path)) == (0, "2 documents checked: all can be read\n", "")
    change(tmp_path, STATE, flip(30))
    status, said, _ = raffia_check("--data", str(tmp_path))
    assert (status, said.startswith(f"{DOCUMENT}: ")) == (1, True)
    status, said, _ = raffia_check("--data", str(tmp_path), "--repair")
    assert (status, "1 of them repaired" in said) == (0, True)
    assert raffia_check("--data", str(tmp_path))[0] == 0


def test_a_folder_that_is_not_there_is_said_and_not_made(tmp_path: Path) -> None:
    status, said, error = raffia_check("--data", str(tmp_path / "nothing"))
    assert (status, said) == (2, "")
    assert "there is no raffia.sqlite in" in error
    assert not (tmp_path / "nothing").exists()
