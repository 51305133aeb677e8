"""What must hold after a fault, observed from outside.

Rules:
    I1  Every acknowledged insert is there unless its delete was sent; every acknowledged delete is done.
    I2  All copies are equal: each loaded into a fresh document, the re-encoded bytes and the content are compared.
        State vectors alone would hide divergence: deletes are not in them.
    I4  A replica without clients is back at the number of file descriptors and, within a margin, the memory that it
        had before.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pycrdt

from tests.faults.replicas.provider import ROOT, Provider
from tests.support.client import fresh_reader

TOKEN = re.compile(r"<[0-9]+\.[0-9]+é😀>")
SHOWN = 5

# What CPython and glibc keep after a peak: pools that one object holds, arenas of threads. Replicas that had served a
# dozen people and closed their rooms kept 1 to 9 MB; a leak of everything typed in a long row would be several times
# this margin.
RSS_MARGIN_BYTES = 24_000_000
# Connections to Redis come and go by themselves: one per lane, and one that is being replaced.
FDS_MARGIN = 4


def fresh(updates: Iterable[bytes]) -> pycrdt.Doc[pycrdt.Text]:
    """A new document of these updates, encoded and loaded again, so that their order makes no difference."""
    first: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    for update in updates:
        first.apply_update(update)
    second: pycrdt.Doc[pycrdt.Text] = pycrdt.Doc()
    second.apply_update(first.get_update())
    return second


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy of a document, which can be compared (I2)."""

    encoded: bytes
    text: str

    @classmethod
    def of(cls, updates: Iterable[bytes]) -> Copy:
        doc = fresh(updates)
        return cls(doc.get_update(), str(doc.get(ROOT, type=pycrdt.Text)))

    @property
    def tokens(self) -> set[str]:
        return set(TOKEN.findall(self.text))


async def read_fresh(ws: str, document: str) -> Copy:
    """The copy that a new client gets, which holds and sends nothing."""
    async with await fresh_reader(ws, document, inspect=True) as reader:
        assert reader.skips == [], "no gap may ever be sent"
        return Copy.of(reader.updates)


@dataclass(frozen=True, slots=True)
class Promise:
    """What had been acknowledged to one person at a given moment.

    Taken before a reader loads: it need not have what is acknowledged while it loads.
    """

    provider: Provider
    inserts: frozenset[str]
    deletes: frozenset[str]

    @classmethod
    def of(cls, provider: Provider) -> Promise:
        done = [operation for operation in provider.log if operation.acknowledged]
        return cls(
            provider,
            frozenset(operation.token for operation in done if not operation.deletes),
            frozenset(operation.token for operation in done if operation.deletes),
        )

    def __len__(self) -> int:
        return len(self.inserts) + len(self.deletes)

    def broken_by(self, there: set[str]) -> list[str]:
        """The part of it that a reader does not find (I1)."""
        sent_deletes = {operation.token for operation in self.provider.log if operation.deletes}
        undone = sorted(self.deletes & there)
        return sorted(self.inserts - there - sent_deletes) + [f"deleted, but there: {token}" for token in undone]


def unequal(copies: Mapping[str, Copy]) -> str:
    """How the copies of one document differ, in words; empty if they are equal (I2)."""
    (first, one), *others = copies.items()
    said = []
    for name, other in others:
        if other == one:
            continue
        lacks, has = sorted(one.tokens - other.tokens), sorted(other.tokens - one.tokens)
        said.append(
            f"{name} differs from {first}: lacks {len(lacks)} {lacks[:SHOWN]}, has {len(has)} more {has[:SHOWN]}, "
            f"{len(other.encoded)} and {len(one.encoded)} bytes"
        )
    return "; ".join(said)


@dataclass(frozen=True, slots=True)
class Footprint:
    """The memory and file descriptors of a process (I4)."""

    rss_bytes: int
    fds: int

    @classmethod
    def of(cls, pid: int) -> Footprint:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        return cls(pages * os.sysconf("SC_PAGE_SIZE"), len(os.listdir(f"/proc/{pid}/fd")))  # noqa: PTH208

    def grown_since(self, before: Footprint, margin_bytes: int = RSS_MARGIN_BYTES) -> str:
        """What has grown beyond the margins, in words; empty if nothing has."""
        said = []
        if self.fds > before.fds + FDS_MARGIN:
            said.append(f"{self.fds} file descriptors are open, {before.fds} before")
        if self.rss_bytes > before.rss_bytes + margin_bytes:
            said.append(f"{self.rss_bytes} bytes are resident, {before.rss_bytes} before")
        return "; ".join(said)
