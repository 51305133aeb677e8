"""Damaged bytes in a real data folder: the server quarantines one document, `raffia check` mends it (HU3, CK1-CK5)."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.support.client import YClient, fresh_reader
from tests.support.lib0 import insert
from tests.support.server import RaffiaServer

DAMAGED, WELL = "team/notes", "team/other"
FOLD = {"RAFFIA_COMPACT_TAIL_UPDATES": "5"}
WORD = "über 😀 "
WORDS = 40

KEY = f"(SELECT key FROM documents WHERE name = '{DAMAGED}')"
PIECES = "UPDATE pieces SET bytes = damage(bytes) WHERE id >> 20 = (SELECT {} FROM documents, snapshots"
PIECES += f" WHERE key = {KEY} AND document = key AND upto = folded)"
STATE, INDEX = PIECES.format("state"), PIECES.format("aside")
ENTRY = f"UPDATE entries SET body = damage(body) WHERE document = {KEY} AND position = 20"


def check(data: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("raffia")), "check", "--data", str(data), *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=data.parent)


def damage(data: Path, sql: str, change: Callable[[bytes], bytes]) -> None:
    with contextlib.closing(sqlite3.connect(data / "raffia.sqlite")) as connection, connection:
        connection.create_function("damage", 1, change)
        assert connection.execute(sql).rowcount > 0


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda body: body[:at] + bytes([body[at] ^ 0x01]) + body[at:][1:]


async def write(server: RaffiaServer) -> None:
    """A document with a snapshot and a log behind it, and another one."""
    async with YClient() as writer:
        await writer.join(server.ws, DAMAGED)
        for number in range(WORDS):
            writer.update(insert(100 + number, 0, f"{WORD}{number:02} "))
            await writer.until_stored()
    async with YClient() as writer:
        await writer.join(server.ws, WELL)
        writer.update(insert(7, 0, "é"))
        await writer.until_stored()


async def words(server: RaffiaServer) -> set[int]:
    async with await fresh_reader(server.ws, DAMAGED) as reader:
        return {number for number in range(WORDS) if reader.holds(f"{WORD}{number:02} ".encode())}


async def test_a_folder_is_checked_when_no_server_uses_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with RaffiaServer(data, env=FOLD) as server:
        await write(server)
        running = check(data)
        assert running.returncode == 2
        assert "in use by another process" in running.stderr
        assert "stop it first" in running.stderr
    assert check(data).stdout == "2 documents checked: all can be read\n"


@pytest.mark.parametrize(
    ("sql", "change"),
    [(STATE, flipped(40)), (INDEX, flipped(20)), (ENTRY, flipped(-1))],
    ids=["snapshot state", "snapshot index", "entry"],
)
async def test_a_damaged_document_is_quarantined_checked_and_repaired(
    tmp_path: Path, sql: str, change: Callable[[bytes], bytes]
) -> None:
    data = tmp_path / "data"
    # The last case keeps a log alone, so that there is an entry to damage.
    server = RaffiaServer(data, env={} if sql == ENTRY else FOLD)
    with server:
        await write(server)

    damage(data, sql, change)
    with server:
        async with YClient() as client:
            await client.open(f"{server.ws}/{DAMAGED}")
            client.step1()
            assert await client.until_closed() == (1011, "quarantined")
        async with await fresh_reader(server.ws, WELL) as reader:
            assert reader.holds("é".encode())

    found = check(data)
    assert found.returncode == 1, found.stderr
    assert found.stdout.startswith(f"{DAMAGED}: ")
    assert WELL not in found.stdout
    mended = check(data, "--repair")
    assert mended.returncode == 0, mended.stdout + mended.stderr
    assert "1 damaged, 1 of them repaired" in mended.stdout
    assert len(list((data / "quarantine").iterdir())) == 1
    assert check(data).returncode == 0

    with server:
        assert await words(server) == set(range(WORDS)) - ({19} if sql == ENTRY else set())
        async with YClient() as writer:
            await writer.join(server.ws, DAMAGED)
            writer.update(insert(9, 0, "weiter é 😀"))
            await writer.until_stored()
        async with await fresh_reader(server.ws, DAMAGED) as reader:
            assert reader.holds("weiter é 😀".encode())
