"""Whether linear work on a document takes so little time that the event loop may do it.

Rules (tests quote these ids):
    QK1  The estimate is made from numbers that the document keeps: its size, its clients and its delete ranges. It
         takes microseconds, whatever the document is like.
    QK2  Work is quick up to `QUICK_BYTES`, `QUICK_CLIENTS` and `QUICK_RANGES`: about 10 ms at most, since a struct
         takes 1 us to read and at least 2 bytes.
    QK3  Loading a `Doc` is not linear: it grows with the square of the insertions that conflict. It is quick only up to
         `QUICK_DOC_BYTES`.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import Final

from raffia.crdt.document import Document

QUICK_BYTES: Final = 24 * 1024
QUICK_CLIENTS: Final = 500  # a client takes 4 us to read
QUICK_RANGES: Final = 2000
QUICK_DOC_BYTES: Final = 4 * 1024  # 400 conflicting insertions; 20 ms


def is_quick(document: Document, *, loads_doc: bool = False) -> bool:
    """Whether linear work on a document is quick (QK1, QK2).

    Args:
        document: the document.
        loads_doc: whether the work loads a `Doc` (QK3).
    """
    return (
        document.size_bytes <= (QUICK_DOC_BYTES if loads_doc else QUICK_BYTES)
        and len(document.clocks) <= QUICK_CLIENTS
        and document.deletes.clients <= QUICK_CLIENTS
        and document.deletes.count <= QUICK_RANGES
    )
