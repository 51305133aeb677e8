"""Reading a document, and editing it from the server, with a pycrdt `Doc` that exists only during the call.

A `Doc` is never the source of truth: it is built from the merged bytes, and an edit is returned as an update that
passes the gate like any client's.

Rules (tests quote these ids):
    VW1  The squashed form is loaded, which takes a tenth of the time and leaves out content of deleted types.
        Characters that editors have split are replaced as in Yjs (`halves`), since pycrdt shows them differently;
        numbers that pycrdt cannot read are written as doubles (`numbers`), and text in arrays as values (`letters`).
    VW2  Whatever pycrdt raises, including panics, becomes a `CrdtError`; cancellation and exits pass through. Types
        nested so deeply that they would crash the process are refused first.
    VW3  The update of an edit contains only the edit, and the strict reader has accepted it. The document's own bytes
        never come from a `Doc`: encoding it again corrupts characters of which editors deleted one half.
    VW4  pycrdt indexes text in UTF-8 bytes: callers count characters and convert with `byte_index`.
    VW5  Values are returned as in JSON: integral numbers as int, binary values in base64, types as their content, XML
        as markup, subdocuments as their guid.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import base64
import math
from collections.abc import Callable
from typing import Any, Final

import pycrdt

from raffia.crdt.anyvalue import MAX_SAFE_INTEGER
from raffia.crdt.halves import show_halves
from raffia.crdt.letters import show_letters
from raffia.crdt.merge import Guard
from raffia.crdt.numbers import show_numbers
from raffia.crdt.roots import RootKind, root_kinds
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update
from raffia.errors import CrdtError, UpdateError
from raffia.types import EMPTY_UPDATE

_TYPES: Final[dict[RootKind, Any]] = {
    "text": pycrdt.Text,
    "xml": pycrdt.XmlFragment,
    "array": pycrdt.Array,
    "map": pycrdt.Map,
}
_READING: Final = Guard("read a document")
_EDITING: Final = Guard("edit a document")


class View:
    """A read-only view of a document as it was when the view was made.

    Args:
        merged: the document's merged updates, squashed or not.

    Raises:
        CrdtError: pycrdt cannot read the document.
    """

    __slots__ = ("_doc", "_kinds")

    def __init__(self, merged: bytes) -> None:
        self._doc, self._kinds = _open(merged)

    @property
    def roots(self) -> dict[str, RootKind]:
        """Maps root names to their types; roots without content are not listed."""
        return dict(self._kinds)

    def text(self, root: str) -> str:
        """The characters of a text root, without formats and embeds; empty if there is no such root."""
        if self._kinds.get(root) != "text":
            return ""
        with _READING:
            text: pycrdt.Text = self._doc.get(root, type=pycrdt.Text)
            return "".join(part for part, _ in text.diff() if isinstance(part, str))

    def xml(self, root: str) -> str:
        """The markup of an XML root; empty if there is no such root."""
        if self._kinds.get(root) != "xml":
            return ""
        with _READING:
            return str(self._doc.get(root, type=pycrdt.XmlFragment))

    def json(self) -> dict[str, Any]:
        """All roots as JSON values (VW5)."""
        with _READING:
            return {root: _plain(self._doc.get(root, type=_TYPES[kind])) for root, kind in self._kinds.items()}


def read_text(merged: bytes, root: str) -> str:
    """`View(merged).text(root)`."""
    return View(merged).text(root)


def read_xml(merged: bytes, root: str) -> str:
    """`View(merged).xml(root)`."""
    return View(merged).xml(root)


def read_json(merged: bytes) -> dict[str, Any]:
    """`View(merged).json()`."""
    return View(merged).json()


def edit(merged: bytes, change: Callable[[pycrdt.Doc[Any]], None], *, client: int | None = None) -> bytes:
    """Edit a document from the server.

    Args:
        merged: the document's merged updates, squashed or not.
        change: edits the `Doc` that it is given, in one transaction; must not keep it. Text is indexed in bytes (VW4).
            An exception that it raises becomes the cause of a `CrdtError`.
        client: the new client id to edit with; None for a random one.

    Returns:
        The update with only the edit (VW3); the empty update if nothing was changed.

    Raises:
        CrdtError: pycrdt cannot read or edit the document, or `change` failed.
    """
    return edit_shown(show(merged), change, client=client)


def edit_shown(shown: bytes, change: Callable[[pycrdt.Doc[Any]], None], *, client: int | None = None) -> bytes:
    """`edit`, with what `show` returned: so that a worker can do that part, and the caller's process runs `change`."""
    doc, _ = _load(shown, client)
    made: list[bytes] = []
    with _EDITING:
        subscription = doc.observe(lambda event: made.append(event.update))
        try:
            with doc.transaction():
                change(doc)
        finally:
            doc.unobserve(subscription)  # or the Doc is never freed
    if not made:
        return EMPTY_UPDATE
    update = made[-1]
    try:
        read_update(update)
    except UpdateError as error:
        raise CrdtError(f"cannot edit a document: pycrdt made an invalid update: {error}") from error
    return update


def byte_index(text: str, characters: int) -> int:
    """The byte index of a character for pycrdt (VW4); an index beyond the end becomes the end."""
    return len(text[:characters].encode())


def show(merged: bytes) -> bytes:
    """A document in the form that a `Doc` can load (VW1): for reading and editing, never to be stored.

    Raises:
        CrdtError: pycrdt cannot read the document.
    """
    try:
        return show_letters(show_numbers(show_halves(squash(merged))))
    except UpdateError as error:
        raise CrdtError(f"cannot read a document: {error}") from error


def _open(merged: bytes) -> tuple[pycrdt.Doc[Any], dict[str, RootKind]]:
    return _load(show(merged))


def _load(shown: bytes, client: int | None = None) -> tuple[pycrdt.Doc[Any], dict[str, RootKind]]:
    try:
        kinds = root_kinds(shown)
    except UpdateError as error:
        raise CrdtError(f"cannot read a document: {error}") from error
    with _READING:
        doc: pycrdt.Doc[Any] = pycrdt.Doc(client_id=client)
        doc.apply_update(shown)
    return doc, kinds


def _plain(value: Any) -> Any:
    if isinstance(value, pycrdt.Text):
        return "".join(part for part, _ in value.diff() if isinstance(part, str))
    if isinstance(value, pycrdt.XmlFragment | pycrdt.XmlElement | pycrdt.XmlText):
        return str(value)
    if isinstance(value, pycrdt.Map | dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, pycrdt.Array | list):
        return [_plain(inner) for inner in value]
    if isinstance(value, float):
        if not math.isfinite(value):
            return None  # as JSON.stringify has it
        return int(value) if value.is_integer() and abs(value) <= MAX_SAFE_INTEGER else value
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, pycrdt.Doc):
        return value.guid
    return value
