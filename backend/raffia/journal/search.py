"""Which documents a listing shows, in which order, and where a page ends.

Rules (tests quote these ids):
    JS1  A listing is ordered by name, or newest first by the last edit (of deleted documents: by the deletion). The
        order by time may lag by `EDITED_MS`; the times that are shown do not.
    JS2  A page ends with a cursor that stays good whatever is added or removed meanwhile. It names the last document
         that is shown; of a page that shows none, because JS3 ends it, the last that was looked at.
    JS3  Work is bounded: one call looks at `Where.most` documents at most. A page may end early then, with a cursor,
        and `total` counts what was found among the first `most`.
    JS4  Titles are compared without case and compatibility forms; a document without a title is found by its name.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from raffia.errors import MalformedError

Order = Literal["name", "edited"]
EDITED_MS = 5000
MAX_LIMIT = 2000
CHUNK = 200  # documents that are looked at in one go

Row = tuple[str, str | None, str | None]  # name, title, kind


def plain(text: str) -> str:
    """A text as it is compared (JS4)."""
    return unicodedata.normalize("NFKC", text).casefold()


@dataclass(frozen=True, slots=True)
class Where:
    """What a document has to be in order to be listed.

    Attributes:
        search: part of the title; empty for all.
        kind: None for all.
        allowed: says of a name whether it may be shown; None for all. Called anywhere, also on another thread.
        most: how many documents are looked at (JS3).
    """

    search: str = ""
    kind: str | None = None
    allowed: Callable[[str], bool] | None = None
    most: int = MAX_LIMIT

    def filter(self) -> Callable[[Row], bool]:
        """The filter, made once for many documents."""
        search, kind, allowed = plain(self.search), self.kind, self.allowed

        def matches(row: Row) -> bool:
            name, title, found = row
            if kind is not None and found != kind:
                return False
            if allowed is not None and not allowed(name):
                return False
            return not search or search in plain(name if title is None else title)

        return matches


def cursor_of(time_ms: int, name: str) -> str:
    """Where a page by time ends."""
    return f"{time_ms}~{name}"


def read_cursor(cursor: str) -> tuple[int, str]:
    """What `cursor_of` wrote.

    Raises:
        MalformedError: it did not.
    """
    time_ms, mark, name = cursor.partition("~")
    if not mark or not time_ms.isascii() or not time_ms.isdigit() or len(time_ms) > 15:
        raise MalformedError(f"after={cursor[:40]!r} is not where a page by time ended; pass `following` as it came")
    return int(time_ms), name
