"""A process with the SQLite journal is killed at a random moment: every acknowledged append is there (J2, J8).

More seeds: `RAFFIA_KILL_SEEDS=50 pytest tests/faults/test_kill_journal.py`.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from raffia.journal.sqlite.journal import SqliteJournal
from raffia.types import DocumentId
from tests.faults.journal_writer import DOCUMENTS, token

WRITER = Path(__file__).with_name("journal_writer.py")
SEEDS = int(os.environ.get("RAFFIA_KILL_SEEDS", "3"))
KILLS = 3  # with one folder, one after the other
DEADLINE_S = 60


def run_and_kill(folder: Path, seed: int, acknowledgements: int) -> list[tuple[int, int]]:
    """Start a writer, and kill it after some acknowledgements; returns what it has acknowledged."""
    lines: list[bytes] = []
    with subprocess.Popen([sys.executable, str(WRITER), str(folder), str(seed)], stdout=subprocess.PIPE) as writer:
        deadline = threading.Timer(DEADLINE_S, writer.kill)
        deadline.start()
        assert writer.stdout is not None
        for line in writer.stdout:
            lines.append(line)
            if len(lines) == acknowledgements + 1:
                writer.kill()  # what is still in the pipe was acknowledged before the kill
        deadline.cancel()
    assert len(lines) > acknowledgements, f"only {len(lines)} lines before the deadline"
    whole = [line.decode().split() for line in lines if line.endswith(b"\n")]
    return [(int(words[0]), int(words[1])) for words in whole if len(words) == 2]


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_j2_nothing_acknowledged_is_lost_by_a_kill(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    acknowledged: list[tuple[int, int]] = []
    for _ in range(KILLS):
        acknowledged += run_and_kill(tmp_path, seed, chance.randrange(50, 1500))
        async with SqliteJournal(tmp_path) as journal:
            for document in range(DOCUMENTS):
                loaded = await journal.load(DocumentId(f"d{document}"))
                stored = loaded.snapshot.state if loaded.snapshot is not None else b""
                stored += b"".join(edit.update for entry in loaded.entries for edit in entry.batch)
                missing = [n for d, n in acknowledged if d == document and token(document, n, seed) not in stored]
                assert missing == [], f"document {document}: of {len(acknowledged)} acknowledged"
                # In order, each once or, when the kill came between commit and acknowledgement, not told at all.
                places = [stored.find(token(document, n, seed)) for n in range(loaded.position)]
                assert places == sorted(places)
                for version in await journal.versions.all(DocumentId(f"d{document}")):
                    found = await journal.versions.get(DocumentId(f"d{document}"), version.id)
                    assert len(found.state) == version.size_bytes
    assert len(acknowledged) >= KILLS * 50
