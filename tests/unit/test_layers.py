"""Imports go down only, and what has to stay pure imports nothing impure (docs/architecture.md, "Layers")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import weft

PACKAGE = Path(weft.__file__).parent

# The first entry that a module's name starts with decides.
LAYERS: dict[str, int] = {
    "weft.addresses": 2,
    "weft.api": 6,
    "weft.app": 6,
    "weft.asgi": 6,
    "weft.auth": 3,
    "weft.bus": 3,
    "weft.check": 6,
    "weft.claims": 3,
    "weft.cli": 6,
    "weft.connection": 6,
    "weft.dialects": 6,
    "weft.conversation": 2,
    "weft.crdt": 1,
    "weft.document": 2,
    "weft.editing": 5,
    "weft.embed": 6,
    "weft.errors": 0,
    "weft.expiry": 3,
    "weft.fanout": 4,
    "weft.readers": 4,
    "weft.pending": 4,
    "weft.intake": 4,
    "weft.held_back": 4,
    "weft.attendance": 4,
    "weft.answers": 4,
    "weft.files": 3,
    "weft.folder": 4,
    "weft.follower": 4,
    "weft.gate": 2,
    "weft.hooks": 3,
    "weft.hub": 5,
    "weft.images": 2,
    "weft.journal": 3,
    "weft.jwks": 3,
    "weft.keys": 3,
    "weft.logs": 0,
    "weft.memory": 0,
    "weft.metrics": 0,
    "weft.minting": 6,
    "weft.mirror": 4,
    "weft.outlet": 4,
    "weft.owners": 2,
    "weft.pace": 2,
    "weft.presence": 2,
    "weft.readiness": 5,
    "weft.rebuild": 4,
    "weft.relay": 4,
    "weft.rescue": 4,
    "weft.revocation": 3,
    "weft.revoking": 6,
    "weft.room": 4,
    "weft.saver": 4,
    "weft.seeds": 2,
    "weft.server": 6,
    "weft.services": 4,
    "weft.session": 2,
    "weft.settings": 0,
    "weft.sockets": 6,
    "weft.tokens": 3,
    "weft.types": 0,
    "weft.waiting": 2,
    "weft.wire": 1,
    "weft.worker": 0,
    "weft.workers": 3,
}
PURE_UP_TO = 2
IMPURE = {"asyncio", "time", "socket", "sqlite3", "redis", "fastapi", "starlette", "uvicorn", "threading", "subprocess"}
PYCRDT = {"weft.crdt.build", "weft.crdt.implied", "weft.crdt.merge", "weft.crdt.view"}


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def layer(name: str) -> int | None:
    top = ".".join(name.split(".")[:2])
    return LAYERS.get(top)


def imports(name: str) -> Iterator[str]:
    """Every module that `name` imports when it runs; what stands under `if TYPE_CHECKING` does not count as such."""
    tree = ast.parse(MODULES[name].read_text())
    typing_only: set[ast.AST] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            typing_only.update(inner for statement in node.body for inner in ast.walk(statement))
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name} uses a relative import; write weft.… in full"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def test_every_module_has_a_layer() -> None:
    without = [name for name in MODULES if name != "weft" and layer(name) is None]
    assert not without, f"say in tests/unit/test_layers.py and docs/architecture.md where these belong: {without}"


def test_the_table_names_nothing_that_is_gone() -> None:
    assert [name for name in LAYERS if name not in MODULES] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name != "weft"])
def test_imports_go_down_only(name: str) -> None:
    own = layer(name)
    assert own is not None
    for imported in imports(name):
        if imported.startswith("weft."):
            other = layer(imported)
            assert other is not None, imported
            assert other <= own, f"{name} (layer {own}) imports {imported} (layer {other})"


@pytest.mark.parametrize("name", [name for name in MODULES if layer(name) in range(PURE_UP_TO + 1)])
def test_lower_layers_do_no_io(name: str) -> None:
    impure = {imported for imported in imports(name) if imported.split(".")[0] in IMPURE}
    assert not impure, f"{name} imports {sorted(impure)}; time and bytes come in as arguments"


def test_only_two_modules_import_pycrdt() -> None:
    users = {name for name in MODULES if any(imported.split(".")[0] == "pycrdt" for imported in imports(name))}
    assert users <= PYCRDT


def test_there_is_no_import_cycle() -> None:
    graph = {name: {other for other in imports(name) if other in MODULES and other != name} for name in MODULES}
    done: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"cycle: {' -> '.join([*path[path.index(name) :], name])}"
        if name not in done:
            for other in graph[name]:
                visit(other, (*path, name))
            done.add(name)

    for name in graph:
        visit(name, ())
