"""Every regular expression takes time that is linear in the text, and no text from outside is a pattern.

Patterns are found in two ways: those that modules keep, by importing all modules, and calls of `re`, by reading the
source. The second finds what the first would miss.
"""

from __future__ import annotations

import ast
import importlib
import math
import pkgutil
import re
import time
from collections.abc import Callable, Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

import raffia

SOURCE = Path(raffia.__file__).parent
# Sizes grow slowly at first, so that what takes exponential time is noticed before it takes minutes.
SIZES = (16, 20, 25, 32, 40, 50, 64, 250, 1000, 4000, 16_000, 64_000)
FLOOR_S = 0.003  # of processor time; less says nothing about growth
# Linear is 4 for text that is 4 times as long, quadratic 16.
MOST = 8.0
ALONE = ("a", "0", "0.", "1e", "A-", "_", "-", ".", " ", "\t", '"', "\\", '"\\', "/", "=", "&a", "é")
AFTER_WORDS = ("", "aaaaaaaa", "0", "-", " ", "=")
# What stands before and after: a match can begin at the start, or has to fail at the end.
AROUND = (("", ""), ("", "!"), ("", '"'), ("x", "!"))
RUNS: dict[str, Callable[[re.Pattern[Any]], Callable[[Any], object]]] = {
    "fullmatch": lambda pattern: pattern.fullmatch,
    "match": lambda pattern: pattern.match,
    "search": lambda pattern: pattern.search,
    "finditer": lambda pattern: lambda text: sum(1 for _ in pattern.finditer(text)),
    "sub": lambda pattern: lambda text: sum(1 for _ in pattern.finditer(text)),
}


@cache
def patterns() -> dict[str, re.Pattern[Any]]:
    """All compiled patterns that modules and classes of the backend keep, by name."""
    found: dict[str, re.Pattern[Any]] = {}
    for module in pkgutil.walk_packages(raffia.__path__, "raffia."):
        if module.name.endswith("__main__"):
            continue
        space = vars(importlib.import_module(module.name))
        for name, value in space.items():
            inner = vars(value).items() if isinstance(value, type) and value.__module__ == module.name else ()
            for field, kept in ((name, value), *((f"{name}.{field}", kept) for field, kept in inner)):
                if isinstance(kept, re.Pattern):
                    found.setdefault(f"{module.name}.{field}", kept)
    return found


def trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted(SOURCE.rglob("*.py")):
        yield path, ast.parse(path.read_text())


def pieces(pattern: re.Pattern[Any]) -> list[str]:
    """What to repeat: words of the pattern itself, with something that its repetitions may take."""
    source = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    words = re.findall(r"[A-Za-z]{2,}|-{2,}[A-Z ]*|[\"'=.&;?-]", re.sub(r"\\[A-Za-z]|\(\?[a-zA-Z]+[:)]", " ", source))
    words = dict.fromkeys([*words, "-----BEGIN A-----", "eyJ", "raffia.token."])
    return [*ALONE, *(word + more for word in words for more in AFTER_WORDS)]


def seconds(run: Callable[[Any], object], text: Any) -> float:
    """Processor time; the least of three, unless the first says enough."""
    best = math.inf
    for _ in range(3):
        began = time.process_time()
        run(text)
        best = min(best, time.process_time() - began)
        if best < FLOOR_S:
            break
    return best


def superlinear(run: Callable[[Any], object], text: Callable[[int], Any]) -> tuple[int, float] | None:
    """The size at which time grows faster than the text, and by how much; None if it does not."""
    before_s, before = math.inf, 0
    for size in SIZES:
        took_s = seconds(run, text(size))
        growth = took_s / max(before_s, FLOOR_S / 4)
        # Twice what a linear pattern needs for this step, and measured again before it counts.
        most = MOST * size / (4 * before) if before else math.inf
        if took_s > FLOOR_S and growth > most and seconds(run, text(size)) / max(before_s, FLOOR_S / 4) > most:
            return size, growth
        before_s, before = took_s, size
        if size == 16_000 and (took_s < FLOOR_S / 4 or growth < 5):
            return None  # a quadratic part would have shown
    return None


def repeated(head: str, piece: str, tail: str, *, as_bytes: bool) -> Callable[[int], Any]:
    def text(size: int) -> Any:
        made = head + piece * (size // len(piece) + 1) + tail
        return made.encode("latin-1") if as_bytes else made

    return text


@cache
def uses() -> dict[str, set[str]]:
    """The methods of patterns that the source calls, by the name of the variable."""
    found: dict[str, set[str]] = {}
    for _, tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=method)) if method in RUNS:
                    found.setdefault(name, set()).add(method)
    return found


def faults(pattern: re.Pattern[Any], methods: Collection[str]) -> list[str]:
    """An input that a pattern takes too long for, if there is one."""
    as_bytes = isinstance(pattern.pattern, bytes)
    for piece in pieces(pattern):
        for head, tail in AROUND:
            for method in methods:
                grown = superlinear(RUNS[method](pattern), repeated(head, piece, tail, as_bytes=as_bytes))
                if grown is not None:
                    return [
                        f"{method} of {piece!r} repeated, then {tail!r}: {grown[1]:.0f} times the time at {grown[0]}"
                    ]
    return []


def test_patterns_are_found() -> None:
    assert {"raffia.types.DOCUMENT_ID", "raffia.runtime.logs._TOKEN", "raffia.crdt.nesting._STRINGS"} <= set(patterns())


def test_patterns_are_compiled_by_modules() -> None:
    """So that the walk over modules finds all of them."""
    calls = []
    for path, tree in trees():
        kept = {id(node.value) for node in tree.body if isinstance(node, ast.Assign | ast.AnnAssign)}
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(value=ast.Name(id="re"), attr=name)):
                    if name != "compile" or id(node) not in kept:
                        calls.append(f"{path.relative_to(SOURCE)}:{node.lineno} re.{name}")
                case ast.ImportFrom(module="re" | "regex" | "fnmatch" | "glob"):
                    calls.append(f"{path.relative_to(SOURCE)}:{node.lineno} {node.module}")
    assert calls == []


def test_what_is_put_in_for_a_match_is_no_template() -> None:
    """A replacement that is text is a template, in which a backslash means something; ours are bytes or functions."""
    calls = []
    for path, tree in trees():
        for node in ast.walk(tree):
            match node:
                case ast.Call(func=ast.Attribute(attr="sub" | "subn"), args=[given, _, *_]):
                    if not isinstance(given, ast.Lambda | ast.Name | ast.Constant):
                        calls.append(f"{path.relative_to(SOURCE)}:{node.lineno}")
    assert calls == []


@pytest.mark.parametrize("name", sorted(patterns()))
def test_a_pattern_is_linear(name: str) -> None:
    methods = uses()[name.rsplit(".", 1)[1]]
    assert faults(patterns()[name], methods) == []


@pytest.mark.parametrize(
    "pattern",
    [
        re.compile(r"(?i)\beyJ[\w-]{8,}\.[\w-]*(?:\.[\w-]*)?"),
        re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL),
        re.compile(r"\s+$"),
        re.compile(r"(a+)+$"),
        re.compile(r'"(?:[^"\\]|\\.)*"'),
    ],
    ids=lambda pattern: repr(pattern.pattern)[:20],
)
def test_patterns_that_are_not_linear_are_noticed(pattern: re.Pattern[Any]) -> None:
    assert faults(pattern, ["sub"]) != []
