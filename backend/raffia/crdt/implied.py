"""Deletes implied by the content, as editors compute them: concurrent map sets, inserts into deleted types."""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Sequence

from pycrdt import Doc, Text

from raffia.crdt.halves import show_halves
from raffia.crdt.merge import Guard, merge
from raffia.crdt.numbers import show_numbers
from raffia.crdt.ranges import IdRanges
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update


def implied_deletes(parts: Sequence[bytes]) -> IdRanges:
    """All ids that are deleted once a document has been loaded. This takes as long as loading it into a view.

    Args:
        parts: the updates that make up the document, without gaps.

    Raises:
        CrdtError: pycrdt cannot load it.
    """
    state = show_numbers(show_halves(squash(merge(parts))))
    with Guard("load the document"):
        doc: Doc[Text] = Doc()
        doc.apply_update(state)
        encoded = doc.get_update(doc.get_state())
    return IdRanges(read_update(encoded).deletes)
