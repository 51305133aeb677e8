"""Which documents a listing shows, in which order, and where a page ends.

Rules (tests quote these ids):
    JS1  A listing is ordered by name, or by last edit, newest first (deleted documents by time of deletion). The
        order by time may lag by `EDITED_MS`; the times shown do not.
    JS2  A page ends with a cursor that stays valid whatever is added or removed later. It names the last document
        shown; if JS3 ends the page before any is shown, the last document examined.
    JS3  Work is bounded: one call examines at most `Where.most` documents. A page may then end early, with a cursor,
        and `total` counts the matches among the first `most`.
    JS4  Titles are compared ignoring case and compatibility forms; a document without a title is found by its name.
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
CHUNK = 200  # documents examined at a time

Row = tuple[str, str | None, str | None]  # name, title, kind


def plain(text: str) -> str:
    """Normalise a text for comparison (JS4)."""
    return unicodedata.normalize("NFKC", text).casefold()


@dataclass(frozen=True, slots=True)
class Where:
    """Which documents a listing shows.

    Attributes:
        search: part of the title; empty for all.
        kind: None for all.
        allowed: returns whether a name may be shown; None for all. May be called on another thread.
        most: how many documents are examined (JS3).
    """

    search: str = ""
    kind: str | None = None
    allowed: Callable[[str], bool] | None = None
    most: int = MAX_LIMIT

    def filter(self) -> Callable[[Row], bool]:
        """Build the filter once, for many documents."""
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
    """Return the cursor of a page by time."""
    return f"{time_ms}~{name}"


def read_cursor(cursor: str) -> tuple[int, str]:
    """Read what `cursor_of` wrote.

    Raises:
        MalformedError: it is anything else.
    """
    time_ms, mark, name = cursor.partition("~")
    if not mark or not time_ms.isascii() or not time_ms.isdigit() or len(time_ms) > 15:
        raise MalformedError(f"after={cursor[:40]!r} is not where a page by time ended; pass `following` as it came")
    return int(time_ms), name
