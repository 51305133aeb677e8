"""What people get who install Raffia without its source tree and without Node."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest
from tests.support.server import ROOT
from tests.support.wheel import build

SOURCES = [path for path in (ROOT / "backend/raffia").rglob("*") if path.is_file() and "__pycache__" not in path.parts]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("dist"))


@pytest.mark.slow
def test_the_wheel_holds_the_whole_package(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        metadata = archive.read(next(name for name in names if name.endswith("METADATA"))).decode()
        commands = archive.read(next(name for name in names if name.endswith("entry_points.txt"))).decode()
    missing = {path.relative_to(ROOT / "backend").as_posix() for path in SOURCES} - names
    assert not missing
    for built_file in ("index.html", "icon.svg", "licenses.txt"):
        assert f"raffia/static/app/{built_file}" in names
    assert not [
        name for name in names if name.startswith("raffia/static/") and not name.startswith("raffia/static/app/")
    ]
    assert "raffia/py.typed" in names
    assert "License-Expression: MIT" in metadata
    assert "raffia = raffia.cli.main:main" in commands
    assert not [name for name in names if name.startswith("tests")]


@pytest.mark.slow
def test_the_source_archive_builds_the_same(built: Path) -> None:
    (archive_path,) = built.glob("*.tar.gz")
    with tarfile.open(archive_path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    app = "backend/raffia/static/app/index.html"
    for name in ("pyproject.toml", "README.md", "LICENSE", app, "docs/architecture.md"):
        assert name in names
    assert not [name for name in names if "node_modules" in name or name.startswith(("raffia-data", ".venv"))]
