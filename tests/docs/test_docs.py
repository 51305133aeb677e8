"""What the documents say is checked against the code, and what they show is run (tests/docs/test_snippets.py)."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from raffia import errors
from raffia.cli.settings import settings_table
from raffia.errors import RaffiaError
from raffia.runtime.metrics import Metrics
from raffia.settings import Settings, is_secret
from tests.unit.test_layers import ORDER

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
ARCHITECTURE = (ROOT / "docs/architecture.md").read_text()


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, without its head."""
    section = text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]
    rows = [line.strip("|").split("|") for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in row] for row in rows[2:]]


def test_settings_table_is_current() -> None:
    assert (ROOT / "docs/settings.md").read_text() == settings_table() + "\n", "run `make docs`"


def test_folders_table_is_current() -> None:
    assert [name.strip("`") for name, _ in table(ARCHITECTURE, "Folders")] == list(reversed(ORDER))


def test_close_codes_are_current() -> None:
    said = {name.strip("`"): (int(status), int(code)) for name, status, code in table(ARCHITECTURE, "Errors")}
    for name, numbers in said.items():
        error = getattr(errors, name)
        assert (error.http_status, error.close_code) == numbers, name
    direct = {
        error.__name__
        for error in vars(errors).values()
        if isinstance(error, type) and issubclass(error, RaffiaError) and "close_code" in vars(error)
    }
    assert direct - {"RaffiaError"} <= set(said)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_settings_and_flags_that_are_mentioned_exist(path: Path) -> None:
    text = path.read_text()
    known = set(Settings.model_fields)
    variables = {name.lower() for name in re.findall(r"RAFFIA_([A-Z][A-Z0-9_]+)", text)}
    files = {f"{name}_file" for name, field in Settings.model_fields.items() if is_secret(field)}
    assert variables <= known | files, path
    if path.name == "architecture.md":
        mentioned = {cell for row in table(text, "Limits") for cell in re.findall(r"`(\w+)`", row[0])}
        assert mentioned <= known
        limits = {name for name in known if name.startswith(("max_", "preauth_"))}
        assert limits <= mentioned, "a limit without a written answer"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", path.read_text()):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), f"{path.name} links to {target}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_make_targets_that_are_mentioned_exist(path: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`make ([a-z-]+)`", path.read_text())) <= targets


def test_examples_in_the_docs_are_the_files() -> None:
    text = (ROOT / "docs/embedding.md").read_text()
    shown = dict(re.findall(r"<!-- (examples/\S+) -->\n```python\n(.*?)```", text, re.DOTALL))
    assert set(shown) == {f"examples/{path.name}" for path in (ROOT / "examples").glob("*.py")}
    for name, code in shown.items():
        assert code == (ROOT / name).read_text(), f"docs/embedding.md shows another {name}"


def test_every_setting_is_in_the_table() -> None:
    flags = re.findall(r"^\| `--([a-z0-9-]+)`", settings_table(), re.MULTILINE)
    assert [flag.replace("-", "_") for flag in flags] == list(Settings.model_fields)


SOURCE = "\n".join(path.read_text() for path in (ROOT / "backend/raffia").rglob("*.py"))


@pytest.mark.parametrize("name", list(Settings.model_fields))
def test_every_setting_is_read_somewhere(name: str) -> None:
    # `self`: some are read through a property that says what suits the store.
    own = (ROOT / "backend/raffia/settings.py").read_text()
    assert re.search(rf"settings\.{name}\b", SOURCE) or re.search(
        rf"self\.{name}\b is None", own.replace("is not", "is")
    )


@pytest.mark.parametrize("name", [item.name for item in fields(Metrics)])
def test_every_number_is_counted_somewhere(name: str) -> None:
    assert re.search(rf"metrics\.{name}\b", SOURCE)
