"""Rich text as trees: mutated at random, written into a document as no page of ours would, compared with a page.

trees = plain(random.Random(7))
mutate(trees, random.Random(8))
await change(scene.place, document, lambda doc: write(doc, trees))
assert not missing(trees, await ana.text())
"""

from __future__ import annotations

import copy
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import pycrdt

from raffia.seeds import SEEDS

TEXT = "document-store"
Run = tuple[str, dict[str, Any]]


@dataclass
class Words:
    """A text: runs with their marks."""

    runs: list[Run]


@dataclass
class Node:
    """An element."""

    name: str
    attributes: dict[str, Any] = field(default_factory=dict)
    children: list[Node | Words] = field(default_factory=list)


def words(text: str, **marks: Any) -> Words:
    """A text in one piece."""
    return Words([(text, marks)])


def container(*parts: Node | Words, identity: str | None = None) -> Node:
    """A block's container, with whatever is in it."""
    return Node("blockContainer", {} if identity is None else {"id": identity}, list(parts))


def block(name: str, *content: Node | Words, children: Sequence[Node] = (), **attributes: Any) -> Node:
    """A container with one block, and the blocks below it."""
    return container(Node(name, attributes, list(content)), *([group(*children)] if children else []), identity="id")


def paragraph(text: str, identity: str | None = None) -> Node:
    """The simplest block."""
    return container(Node("paragraph", {}, [words(text)]), identity=identity or f"id-{text}")


def group(*blocks: Node | Words) -> Node:
    """What a document consists of."""
    return Node("blockGroup", {}, list(blocks))


def table(*rows: Sequence[str]) -> Node:
    """A table's element."""
    cells = [[Node("tableCell", {}, [Node("tableParagraph", {}, [words(text)])]) for text in row] for row in rows]
    return Node("table", {}, [Node("tableRow", {}, list(row)) for row in cells])


# -- in a document


def write(doc: pycrdt.Doc[Any], trees: Sequence[Node | Words]) -> None:
    """Replace the rich text of a document."""
    root: pycrdt.XmlFragment = doc.get(TEXT, type=pycrdt.XmlFragment)
    while len(root.children):
        del root.children[0]
    for tree in trees:
        _append(root, tree)


def _append(parent: Any, tree: Node | Words) -> None:
    if isinstance(tree, Words):
        text = parent.children.append(pycrdt.XmlText())
        at = 0
        for plain, marks in tree.runs:
            text.insert(at, plain, marks)
            at += len(plain.encode())
        return
    element = parent.children.append(pycrdt.XmlElement(tree.name))
    for name, value in tree.attributes.items():
        element.attributes[name] = value
    for child in tree.children:
        _append(element, child)


# -- on a page


def texts(trees: Sequence[Node | Words]) -> Iterator[str]:
    """Every run of text."""
    for tree in trees:
        if isinstance(tree, Words):
            yield from (text for text, _ in tree.runs)
        else:
            yield from texts(tree.children)


def missing(trees: Sequence[Node | Words], page: str) -> list[str]:
    """The texts that a page shows less often than the tree holds them."""
    wanted = list(texts(trees))
    return sorted({text for text in wanted if text and page.count(text) < sum(other == text for other in wanted)})


# -- at random


def plain(chance: random.Random) -> list[Node | Words]:
    """A document that fits: a template, or one with everything; each word in it is unique."""
    seeds = [seed for seed in SEEDS if seed.kind == "document"]
    number = chance.randrange(len(seeds) + 2)
    tree = _rich() if number >= len(seeds) else group(*map(_of_seed, seeds[number].content["blocks"]))
    for count, node in enumerate(nodes([tree])):
        if node.name == "blockContainer":
            node.attributes["id"] = f"block-{count}"
        for child in node.children:
            if isinstance(child, Words):
                child.runs = [
                    (f"w{count}x{at}y{text[:12].strip()}z", marks)
                    for at, (text, marks) in enumerate(child.runs)
                    if text
                ]
    return [tree]


def _of_seed(one: dict[str, Any]) -> Node:
    runs = one.get("text", "")
    pairs = [(run, {}) if isinstance(run, str) else run for run in ([runs] if isinstance(runs, str) else runs)]
    children = [_of_seed(child) for child in one.get("children", [])]
    return block(one["type"], Words(list(pairs)), children=children, **one.get("props", {}))


def _rich() -> Node:
    red = {"textColor": {"stringValue": "red"}}
    runs: list[Run] = [("bold", {"bold": {}}), ("link", {"link": {"href": "https://example.org/"}}), ("red", red)]
    three = block("numberedListItem", words("three"), start=4)
    return group(
        block("heading", words("Head"), level=2),
        block("paragraph", Words(runs)),
        block("bulletListItem", words("one"), children=[block("bulletListItem", words("two"), children=[three])]),
        block("table", *table(["a", "b"], ["c", "d"]).children),
        block("codeBlock", words("let x = 1;"), language="javascript"),
        block("quote", words("said")),
        block("checkListItem", words("done"), checked=True),
        block("toggleListItem", words("more"), children=[block("paragraph", words("hidden"))]),
        block("image", url="", caption="none"),
        block("divider"),
        block("paragraph", words("line"), Node("hardBreak"), words("break")),
        block("paragraph"),
    )


