"""The test of docs/embedding.md, "Write your own journal", runs as it stands there, and the table is complete."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from raffia.journal import Journal
from raffia.journal.testing.contract import DirectoryContract, LogContract
from tests.support.server import ROOT

TEXT = (ROOT / "docs/embedding.md").read_text().split("## Write your own journal")[1]
MINE = "from tests.support.small_journal import SmallJournal as MyJournal\n"


def run(folder: Path, mine: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the snippet with pytest, as somebody would who has Raffia installed and configured nothing."""
    ((name, code),) = re.findall(r"<!-- (\S+\.py) -->\n```python\n(.*?)```", TEXT, re.DOTALL)
    (folder / name).write_text(code)
    (folder / "my_journal.py").write_text(mine)
    (folder / "pytest.ini").write_text("[pytest]\n")
    path = os.pathsep.join([str(ROOT / "backend"), str(ROOT), str(folder)])
    return subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "--color=no",
            "--tb=no",
            "-rf",
            "-p",
            "no:cacheprovider",
            *options,
            name,
        ],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": path, "PYTEST_ADDOPTS": ""},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_snippet_runs_the_contract(tmp_path: Path) -> None:
    done = run(tmp_path, MINE)
    assert done.returncode == 0, done.stdout + done.stderr
    names = [
        name for contract in (LogContract, DirectoryContract) for name in dir(contract) if name.startswith("test_")
    ]
    passed = re.search(r"^(\d+) passed", done.stdout, re.MULTILINE)
    assert passed is not None, done.stdout
    assert int(passed[1]) >= len(set(names)) > 30


def test_the_snippet_finds_a_journal_that_loses_something(tmp_path: Path) -> None:
    forgetful = MINE + (
        "from raffia.journal import Loaded\n"
        "class MyJournal(MyJournal):\n"
        "    async def load(self, document):\n"
        "        loaded = await super().load(document)\n"
        "        return Loaded(loaded.snapshot, loaded.entries[:3], loaded.position)\n"
    )
    done = run(tmp_path, forgetful, "-k", "j1")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "test_j1_positions_of_a_document_grow_in_the_order_of_the_calls" in done.stdout


def test_the_table_names_everything_that_a_journal_has() -> None:
    rows = re.findall(r"^\| (`.*?) \|.*\| (.*?) \|$", TEXT, re.MULTILINE)
    named = {name: default for names, default in rows for name in re.findall(r"`(\w+)`", names)}
    public = {name for name in {*dir(Journal), *Journal.__annotations__} if not name.startswith("_")}
    assert named.keys() == public, named.keys() ^ public
    abstract = {name for name in Journal.__abstractmethods__ if not name.startswith("_")} | {"stats", "directory"}
    assert {name for name, default in named.items() if default == "required"} == abstract


@pytest.mark.parametrize("name", re.findall(r"`(raffia/[a-z/_]+)`", TEXT))
def test_the_folders_that_it_names_are_there(name: str) -> None:
    assert (ROOT / "backend" / name).exists()
