"""Deletes that the content implies: concurrent map sets, inserts into deleted types. An editor finds them by itself."""

from __future__ import annotations

from collections.abc import Iterable

from pycrdt import Doc, Text

from weft.crdt.halves import show_halves
from weft.crdt.merge import Guard
from weft.crdt.numbers import show_numbers
from weft.crdt.ranges import IdRanges
from weft.crdt.squash import squash
from weft.crdt.update import read_update


def implies_deletes(merged: bytes, deletes: Iterable[tuple[int, Iterable[tuple[int, int]]]]) -> bool:
    """Whether loading the document deletes all of these ids anyway. Long: as long as loading the document into a view.

    Args:
        merged: the document, as one gap-free update.
        deletes: client id -> ranges, end exclusive.

    Raises:
        CrdtError: pycrdt cannot load it.
    """
    state = show_numbers(show_halves(squash(merged)))
    with Guard("load the document"):
        doc: Doc[Text] = Doc()
        doc.apply_update(state)
        encoded = doc.get_update(doc.get_state())
    known = IdRanges(read_update(encoded).deletes)
    return not any(known.new_parts(client, ranges) for client, ranges in deletes)
