"""Content made on the server: metadata, rich text in BlockNote's structure, boards, and copies of documents.

Every function returns an update (VW3 of view.py). They are pure, so that they can run in a worker process.

Rules (tests quote these ids):
    BU1  Rich text is in `XmlFragment "document-store"`: one `blockGroup` of `blockContainer`s, each with an id and one
         block; marks are attributes of the text.
    BU2  A board is in `Map "elements"`, which maps ids to `Map {g, s, t, m}`; each of these groups is one value.
    BU3  A copy is squashed: it does not contain deleted content.
    BU4  In a copy, URLs of the document's own files are replaced by those of the copy's files. A document without such
         URLs is copied on its bytes, without a `Doc`.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import pycrdt

from raffia.crdt.merge import merge
from raffia.crdt.meta import set_meta
from raffia.crdt.squash import squash
from raffia.crdt.view import edit
from raffia.types import EMPTY_UPDATE

Fields = Mapping[str, str | int]


def copy(parts: Sequence[bytes], fields: Fields, moved: tuple[str, str] | None = None) -> bytes:
    """A copy of a document, with other metadata (BU3, BU4).

    Args:
        parts: the updates that make up the original.
        fields: keys and values for the copy's root map `meta`.
        moved: the URL prefixes of the original's and of the copy's files; None to leave URLs unchanged.
    """
    content = squash(merge(parts))
    edits = [set_meta([content], fields)]
    if moved is not None and moved[0].encode() in content:
        # Only a document that has files is loaded, which may take long.
        edits.append(edit(content, partial(_move_files, old=moved[0], new=moved[1])))
    return squash(merge([content, *edits]))


def _move_files(doc: pycrdt.Doc[Any], old: str, new: str) -> None:
    """Replace URLs of images in rich text and of files on a board."""
    roots = set(doc.keys())
    if "files" in roots:
        files: pycrdt.Map[Any] = doc.get("files", type=pycrdt.Map)
        for name in list(files.keys()):
            file = files[name]
            url = file.get("url") if isinstance(file, pycrdt.Map | dict) else None
            if not isinstance(url, str) or old not in url:
                continue
            if isinstance(file, pycrdt.Map):
                file["url"] = url.replace(old, new)
            else:
                files[name] = {**file, "url": url.replace(old, new)}
    if "document-store" in roots:
        waiting: list[Any] = [doc.get("document-store", type=pycrdt.XmlFragment)]
        while waiting:
            node = waiting.pop()
            waiting += [child for child in node.children if isinstance(child, pycrdt.XmlElement)]
            url = node.attributes.get("url") if isinstance(node, pycrdt.XmlElement) else None
            if isinstance(url, str) and old in url:
                node.attributes["url"] = url.replace(old, new)


def make(fields: Fields, content: Mapping[str, Any]) -> bytes:
    """A new document.

    Args:
        fields: keys and values for its root map `meta`.
        content: `blocks` of rich text in the shorthand of raffia/seeds/texts.py, or `elements` of a board.
    """

    def change(doc: pycrdt.Doc[Any]) -> None:
        _write_fields(doc, fields)
        if content.get("blocks"):
            _write_blocks(doc, content["blocks"])
        if content.get("elements"):
            _write_elements(doc, content["elements"])

    return edit(EMPTY_UPDATE, change)


def _write_fields(doc: pycrdt.Doc[Any], fields: Fields) -> None:
    meta: pycrdt.Map[Any] = doc.get("meta", type=pycrdt.Map)
    for key, value in fields.items():
        if meta.get(key) != value:
            meta[key] = value


def _write_blocks(doc: pycrdt.Doc[Any], blocks: Sequence[Mapping[str, Any]]) -> None:
    fragment: pycrdt.XmlFragment = doc.get("document-store", type=pycrdt.XmlFragment)
    group = fragment.children.append(pycrdt.XmlElement("blockGroup"))
    _write_group(group, blocks)


def _write_group(group: Any, blocks: Sequence[Mapping[str, Any]]) -> None:
    for block in blocks:
        container = group.children.append(pycrdt.XmlElement("blockContainer"))
        container.attributes["id"] = str(uuid.uuid4())
        element = container.children.append(pycrdt.XmlElement(block["type"]))
        for name, value in block.get("props", {}).items():
            element.attributes[name] = value
        runs = block.get("text", "")
        _write_text(element, [runs] if isinstance(runs, str) else runs)
        if block.get("children"):
            _write_group(container.children.append(pycrdt.XmlElement("blockGroup")), block["children"])


def _write_text(element: Any, runs: Sequence[Any]) -> None:
    """Write runs of text: plain strings, or pairs of a string and its marks (BU1)."""
    text = element.children.append(pycrdt.XmlText())
    at = 0
    for run in runs:
        plain, marks = (run, None) if isinstance(run, str) else run
        if not plain:
            continue
        text.insert(at, plain, marks or {})
        at += len(plain.encode())  # pycrdt counts bytes (VW4)


def _write_elements(doc: pycrdt.Doc[Any], elements: Mapping[str, Mapping[str, Any]]) -> None:
    kept: pycrdt.Map[Any] = doc.get("elements", type=pycrdt.Map)
    for name, groups in elements.items():
        kept[name] = pycrdt.Map(dict(groups))
