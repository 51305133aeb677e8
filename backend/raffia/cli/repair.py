"""Rebuilds a document from damaged data, without I/O.

Rules (tests quote these ids):
    RPR1  Everything passes the gate: updates that cannot be read, and those that depend on missing content, are left
          out and listed. What is kept is gap-free.
    RPR2  A snapshot that matches its checksums and can be read is trusted. Otherwise the document is rebuilt from the
          history: an older snapshot that can be trusted (or the very beginning), and the segments after it.
    RPR3  Entries, segments and snapshots that do not match their checksums are left out and listed, even if they can be
          read. Missing entries are listed too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime

from raffia.crdt.document import Document
from raffia.crdt.update import read_update
from raffia.errors import QuarantinedError, RaffiaError
from raffia.journal.entries import decode_batch, decode_updates, salvage_batch
from raffia.journal.protocol import Snapshot
from raffia.journal.stored import Stored, StoredEntry, StoredSegment, StoredSnapshot
from raffia.types import START


@dataclass(slots=True)
class Repaired:
    """What could be recovered.

    Attributes:
        document: gap-free; empty if nothing could be read.
        kept: the parts it was made from, one line each.
        lost: what was left out or is doubtful, one line each.
    """

    document: Document
    kept: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether no edit could be read."""
        return not self.document.clocks

    def snapshot(self) -> Snapshot:
        """The document folded into a snapshot.

        Raises:
            CrdtError, UpdateError: it cannot be folded.
        """
        document = self.document
        job = document.fold()
        document.folded(job, job.run())
        return Snapshot(document.base, document.index(document.base))


def repair(stored: Stored, *, keep_deleted: bool) -> Repaired:
    """Rebuild a document from what is stored (RPR1-RPR3)."""
    gate = _Gate(keep_deleted)
    present = next((one for one in stored.snapshots if one.upto == stored.folded), None)
    believed = _trusted(present, keep_deleted) if present is not None else None
    if believed is not None and present is not None:
        gate.begin(believed, _said(present))
    elif stored.folded:
        _from_history(gate, stored, present)
    _name_missing(gate.rescued, stored)
    entries = [entry for entry in stored.entries if entry.position > stored.folded]
    edits = [(name, update) for entry in entries for name, update in _edits(entry, gate.rescued)]
    if edits:
        gate.take_all(edits, f"{len(edits)} edits of {len(entries)} entries")
    return gate.rescued


class _Gate:
    """Adds updates to a document one by one (RPR1)."""

    def __init__(self, keep_deleted: bool) -> None:
        self.rescued = Repaired(Document(keep_deleted=keep_deleted))

    def begin(self, document: Document, name: str) -> None:
        """Start from a document that can be trusted."""
        self.rescued.document = document
        self.rescued.kept.append(name)

    def take_all(self, updates: list[tuple[str, bytes]], what: str) -> bool:
        """Add the ready parts of named updates, given in any order; returns whether that was all of them."""
        lost = self.rescued.lost
        lost_before = len(lost)
        waiting, before = updates, -1
        while waiting and before != self.rescued.document.version:
            before = self.rescued.document.version
            waiting = self._take_some(waiting)
        lost += (f"{name}, {len(rest)} bytes of it: depends on missing content" for name, rest in waiting)
        left_out = len(lost) - lost_before
        self.rescued.kept.append(what if not left_out else f"{what}, without {left_out} of them or parts of those")
        return not left_out

    def _take_some(self, updates: list[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
        """Add the ready part of each update; returns the parts that are not ready."""
        document = self.rescued.document
        waiting = []
        for name, update in updates:
            try:
                admission = document.admit(update, read_update(update))
                document.absorb(admission)
                document.pack()
            except RaffiaError as error:
                self.rescued.lost.append(f"{name}, {len(update)} bytes: {error}")
                continue
            if admission.waiting is not None:
                waiting.append((name, admission.waiting))
        return waiting


def _from_history(gate: _Gate, stored: Stored, present: StoredSnapshot | None) -> None:
    """Start from an older snapshot and the segments after it; fill in from the damaged one (RPR2)."""
    document = gate.rescued.document
    lost = gate.rescued.lost
    lost.append("the snapshot is missing" if present is None else f"{_said(present)} is damaged")
    older = [one for one in stored.snapshots if one.upto < stored.folded]
    start = START
    for stone in reversed(older):
        believed = _trusted(stone, document.keep_deleted)
        if believed is not None:
            gate.begin(believed, f"the older {_said(stone)}")
            start = stone.upto
            break
    segments = [segment for segment in stored.segments if segment.last > start]
    updates = [(name, update) for segment in segments for name, update in _updates(segment, gate.rescued)]
    if updates:
        gate.take_all(updates, f"{len(segments)} segments of the history")
    if present is not None and not _covers(gate.rescued.document, present):
        lost.append(f"content that only {_said(present)} has")


def _name_missing(rescued: Repaired, stored: Stored) -> None:
    """List the entries that are gone (RPR3)."""
    there = {entry.position for entry in stored.entries}
    missing = [position for position in range(stored.folded + 1, stored.position + 1) if position not in there]
    for first, last in _runs(missing):
        rescued.lost.append(f"entry {first}: missing" if first == last else f"entries {first} to {last}: missing")


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """Group consecutive numbers."""
    first = 0
    for index, number in enumerate(numbers):
        if index + 1 == len(numbers) or numbers[index + 1] != number + 1:
            yield numbers[first], number
            first = index + 1


def _covers(document: Document, present: StoredSnapshot) -> bool:
    """Whether a document has everything that a snapshot had, judging by the snapshot's index."""
    clocks = Document.clocks_of_index(present.index)
    if clocks is None:
        return False
    return all(document.clocks.get(client, 0) >= clock for client, clock in clocks.items())


def _trusted(snapshot: StoredSnapshot, keep_deleted: bool) -> Document | None:
    """The document of a snapshot, read from its state alone; None if the snapshot cannot be trusted (RPR2)."""
    if not snapshot.is_whole:
        return None
    try:
        return Document.from_state(snapshot.state, keep_deleted=keep_deleted)
    except RaffiaError:
        return None  # it was already damaged when it was written; the history may be better


def _updates(segment: StoredSegment, rescued: Repaired) -> Iterator[tuple[str, bytes]]:
    name = f"history of {_who(segment.author)} at {_when(segment.window_ms)}"
    if not segment.is_whole:
        rescued.lost.append(f"{name}: {len(segment.body)} bytes do not match their checksum")
        return
    try:
        updates = decode_updates(segment.body)
    except QuarantinedError as error:
        rescued.lost.append(f"{name}: {error}")
        return
    yield from ((name, update) for update in updates)


def _edits(entry: StoredEntry, rescued: Repaired) -> Iterator[tuple[str, bytes]]:
    if not entry.is_whole:
        rescued.lost.append(f"entry {entry.position}: {len(entry.body)} bytes do not match their checksum")
        return
    try:
        batch = decode_batch(entry.body)
    except QuarantinedError as error:
        batch = tuple(salvage_batch(entry.body))
        rescued.lost.append(f"entry {entry.position}, all but {len(batch)} edits of it: {error}")
    for edit in batch:
        yield f"edit of {_who(edit.author)} at {_when(edit.time_ms)} in entry {entry.position}", edit.update


def _said(snapshot: StoredSnapshot) -> str:
    return f"snapshot of {len(snapshot.state)} bytes up to position {snapshot.upto}"


def _who(author: str | None) -> str:
    return "an anonymous author" if author is None else repr(author)


def _when(time_ms: int) -> str:
    try:
        return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{time_ms} ms"  # damaged too
