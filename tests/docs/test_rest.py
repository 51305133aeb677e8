"""What docs/rest.md shows is run, and what its tables say is compared with the code."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from raffia import errors
from raffia.api.errors import refusals
from raffia.errors import RaffiaError
from raffia.journal.protocol import DAY_MS, TRASH_MS
from raffia.journal.search import EDITED_MS, MAX_LIMIT
from tests.support.server import ROOT, RaffiaServer
from tests.unit.api.test_schema import ROUTES

TEXT = (ROOT / "docs/rest.md").read_text()


def test_the_shell_snippet_runs(tmp_path: Path) -> None:
    (commands,) = re.findall(r"^```sh\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
    with RaffiaServer(tmp_path / "data") as server:
        lines = commands.replace("http://127.0.0.1:8000", server.http).strip().splitlines()
        answers = [
            json.loads(subprocess.run(["sh", "-c", line], capture_output=True, check=True, timeout=30).stdout)
            for line in lines
        ]
    config, made, page = answers
    assert config["auth"] == "open"
    assert (made["title"], made["kind"]) == ("Notes é", "document")
    assert page["documents"] == [made]


def test_every_route_is_described() -> None:
    for method, path in ROUTES:
        said = path.replace("{document}", "{id}").replace("{file}", "{name}")
        assert re.search(rf"^\| `{method} {re.escape(said)}[`?]", TEXT, re.MULTILINE) or f"`{method} {said}`" in TEXT, (
            said
        )


def test_reasons_and_statuses_are_those_of_the_code() -> None:
    tree = [one for one in vars(errors).values() if isinstance(one, type) and issubclass(one, RaffiaError)]
    known = {(one.http_status, one.reason) for one in tree}
    for line in re.findall(r"^\| (\d{3}) \| (.*) \|$", TEXT, re.MULTILINE):
        for reason in re.findall(r"`([a-z-]+)`", line[1]):
            assert (int(line[0]), reason) in known, (line[0], reason)
    for status in refusals(413, 415):
        assert f"| {status} |" in TEXT


def test_numbers_are_those_of_the_code() -> None:
    assert f"for {TRASH_MS // DAY_MS} days" in TEXT
    assert "first 2,000 documents" in TEXT
    assert MAX_LIMIT == 2000
    assert EDITED_MS == 5000


@pytest.mark.parametrize("word", ["team%2Fplan", "/openapi.json"])
def test_what_matters_is_said(word: str) -> None:
    assert word in TEXT
