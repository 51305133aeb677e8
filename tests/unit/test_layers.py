"""Imports go down only, and what has to stay pure imports nothing impure (docs/architecture.md, "Layers")."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import raffia

PACKAGE = Path(raffia.__file__).parent

# The first entry that a module's name starts with decides.
LAYERS: dict[str, int] = {
    "raffia.address_limits": 2,
    "raffia.api": 6,
    "raffia.app": 6,
    "raffia.asgi": 6,
    "raffia.authorizer": 3,
    "raffia.bus": 3,
    "raffia.check": 6,
    "raffia.claims": 3,
    "raffia.cli": 6,
    "raffia.connection": 6,
    "raffia.dialects": 6,
    "raffia.conversation": 2,
    "raffia.crdt": 1,
    "raffia.document": 2,
    "raffia.editing": 5,
    "raffia.embed": 6,
    "raffia.errors": 0,
    "raffia.expiry": 3,
    "raffia.fanout": 4,
    "raffia.catch_up": 4,
    "raffia.pending": 4,
    "raffia.intake": 4,
    "raffia.early_entries": 4,
    "raffia.room_presence": 4,
    "raffia.acknowledgements": 4,
    "raffia.files": 3,
    "raffia.compactor": 4,
    "raffia.log_follower": 4,
    "raffia.gate": 2,
    "raffia.hooks": 3,
    "raffia.hub": 5,
    "raffia.images": 2,
    "raffia.journal": 3,
    "raffia.jwks": 3,
    "raffia.keys": 3,
    "raffia.logs": 0,
    "raffia.malloc": 0,
    "raffia.metrics": 0,
    "raffia.minting": 6,
    "raffia.metadata": 4,
    "raffia.transport": 4,
    "raffia.client_owners": 2,
    "raffia.rate_limits": 2,
    "raffia.presence": 2,
    "raffia.journal_health": 5,
    "raffia.loading": 4,
    "raffia.relay": 4,
    "raffia.repair": 4,
    "raffia.revocation": 3,
    "raffia.revoking": 6,
    "raffia.room": 4,
    "raffia.append_queue": 4,
    "raffia.seeds": 2,
    "raffia.server": 6,
    "raffia.services": 4,
    "raffia.session": 2,
    "raffia.settings": 0,
    "raffia.sockets": 6,
    "raffia.tokens": 3,
    "raffia.types": 0,
    "raffia.waiting": 2,
    "raffia.wire": 1,
    "raffia.worker": 0,
    "raffia.workers": 3,
}
PURE_UP_TO = 2
IMPURE = {"asyncio", "time", "socket", "sqlite3", "redis", "fastapi", "starlette", "uvicorn", "threading", "subprocess"}
PYCRDT = {"raffia.crdt.build", "raffia.crdt.implied", "raffia.crdt.merge", "raffia.crdt.view"}


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
            assert node.level == 0, f"{name} uses a relative import; write raffia.… in full"
            assert node.module
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in MODULES else node.module


def test_every_module_has_a_layer() -> None:
    without = [name for name in MODULES if name != "raffia" and layer(name) is None]
    assert not without, f"say in tests/unit/test_layers.py and docs/architecture.md where these belong: {without}"


def test_the_table_names_nothing_that_is_gone() -> None:
    assert [name for name in LAYERS if name not in MODULES] == []


@pytest.mark.parametrize("name", [name for name in MODULES if name != "raffia"])
def test_imports_go_down_only(name: str) -> None:
    own = layer(name)
    assert own is not None
    for imported in imports(name):
        if imported.startswith("raffia."):
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
