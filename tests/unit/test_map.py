"""`make map` (tools/map.py): what it prints of a small checkout."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tools import map as module
from tools.map import circles, exceptions, oversized, report

CHECKOUT = {
    "backend/loom/__init__.py": '"""The face."""\nfrom loom.app import x\n',
    "backend/loom/app.py": '"""The app é😀.\n\nMore.\n"""\nfrom loom.rooms.room import Room\n',
    "backend/loom/rooms/__init__.py": '"""Live documents."""\n',
    "backend/loom/rooms/room.py": "import typing\nif typing.TYPE_CHECKING:\n    from loom.wire import frames\n",
    "backend/loom/wire/__init__.py": "",
    "backend/loom/wire/frames.py": "def late():\n    from loom.rooms.room import Room\n    import json\n",
    "backend/loom/wire/node_modules/other.py": "import loom.app\n",
    "frontend/src/a.ts": "one\ntwo\n",
    "tests/test_long.py": "class T:\n    def long(self):\n" + "        pass\n" * 60 + "\n" * 388,
    "tests/test_short.py": "def short():\n" + "    pass\n" * 59,
    "tools/sizes.toml": '"tests/test_long.py" = "a reason"\n',
}


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name, text in CHECKOUT.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_the_map_of_a_small_checkout(checkout: Path) -> None:
    assert "\n".join(report(checkout)).splitlines() == [
        "loom: 3 entries at the root",
        "  app.py        The app é😀.",
        "  rooms         Live documents.",
        "  wire          (no docstring)",
        "",
        "folder: files -> imports",
        "  __init__.py           1",
        "  app.py                1  -> rooms 1",
        "  rooms                 2  -> wire 1",
        "  wire                  2  -> rooms 1",
        "",
        "circles, annotations counted",
        "  folders: 1",
        "    rooms <-> wire",
        "  modules: 1",
        "    loom.rooms.room <-> loom.wire.frames",
        "",
        "lines",
        "  backend            14",
        "  frontend/src        2",
        "  tests             510",
        "  tools               0",
        "  infra               0",
        "",
        "files over 450 lines: none",
        "",
        "functions over 60 lines: 1",
        "    61  tests/test_long.py:T.long: no reason given",
    ]


def test_sizes_and_exceptions(checkout: Path) -> None:
    assert oversized(checkout) == {"tests/test_long.py:T.long": 61}
    with (checkout / "tests/test_long.py").open("a") as file:
        file.write("\n")
    assert oversized(checkout) == {"tests/test_long.py": 451, "tests/test_long.py:T.long": 61}
    assert exceptions(checkout) == {"tests/test_long.py": "a reason"}
    assert exceptions(checkout / "backend") == {}


def test_circles() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b", "d"}, "d": set(), "e": {"f"}, "f": {"g"}, "g": {"e"}, "h": {"h"}}
    assert circles(graph) == [["b", "c"], ["e", "f", "g"]]


def test_it_runs_on_another_checkout_without_any_package(checkout: Path) -> None:
    command = [sys.executable, "-I", "-S", module.__file__, str(checkout)]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.decode().startswith("loom: 3 entries at the root\n")
