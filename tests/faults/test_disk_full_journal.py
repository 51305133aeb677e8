"""The SQLite journal on a disk that is really full: a tmpfs of 1 MB (J6, J7, SW3). Needs root, as CI has."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from raffia.errors import JournalUnavailableError
from raffia.journal import Snapshot
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.testing.contract import DOCUMENT, OTHER, Typist, canonical, content, edit, updates_of

ENOUGH = 2000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 1 MB."""
    if os.geteuid() != 0:
        pytest.fail("mounting a tmpfs needs root: run this test as root (CI does); it is not skipped")
    place = tmp_path / "kleine plätte"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


def fill_up(place: Path) -> None:
    """Leave no page of a small disk free."""
    with (place / "rest").open("wb", buffering=0) as rest, contextlib.suppress(OSError):
        while True:
            rest.write(bytes(4096))


async def fill(journal: SqliteJournal, typist: Typist, text: str = "é🦊" * 500) -> tuple[list[bytes], bytes]:
    """Append until an append is refused; returns what was acknowledged and what was not."""
    acknowledged: list[bytes] = []
    for _ in range(ENOUGH):
        update = typist.type(text)
        try:
            await journal.append(DOCUMENT, (edit(update),))
        except JournalUnavailableError:
            return acknowledged, update
        acknowledged.append(update)
    raise AssertionError("1 MB was never full")


async def test_a_full_disk_stops_acknowledging_and_nothing_else(small_disk: Path) -> None:
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(300_000))
    async with SqliteJournal(small_disk / "data") as journal:
        acknowledged, refused = await fill(journal, Typist(1))
        assert len(acknowledged) > 10
        # Fill the disk completely: where an append finds no room, a health check might.
        fill_up(small_disk)
        for _ in range(3):
            with pytest.raises(JournalUnavailableError, match="no room left"):
                await journal.append(DOCUMENT, (edit(refused),))
            with pytest.raises(JournalUnavailableError):
                await journal.healthy()
            assert updates_of((await journal.load(DOCUMENT)).entries) == acknowledged
            assert (await journal.directory.documents()).total == 1

        (small_disk / "rest").unlink()
        ballast.unlink()  # room is made, without a restart
        await journal.append(DOCUMENT, (edit(refused),))
        await journal.healthy()
        await journal.append(OTHER, (edit(b"\x00\x00"),))
        assert updates_of((await journal.load(DOCUMENT)).entries) == [*acknowledged, refused]
    async with SqliteJournal(small_disk / "data") as journal:
        assert updates_of((await journal.load(DOCUMENT)).entries) == [*acknowledged, refused]


async def test_what_was_acknowledged_is_there_after_a_restart_on_the_full_disk(small_disk: Path) -> None:
    typist = Typist(1)
    async with SqliteJournal(small_disk / "data") as journal:
        acknowledged, refused = await fill(journal, typist)
    async with SqliteJournal(small_disk / "data") as journal:
        found = updates_of((await journal.load(DOCUMENT)).entries)
        assert found[: len(acknowledged)] == acknowledged
        assert found[len(acknowledged) :] in ([], [refused])


async def test_a_compaction_that_does_not_fit_takes_no_room_for_good(small_disk: Path) -> None:
    typist = Typist(1)
    async with SqliteJournal(small_disk / "data") as journal:
        update = typist.type("é" * 1000)
        position = await journal.append(DOCUMENT, (edit(update),))
        for _ in range(5):
            with pytest.raises(JournalUnavailableError):
                await journal.compact(DOCUMENT, Snapshot(b"s" * 2_000_000, b""), position)
            following = typist.type("🦊")
            position = await journal.append(DOCUMENT, (edit(following),))
        state = canonical(updates_of((await journal.load(DOCUMENT)).entries))
        await journal.compact(DOCUMENT, Snapshot(state, b""), position)
        assert await content(journal) == state
