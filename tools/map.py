"""Print the shape of a checkout: folders, arrows between them, circles, sizes: `make map`, or `make map ARGS=../other`.

An arrow is an import, also one for annotations only (under `if TYPE_CHECKING`) and one inside a function. A circle is a
set of modules or of folders that import each other in a loop. Only Python functions are measured. What may be longer
than the guide stands in tools/sizes.toml with its reason.
"""

from __future__ import annotations

import ast
import os
import sys
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

FILE_LINES, FUNCTION_LINES = 450, 60
PARTS = ("backend", "frontend/src", "tests", "tools", "infra")
SOURCES = {".py", ".lua", ".ts", ".tsx", ".css", ".js", ".mjs", ".cjs", ".c", ".sh", ".cfg", ".yaml", ".yml"}
SKIPPED = {"node_modules", "__pycache__", "static"}
EXCEPTIONS = "tools/sizes.toml"

Graph = Mapping[str, set[str]]


def sources(folder: Path) -> Iterator[Path]:
    """The source files under a folder; nothing installed or built."""
    for where, folders, names in os.walk(folder):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (path for path in (Path(where, name) for name in sorted(names)) if path.suffix in SOURCES)


def line_count(path: Path) -> int:
    """How many lines a file has."""
    return len(path.read_text().splitlines())


def sizes(root: Path) -> dict[str, int]:
    """Lines of each source file (`path`) and of each Python function (`path:Class.function`)."""
    found: dict[str, int] = {}

    def visit(node: ast.AST, name: str, separator: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                inner = f"{name}{separator}{child.name}"
                if not isinstance(child, ast.ClassDef):
                    found[inner] = (child.end_lineno or child.lineno) - child.lineno + 1
                visit(child, inner, ".")
            else:
                visit(child, name, separator)

    for part in PARTS:
        for path in sources(root / part):
            name = path.relative_to(root).as_posix()
            found[name] = line_count(path)
            if path.suffix == ".py":
                visit(ast.parse(path.read_text()), name, ":")
    return found


def oversized(root: Path) -> dict[str, int]:
    """Files and functions that are longer than the guide."""
    return {
        name: lines for name, lines in sizes(root).items() if lines > (FUNCTION_LINES if ":" in name else FILE_LINES)
    }


def exceptions(root: Path) -> dict[str, str]:
    """What may be longer than the guide, with the reason."""
    path = root / EXCEPTIONS
    return tomllib.loads(path.read_text()) if path.exists() else {}


class Package:
    """The modules of a Python package, and who imports whom."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.name = folder, folder.name
        self.paths = {self._module(path): path for path in sources(folder) if path.suffix == ".py"}
        self.imports = {module: set(self._imports(module)) - {module} for module in self.paths}

    def _module(self, path: Path) -> str:
        return ".".join(path.relative_to(self.folder.parent).with_suffix("").parts).removesuffix(".__init__")

    def _imports(self, module: str) -> Iterator[str]:
        if module == self.name:  # the public face names everything
            return
        for node in ast.walk(ast.parse(self.paths[module].read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names if alias.name in self.paths)
            elif isinstance(node, ast.ImportFrom) and not node.level and node.module in self.paths:
                names = (f"{node.module}.{alias.name}" for alias in node.names)
                yield from (name if name in self.paths else node.module for name in names)

    def folder_of(self, module: str) -> str:
        """The folder of a module, or the file itself when it is at the root: `rooms/inbound`, `app.py`."""
        return self.place(self.paths[module])

    def place(self, path: Path) -> str:
        """The same for a file."""
        path = path.relative_to(self.folder)
        return (path if len(path.parts) == 1 else path.parent).as_posix()

    def summary(self, entry: str) -> str:
        """The first line of the docstring of a folder or file at the root."""
        path = self.folder / entry
        path = path if path.is_file() else path / "__init__.py"
        text = ast.get_docstring(ast.parse(path.read_text())) if path.exists() else None
        return text.splitlines()[0] if text else "(no docstring)"


def folder_arrows(package: Package) -> dict[str, dict[str, int]]:
    """The folders that each folder imports from, with the number of imports."""
    arrows: dict[str, dict[str, int]] = {package.folder_of(module): {} for module in package.paths}
    for module, imported in package.imports.items():
        start = package.folder_of(module)
        for end in map(package.folder_of, imported):
            if start != end:
                arrows[start][end] = arrows[start].get(end, 0) + 1
    return arrows


def circles(graph: Graph) -> list[list[str]]:
    """Sets of more than one node in which each reaches each."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            for other in graph.get(waiting.pop(), set()) - seen:
                seen.add(other)
                waiting.append(other)
        return seen

    reach = {node: reached(node) for node in graph}
    found = {frozenset(other for other in reach[node] if node in reach[other]) for node in graph if node in reach[node]}
    return sorted(sorted(circle) for circle in found if len(circle) > 1)


def _nested(one: str, other: str) -> bool:
    return one.startswith(f"{other}/") or other.startswith(f"{one}/")


def report(root: Path) -> Iterator[str]:
    """The lines that are printed."""
    package = Package(next(path.parent for path in sorted((root / "backend").glob("*/__init__.py"))))
    files: dict[str, int] = defaultdict(int)
    for path in sources(package.folder):
        files[package.place(path)] += 1
    entries = sorted({package.folder_of(module).split("/")[0] for module in package.paths} - {"__init__.py"})
    yield f"{package.name}: {len(entries)} entries at the root"
    yield from (f"  {entry:14}{package.summary(entry)}" for entry in entries)
    yield "\nfolder: files -> imports"
    arrows = folder_arrows(package)
    for folder, count in sorted(files.items()):
        ends = ", ".join(f"{end} {number}" for end, number in sorted(arrows.get(folder, {}).items()))
        yield f"  {folder:20}{count:3}{'  -> ' + ends if ends else ''}"
    yield "\ncircles, annotations counted"
    # The files of a folder use what is in its subfolders, and those stand on some of its files: that is one concept.
    levels: dict[str, Graph] = {
        "folders": {start: {end for end in ends if not _nested(start, end)} for start, ends in arrows.items()}
    }
    levels["modules"] = package.imports
    for level, graph in levels.items():
        loops = circles(graph)
        yield f"  {level}: {len(loops) or 'none'}"
        yield from (f"    {' <-> '.join(loop)}" for loop in loops)
    yield "\nlines"
    for part in PARTS:
        yield f"  {part:14}{sum(map(line_count, sources(root / part))):7,}"
    known, found = exceptions(root), oversized(root)
    for kind, limit in (("files", FILE_LINES), ("functions", FUNCTION_LINES)):
        long = sorted((-lines, name) for name, lines in found.items() if (":" in name) == (kind == "functions"))
        yield f"\n{kind} over {limit} lines: {len(long) or 'none'}"
        yield from (f"{-lines:6}  {name}: {known.get(name, 'no reason given')}" for lines, name in long)


if __name__ == "__main__":
    print("\n".join(report(Path(sys.argv[1] if len(sys.argv) > 1 else ".").resolve())))
