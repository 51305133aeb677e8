"""Tools of the contract suite: a clock, real updates, and short names for common steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from raffia.crdt.merge import merge
from raffia.crdt.squash import squash
from raffia.journal.protocol import Entry, Followed, Journal
from raffia.types import EMPTY_UPDATE, DocumentId, Edit

DOCUMENT = DocumentId("team:e/notes")
OTHER = DocumentId("team:e/notes-2")
BEGIN_MS = 1_760_000_000_000
DEADLINE_S = 10


class Clock:
    """A clock that moves only when told to; call it for the time in Unix milliseconds.

    Attributes:
        now_ms: what a system clock shows.
        passed_ms: what a monotonic clock shows.
    """

    def __init__(self, now_ms: int = BEGIN_MS) -> None:
        self.now_ms = now_ms
        self.passed_ms = 0

    def __call__(self) -> int:
        """Return the time."""
        return self.now_ms

    def elapsed_ms(self) -> int:
        """Return the time of the monotonic clock."""
        return self.passed_ms

    def advance(self, by_ms: int) -> None:
        """Let time pass."""
        self.now_ms += by_ms
        self.passed_ms += by_ms

    def jump(self, by_ms: int) -> None:
        """Set the system clock to another time."""
        self.now_ms += by_ms


class Typist:
    """Makes real updates: one Yjs client that appends to the text "t", and deletes.

    Args:
        client: its client id, below 128.

    Attributes:
        all: everything it has typed, as one update.
    """

    def __init__(self, client: int) -> None:
        self.client = client
        self.clock = 0
        self.all = EMPTY_UPDATE

    def type(self, text: str) -> bytes:
        """Insert a text after this client's last one."""
        content = text.encode()
        # A string that is the first child of the root type "t", or is to the right of the last character.
        head = b"\x84" + bytes([self.client]) + _varuint(self.clock - 1) if self.clock else b"\x04\x01\x01t"
        update = bytes([1, 1, self.client]) + _varuint(self.clock) + head + _varuint(len(content)) + content + b"\x00"
        self.clock += len(text.encode("utf-16-le")) // 2
        self.all = merge([self.all, update])
        return update

    def delete(self, start: int, length: int) -> bytes:
        """Delete a range of this client's own characters."""
        return bytes([0, 1, self.client, 1]) + _varuint(start) + _varuint(length)


def _varuint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def edit(update: bytes, time_ms: int = BEGIN_MS, author: str | None = "zoë 🦊") -> Edit:
    """Make an edit, with defaults."""
    return Edit(author, time_ms, update)


def canonical(updates: Sequence[bytes]) -> bytes:
    """Merge updates into a canonical form: equal bytes mean equal documents."""
    return squash(merge(updates)) if updates else EMPTY_UPDATE


def updates_of(entries: Sequence[Entry]) -> list[bytes]:
    """Return all updates of some entries, in order."""
    return [one.update for entry in entries for one in entry.batch]


async def content(journal: Journal, document: DocumentId = DOCUMENT) -> bytes:
    """Load a document and return it in canonical form."""
    loaded = await journal.load(document)
    snapshot = [loaded.snapshot.state] if loaded.snapshot is not None else []
    return canonical([*snapshot, *updates_of(loaded.entries)])


async def take(iterator: AsyncIterator[Followed], count: int) -> list[Followed]:
    """Take the next items of a `follow`, with a deadline."""
    async with asyncio.timeout(DEADLINE_S):
        return [await anext(iterator) for _ in range(count)]
