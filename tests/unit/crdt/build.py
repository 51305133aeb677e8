"""Updates for tests: written struct by struct, or by pycrdt with all of its types."""

from __future__ import annotations

from typing import Any

import pycrdt

from raffia.crdt.update import write_number, write_update

Id = tuple[int, int]
Deletes = dict[int, list[tuple[int, int]]]


def number(value: int) -> bytes:
    out = bytearray()
    write_number(out, value)
    return bytes(out)


def text(value: str) -> bytes:
    data = value.encode()
    return number(len(data)) + data


def item(
    kind: int,
    content: bytes,
    *,
    left: Id | None = None,
    right: Id | None = None,
    root: str = "t",
    parent: Id | None = None,
    key: str | None = None,
) -> bytes:
    """One item. Without origins it names its parent: a root, or a type's id."""
    info = kind | (0x80 if left else 0) | (0x40 if right else 0) | (0x20 if key is not None else 0)
    out = bytes((info,))
    for origin in (left, right):
        if origin:
            out += number(origin[0]) + number(origin[1])
    if not left and not right:
        out += b"\x00" + number(parent[0]) + number(parent[1]) if parent else b"\x01" + text(root)
        if key is not None:
            out += text(key)
    return out + content


def string(value: str, **place: Any) -> bytes:
    return item(4, text(value), **place)


def update(*sections: tuple[int, int, list[bytes]], deletes: Deletes | None = None) -> bytes:
    """An update of (client, start clock, structs) and delete ranges, end exclusive."""
    parts = [(client, start, len(structs), b"".join(structs)) for client, start, structs in sections]
    return write_update(parts, (deletes or {}).items())


def typing(client: int, word: str, *, deletes: Deletes | None = None) -> bytes:
    """One person types `word` character by character, as merged keystrokes."""
    structs = []
    clock = 0
    for char in word:
        structs.append(string(char, left=(client, clock - 1) if clock else None))
        clock += 2 if char > "\uffff" else 1
    return update((client, 0, structs), deletes=deletes)


def everything(client: int = 3_141_592_653) -> bytes:
    """A document with all types that pycrdt has, formats, embeds, deletes and nesting, é and an emoji."""
    doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
    words = doc.get("text", type=pycrdt.Text)
    array = doc.get("array", type=pycrdt.Array)
    board = doc.get("map", type=pycrdt.Map)
    xml = doc.get("xml", type=pycrdt.XmlFragment)
    words += "naïve 😀 hello"
    words.format(0, 4, {"bold": True, "link": {"href": "é"}})
    words.insert_embed(5, {"image": "😀"})
    del words[1:2]
    array.extend([1, -1.5, "é😀", None, True, {"a": [1, {"b": "c"}]}, b"\x00\x01", 2**40])
    board["k"] = pycrdt.Map({"in": pycrdt.Array([1, 2]), "é": "x"})
    board["k2"] = pycrdt.Text("inside")
    board["k2"] = 5
    board["doc"] = pycrdt.Doc()
    paragraph = xml.children.append(pycrdt.XmlElement("p", {"class": "é"}))
    paragraph.children.append(pycrdt.XmlText("words 😀"))
    xml.children.append(pycrdt.XmlElement("gone", contents=[pycrdt.XmlText("forget me")]))
    del xml.children[1]
    return doc.get_update()