def nodes(trees: Sequence[Node | Words]) -> Iterator[Node]:
    """Every element, parents first."""
    for tree in trees:
        if isinstance(tree, Node):
            yield tree
            yield from nodes(tree.children)


NAMES = (
    *("blockGroup", "blockContainer", "paragraph", "heading", "codeBlock", "bulletListItem", "image", "divider"),
    *("table", "tableRow", "tableCell", "tableParagraph", "hardBreak", "text", "doc", "futureBlock", "constructor"),
)
ATTRIBUTES = (
    *("id", "level", "textAlignment", "colspan", "rowspan", "colwidth"),
    *("textColor", "checked", "start", "url", "future", "toString"),
)
VALUES: tuple[Any, ...] = ("", "x y", "9", 0, -1, 2, 9, 1e9, 1.5, True, None, [1, None], {"a": 1}, "block-1")
MARKS: tuple[dict[str, Any], ...] = (
    {"bold": {}},
    {"bold": True},
    {"code": {}, "bold": {}},
    {"future": {}},
    {"bold--a1B2c3D4": {}},
    {"link": {"href": "javascript:1"}},
    {"link": {"href": 5}},
    {"link": "x"},
    {"textColor": "red"},
    {"textColor": {"stringValue": "red", "x": 1}},
)


def mutate(trees: list[Node | Words], chance: random.Random) -> None:
    """Change the structure once, in place."""
    root = Node("", {}, trees)
    chance.choice(MUTATIONS)(root, chance)
    trees[:] = root.children


def _places(root: Node) -> list[tuple[Node, int]]:
    return [(parent, at) for parent in [root, *nodes(root.children)] for at in range(len(parent.children))]


def _anywhere(root: Node, chance: random.Random, what: Node | Words) -> None:
    parent = chance.choice([root, *nodes(root.children)])
    parent.children.insert(chance.randint(0, len(parent.children)), what)


def _move(root: Node, chance: random.Random) -> None:
    if places := _places(root):
        parent, at = chance.choice(places)
        _anywhere(root, chance, parent.children.pop(at))


def _double(root: Node, chance: random.Random) -> None:
    if places := _places(root):
        parent, at = chance.choice(places)
        parent.children.insert(at, copy.deepcopy(parent.children[at]))


def _drop(root: Node, chance: random.Random) -> None:
    if places := _places(root):
        parent, at = chance.choice(places)
        del parent.children[at]


def _wrap(root: Node, chance: random.Random) -> None:
    if places := _places(root):
        parent, at = chance.choice(places)
        parent.children[at] = Node(chance.choice(NAMES), {}, [parent.children[at]])


def _unwrap(root: Node, chance: random.Random) -> None:
    places = [(parent, at) for parent, at in _places(root) if isinstance(parent.children[at], Node)]
    if places:
        parent, at = chance.choice(places)
        child = parent.children[at]
        assert isinstance(child, Node)
        parent.children[at : at + 1] = child.children


def _rename(root: Node, chance: random.Random) -> None:
    if all_nodes := list(nodes(root.children)):
        chance.choice(all_nodes).name = chance.choice(NAMES)


def _set(root: Node, chance: random.Random) -> None:
    if all_nodes := list(nodes(root.children)):
        chance.choice(all_nodes).attributes[chance.choice(ATTRIBUTES)] = chance.choice(VALUES)


def _mark(root: Node, chance: random.Random) -> None:
    all_words = [child for parent, at in _places(root) if isinstance(child := parent.children[at], Words)]
    if all_words:
        text = chance.choice(all_words)
        text.runs = [(plain, {**marks, **chance.choice(MARKS)}) for plain, marks in text.runs]


def _say(root: Node, chance: random.Random) -> None:
    _anywhere(root, chance, words(f"stray{chance.randrange(10**6)}z"))


def _identify(root: Node, chance: random.Random) -> None:
    containers = [node for node in nodes(root.children) if node.name == "blockContainer"]
    if containers:
        first, second = chance.choice(containers), chance.choice(containers)
        first.attributes = dict(second.attributes) if chance.random() < 0.7 else {}


def _nest_table(root: Node, chance: random.Random) -> None:
    number = chance.randrange(10**6)
    _anywhere(root, chance, table([f"cell{number}a"], [f"cell{number}b", f"cell{number}c"]))


MUTATIONS: tuple[Callable[[Node, random.Random], None], ...] = (
    _move, _double, _drop, _wrap, _unwrap, _rename, _set, _set, _mark, _say, _identify, _nest_table,
)  # fmt: skip
