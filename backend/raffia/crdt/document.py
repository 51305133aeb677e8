"""A document as raw updates: base, tail, clocks and known deletes. No I/O and no `Doc`.

It is also the gate: only the part of an incoming update that is new and ready becomes part of the document.

Rules:
    D1  Base and tail together are gap-free: they contain a struct only after everything that it refers to.
    D2  Structs below the known clock are cut off, so that an update can never rewrite known content.
    D3  For each client, the longest ready prefix is admitted; the rest waits and is not sent to other clients.
    D4  Deletes of unknown structs wait; deletes that are already known are dropped.
    D5  An update that is entirely new and ready is kept byte for byte (surrogates untouched).
    D6  If the tail has deletes, new clients get a squashed document without deleted text, unless `keep_deleted` is set.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from struct import Struct
from zlib import crc32

from raffia.crdt.gate import index_at, ready_prefixes, slice_structs
from raffia.crdt.merge import diff, merge
from raffia.crdt.ranges import IdRanges
from raffia.crdt.squash import squash
from raffia.crdt.update import (
    UpdateFacts,
    read_state_vector,
    read_update,
    write_state_vector,
    write_update,
)
from raffia.errors import UpdateError
from raffia.types import EMPTY_UPDATE

# This many updates in the tail are merged and squashed into one piece: 4 us per update, amortised.
TAIL_PIECE_UPDATES = 256
# Pieces of the tail are joined with their neighbours up to this size; larger ones stay until the next fold.
TAIL_PIECE_BYTES = 32 * 1024
INDEX_VERSION = 1
_INDEX_HEAD = Struct(">BII")  # version, CRC-32 of the state, bytes of the state vector that follows

Range = tuple[int, int]
Deletes = list[tuple[int, list[Range]]]


@dataclass(slots=True)
class Admission:
    """How the gate splits one update.

    Attributes:
        ready: the part that is new and ready, as an update; None if there is none.
        waiting: the part that refers to missing structs, as an update (may contain Skips); None if there is none.
        needs: (client, clock) pairs; at least one must become known before `waiting` is worth trying again.
        ends: (client, next clock) pairs after `ready` is absorbed.
        deletes: the new delete ranges in `ready`.
    """

    ready: bytes | None
    waiting: bytes | None
    needs: list[tuple[int, int]]
    ends: list[tuple[int, int]]
    deletes: Deletes


_NOTHING = Admission(None, None, [], [], [])


@dataclass(frozen=True, slots=True)
class Fold:
    """A job that squashes base and tail into a new base; it can run in another process.

    Attributes:
        parts: the updates to merge and squash.
        count: how many entries of the tail they cover.
        keep_deleted: whether to keep deleted content.
    """

    parts: tuple[bytes, ...]
    count: int
    keep_deleted: bool

    def run(self) -> bytes:
        """Merge and squash; a pure function of the job."""
        return squash(merge(self.parts), keep_deleted=self.keep_deleted)


class Document:
    """The content of one document, and its gate.

    Attributes:
        base: the squashed part.
        clocks: maps client ids to their next clocks, over base and tail.
        deletes: all known deleted ids.
        version: increases by one with every change; caches are keyed by it.
        tail_bytes: size of the tail in bytes.
    """

    __slots__ = (
        "_fresh",
        "_known_step2",
        "_merged",
        "_pieces",
        "_state_vector",
        "_tail_deletes",
        "base",
        "clocks",
        "deletes",
        "deletes_version",
        "keep_deleted",
        "tail_bytes",
        "version",
    )

    def __init__(
        self,
        base: bytes = EMPTY_UPDATE,
        clocks: Mapping[int, int] | None = None,
        deletes: IdRanges | None = None,
        *,
        keep_deleted: bool = False,
    ) -> None:
        self.base = base
        self.clocks: dict[int, int] = dict(clocks or {})
        self.deletes = deletes if deletes is not None else IdRanges()
        self.keep_deleted = keep_deleted
        self.version = 0
        self.deletes_version = 0
        self.tail_bytes = 0
        self._pieces: list[bytes] = []  # squashed parts of the tail, oldest first
        self._fresh: list[bytes] = []  # updates since the last piece
        self._tail_deletes = False
        self._merged: tuple[int, bytes] | None = None
        self._state_vector: tuple[int, bytes] | None = None
        self._known_step2: tuple[int, bytes] | None = None

    # -- the gate -----------------------------------------------------------------------------------------------

    def admit(self, update: bytes, facts: UpdateFacts) -> Admission:
        """Split an update into a part that is new and ready, a part that waits, and a known part, which is dropped.

        This does not change the document; see `absorb`.

        Args:
            update: bytes that the strict reader has accepted.
            facts: what the strict reader found in them.
        """
        sections = facts.sections
        clocks = self.clocks
        if len(sections) == 1:
            section = sections[0]
            if clocks.get(section.client, 0) == section.start and not section.skips:
                for _, client, clock in section.refs:
                    if clocks.get(client, 0) <= clock:
                        break
                else:
                    if not facts.deletes:
                        return Admission(update, None, [], [(section.client, section.end)], [])
                    return self._admit_deletes(update, facts, {section.client: section.end})
        elif not sections:
            if not facts.deletes:
                return _NOTHING
            return self._admit_deletes(update, facts, {})
        return self._admit_any(update, facts)

    def _admit_deletes(self, update: bytes, facts: UpdateFacts, ends: dict[int, int]) -> Admission:
        """Admit an update whose structs are all ready, so that only its deletes have to be sorted."""
        ready, waiting, needs = self._sort_deletes(facts.deletes, ends)
        if not waiting and _count(ready) == _count(facts.deletes):
            return Admission(update, None, [], list(ends.items()), ready)  # D5
        structs = [(s.client, s.start, len(s.clocks), update[s.offsets[0] : s.stop]) for s in facts.sections]
        return Admission(
            write_update(structs, ready) if structs or ready else None,
            write_update([], waiting) if waiting else None,
            needs,
            list(ends.items()),
            ready,
        )

    def admit_deletes(self, facts: UpdateFacts) -> Admission | None:
        """Admit only an update's new deletes of known structs; None if there are none. See `admit`."""
        ready, _, _ = self._sort_deletes(facts.deletes, {})
        return Admission(write_update([], ready), None, [], [], ready) if ready else None

    def _sort_deletes(
        self, deletes: Deletes, ends: Mapping[int, int]
    ) -> tuple[Deletes, Deletes, list[tuple[int, int]]]:
        """Split delete ranges into new ones for known structs and ones that wait (D4)."""
        ready: Deletes = []
        waiting: Deletes = []
        needs: list[tuple[int, int]] = []
        for client, ranges in deletes:
            known = ends.get(client)
            if known is None:
                known = self.clocks.get(client, 0)
            within = ranges
            if ranges and ranges[-1][1] > known:
                later = [(max(start, known), end) for start, end in ranges if end > known]
                within = [(start, min(end, known)) for start, end in ranges if start < known]
                waiting.append((client, later))
                needs.append((client, later[0][0]))
            new = self.deletes.new_parts(client, within)
            if new:
                ready.append((client, new))
        return ready, waiting, needs

    def _admit_any(self, update: bytes, facts: UpdateFacts) -> Admission:
        """Admit an update of any shape: overlaps, gaps, several clients."""
        if self._cuts_a_struct(facts):
            known = {s.client: self.clocks.get(s.client, 0) for s in facts.sections}
            # Otherwise a hostile overlap would rewrite known content, since merging prefers the lower start (D2).
            update = diff(update, write_state_vector({c: k for c, k in known.items() if k}))
            facts = read_update(update)
        progress = ready_prefixes(facts.sections, self.clocks)
        ends: dict[int, int] = {}
        ready: list[tuple[int, int, int, bytes]] = []
        rest: list[tuple[int, int, int, bytes]] = []
        needs: list[tuple[int, int]] = []
        for section, state in zip(facts.sections, progress, strict=True):
            if state.stop > state.first:
                ends[section.client] = state.clock
                ready.append(slice_structs(update, section, state.first, state.stop))
            if state.stop < len(section.clocks):
                rest.append(slice_structs(update, section, state.stop, len(section.clocks)))
                if state.needs is not None:
                    needs.append(state.needs)
        deletes, later, delete_needs = self._sort_deletes(facts.deletes, ends)
        if not rest and not later and all(p.first == 0 for p in progress) and _count(deletes) == _count(facts.deletes):
            return Admission(update, None, [], list(ends.items()), deletes)  # D5
        return Admission(
            write_update(ready, deletes) if ready or deletes else None,
            write_update(rest, later) if rest or later else None,
            needs + delete_needs,
            list(ends.items()),
            deletes,
        )

    def _cuts_a_struct(self, facts: UpdateFacts) -> bool:
        """Whether a known clock falls inside a struct (not a Skip) of the update."""
        for section in facts.sections:
            known = self.clocks.get(section.client, 0)
            if section.start < known < section.end and index_at(section, known) is None:
                return True
        return False

    def absorb(self, admission: Admission) -> None:
        """Add the ready part of an admission to the document.

        The document must not have changed since `admit` returned the admission.
        """
        if admission.ready is None:
            return
        self.clocks.update(admission.ends)
        if admission.deletes:
            self._tail_deletes = True
            self.deletes_version += 1
            for client, ranges in admission.deletes:
                self.deletes.add_all(client, ranges)
        if len(admission.ready) > TAIL_PIECE_BYTES:
            self._pieces.append(admission.ready)  # squashed by the next fold, outside the event loop
        else:
            self._fresh.append(admission.ready)
        self.tail_bytes += len(admission.ready)
        self.version += 1

    def pack(self) -> None:
        """Squash the fresh updates into a piece if there are many, and join it with smaller neighbours.

        Each byte is squashed O(log n) times in total.
        """
        if len(self._fresh) < TAIL_PIECE_UPDATES:
            return
        piece = squash(merge(self._fresh), keep_deleted=self.keep_deleted)
        self._fresh = []
        while self._pieces and len(self._pieces[-1]) <= 2 * len(piece) <= TAIL_PIECE_BYTES:
            piece = squash(merge([self._pieces.pop(), piece]), keep_deleted=self.keep_deleted)
        self._pieces.append(piece)
        self.tail_bytes = sum(map(len, self._pieces))

    # -- reading ------------------------------------------------------------------------------------------------

    @property
    def size_bytes(self) -> int:
        """Size of base and tail together, in bytes."""
        return len(self.base) + self.tail_bytes

    @property
    def tail(self) -> list[bytes]:
        """The updates since the base, in order; some of them squashed together."""
        return self._pieces + self._fresh

    def state_vector(self) -> bytes:
        """The state vector of base and tail."""
        if self._state_vector is None or self._state_vector[0] != self.version:
            self._state_vector = (self.version, write_state_vector(self.clocks))
        return self._state_vector[1]

    def merged(self) -> bytes:
        """Base and tail as one update, cached by version. This is slow for a large document."""
        if self._merged is None or self._merged[0] != self.version:
            tail = self.tail
            self._merged = (self.version, merge([self.base, *tail]) if tail else self.base)
        return self._merged[1]

    def since(self, state_vector: bytes) -> bytes:
        """What a client with this state vector lacks, with the whole delete set (state vectors do not cover deletes).

        Raises:
            UpdateError: not a valid state vector.
        """
        clocks = read_state_vector(state_vector)
        if not clocks:
            return self.merged()
        return diff(self.merged(), state_vector)

    def known_step2(self) -> bytes:
        """The step 2 of a client that has exactly our content: no structs, and our whole delete set.

        Comparing bytes saves reading the deletes of a long document, which takes 1.9 ms at every join.
        """
        if self._known_step2 is None or self._known_step2[0] != self.deletes_version:
            self._known_step2 = (self.deletes_version, b"\x00" + self.deletes.encode())
        return self._known_step2[1]

    # -- folding ------------------------------------------------------------------------------------------------

    @property
    def needs_fold_for_newcomers(self) -> bool:
        """Whether base and tail contain deleted content (D6)."""
        return self._tail_deletes and not self.keep_deleted

    def fold(self) -> Fold:
        """The job that squashes base and tail into a new base; pass its result to `folded`."""
        tail = self.tail
        return Fold((self.base, *tail), len(tail), self.keep_deleted)

    def folded(self, job: Fold, base: bytes) -> None:
        """Replace the base with the result of a fold; updates that were absorbed meanwhile stay in the tail.

        Raises:
            ValueError: another fold finished meanwhile.
        """
        if job.parts[0] is not self.base:
            raise ValueError("another fold replaced the base while this one ran")
        # Parts that `pack` joined meanwhile are in both base and tail, which is harmless.
        covered = {id(part) for part in job.parts}
        self._pieces = [piece for piece in self._pieces if id(piece) not in covered]
        self._fresh = [update for update in self._fresh if id(update) not in covered]
        self.base = base
        self.tail_bytes = sum(map(len, self._pieces)) + sum(map(len, self._fresh))
        self._tail_deletes = bool(self._pieces) or any(update[0] == 0 or update[-1] != 0 for update in self._fresh)
        self._merged = None

    # -- the index that is stored with a snapshot -----------------------------------------------------------------

    def index(self, state: bytes) -> bytes:
        """Clocks and delete ranges, to be stored with a snapshot (reading them from a large state takes 31 ms).

        Args:
            state: the snapshot's state; the index has its checksum, so that damage is detected.
        """
        state_vector = self.state_vector()
        head = _INDEX_HEAD.pack(INDEX_VERSION, crc32(state), len(state_vector))
        return head + state_vector + self.deletes.encode()

    @staticmethod
    def is_index_of(index: bytes, state: bytes) -> bool:
        """Whether the checksum in an index matches a snapshot's state."""
        if len(index) < _INDEX_HEAD.size or index[0] != INDEX_VERSION:
            return False
        return int(_INDEX_HEAD.unpack_from(index)[1]) == crc32(state)

    @staticmethod
    def clocks_of_index(index: bytes) -> dict[int, int] | None:
        """The clocks in an index, without looking at its state; None if the index is damaged."""
        if len(index) < _INDEX_HEAD.size or index[0] != INDEX_VERSION:
            return None
        end = _INDEX_HEAD.size + int(_INDEX_HEAD.unpack_from(index)[2])
        try:
            return read_state_vector(index[_INDEX_HEAD.size : end])
        except UpdateError:
            return None

    @classmethod
    def from_snapshot(cls, state: bytes, index: bytes, *, keep_deleted: bool = False) -> Document:
        """Rebuild a document from a snapshot.

        Raises:
            UpdateError: index or state is damaged, or they do not belong together.
        """
        if len(index) < _INDEX_HEAD.size or index[0] != INDEX_VERSION:
            raise UpdateError(f"snapshot index starts with {index[:5].hex() or 'nothing'}; this Raffia reads version 1")
        _, checksum, size = _INDEX_HEAD.unpack_from(index)
        if checksum != crc32(state):
            raise UpdateError(f"snapshot of {len(state)} bytes has checksum {crc32(state):08x}, not {checksum:08x}")
        end = _INDEX_HEAD.size + size
        clocks = read_state_vector(index[_INDEX_HEAD.size : end])
        return cls(state, clocks, IdRanges.decode(index[end:]), keep_deleted=keep_deleted)

    @classmethod
    def from_state(cls, state: bytes, *, keep_deleted: bool = False) -> Document:
        """Build a document from any gap-free update, reading clocks and deletes from it.

        Raises:
            UpdateError: the strict reader does not accept it, or it is not gap-free.
        """
        document = cls(keep_deleted=keep_deleted)
        admission = document.admit(state, read_update(state))
        if admission.waiting is not None:
            raise UpdateError(f"the state of {len(state)} bytes refers to structs that it does not contain")
        document.absorb(admission)
        return document


def _count(deletes: Sequence[tuple[int, Sequence[Range]]]) -> int:
    """How many ids the ranges cover."""
    return sum(end - start for _, ranges in deletes for start, end in ranges)
