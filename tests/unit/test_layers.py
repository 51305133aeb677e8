"""Imports go down only, and what is pure stays pure (docs/architecture.md, "Folders")."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import raffia

PACKAGE = Path(raffia.__file__).parent

# From the ground up: each entry of the package imports from those before it, and from itself.
ORDER = (
    "errors",
    "types",
    "settings",
    "runtime",
    "crdt",
    "wire",
    "seeds",
    "files",
    "journal",
    "auth",
    "rooms",
    "documents",
    "sockets",
    "embed",
    "api",
    "app",
    "cli",
    "__main__",
)
# The same inside `rooms/`, by file or folder: values, then what all parts share, then the parts, then rooms.
ROOMS = (
    "rate_limits",
    "backoff",
    "quarantine",
    "document_memory",
    "turns",
    "session",
    "services",
    "clients",
    "fanout",
    "context",
    "metadata",
    "presence",
    "durable",
    "outbound",
    "inbound",
    "room",
    "pruning",
    "hub",
    "editing",
)
# A module with this line does no I/O and reads no clock, and imports nothing that does: bytes and times are arguments.
PURE = re.compile(r"^# Pure\b", re.MULTILINE)
IMPURE = {"asyncio", "time", "socket", "sqlite3", "redis", "fastapi", "starlette", "uvicorn", "threading", "subprocess"}
PYCRDT = {"raffia.crdt.build", "raffia.crdt.implied", "raffia.crdt.merge", "raffia.crdt.view"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
PURE_MODULES = [name for name, path in MODULES.items() if PURE.search(path.read_text())]


def entry(name: str) -> str:
    """The folder or file at the root of the package that a module is in."""
    return name.split(".")[1]


def imports(name: str, *, annotations: bool = False) -> Iterator[str]:
    """Every module that `name` imports when it runs, and with `annotations` those under `if TYPE_CHECKING` too."""
    tree = ast.parse(MODULES[name].read_text())
    typing_only: set[ast.AST] = set()
    for node in () if annotations else ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            typing_only.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} uses a relative import; write raffia.… in full"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def arrows(name: str) -> Iterator[str]:
    """Every module of the package that `name` imports, also for annotations alone."""
    # The package's face names classes for annotations and imports them when they are asked for.
    for imported in imports(name, annotations=name != "raffia"):
        if imported in MODULES and imported != name:
            yield imported


def test_every_module_has_a_place() -> None:
    without = {entry(name) for name in MODULES if name != "raffia"} - set(ORDER)
    assert not without, f"say in tests/unit/test_layers.py and docs/architecture.md where these belong: {without}"


def test_the_order_names_nothing_that_is_gone() -> None:
    assert [name for name in ORDER if f"raffia.{name}" not in MODULES] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name != "raffia"])
def test_imports_go_down_only(name: str) -> None:
    own = ORDER.index(entry(name))
    for imported in arrows(name):
        if imported != "raffia":
            assert ORDER.index(entry(imported)) <= own, f"{name} imports {imported}, which stands above it"


def room_entry(name: str) -> str | None:
    """The file or folder of `rooms/` that a module is in; None for `rooms` itself and for what is elsewhere."""
    parts = name.split(".")
    return parts[2] if parts[1:2] == ["rooms"] and len(parts) > 2 else None


def test_the_order_of_rooms_is_whole() -> None:
    assert sorted(ROOMS) == sorted({found for name in MODULES if (found := room_entry(name))})


@pytest.mark.parametrize("name", [name for name in MODULES if room_entry(name)])
def test_imports_inside_rooms_go_down_only(name: str) -> None:
    own = ROOMS.index(room_entry(name) or "")
    for imported in arrows(name):
        other = room_entry(imported)
        assert other is None or ROOMS.index(other) <= own, f"{name} imports {imported}, which stands above it"


def test_there_are_pure_modules() -> None:
    """The core is: reading and writing messages, documents, presence, one client's half of the conversation."""
    for folder in ("crdt", "wire"):
        everything = {name for name in MODULES if name.split(".")[1:2] == [folder]}
        assert everything <= set(PURE_MODULES), everything - set(PURE_MODULES)
    assert {"raffia.rooms.session", "raffia.rooms.presence.table", "raffia.rooms.inbound.waiting"} <= set(PURE_MODULES)


@pytest.mark.parametrize("name", PURE_MODULES)
def test_what_is_pure_imports_only_what_is(name: str) -> None:
    for imported in imports(name):
        if imported in MODULES:
            assert imported in PURE_MODULES, f"{name} is pure and imports {imported}, which does not say so"
        assert imported.split(".")[0] not in IMPURE, f"{name} is pure and imports {imported}"


def test_only_some_modules_import_pycrdt() -> None:
    users = {name for name in MODULES if any(imported.split(".")[0] == "pycrdt" for imported in imports(name))}
    assert users <= PYCRDT


def test_there_is_no_import_cycle() -> None:
    """Also none by annotations alone."""
    graph = {name: set(arrows(name)) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
