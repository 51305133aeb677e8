"""Targets for documents: whole sequences of updates, and both ways of merging side by side."""

from __future__ import annotations

import random

from raffia.crdt import update as reader
from raffia.crdt.document import Document
from raffia.crdt.merge import diff, merge, state_vector
from raffia.crdt.ranges import IdRanges
from raffia.crdt.splice import diff_exactly, merge_exactly, state_vector_exactly
from raffia.crdt.squash import squash
from raffia.crdt.view import View
from raffia.errors import CrdtError, UpdateError
from tools.fuzz.corpus import Corpus, killers
from tools.fuzz.grammar import make_update
from tools.fuzz.histories import make_history
from tools.fuzz.mutate import mutate, mutate_one
from tools.fuzz.parts import join, mutate_parts, split
from tools.fuzz.targets import BrokenError, Gate, check, readable


def held(update: bytes) -> dict[int, list[tuple[int, int]]]:
    """The clocks that an update holds, without Skips."""
    found = IdRanges()
    for section in readable(update, "what is compared").sections:
        skips = IdRanges([(section.client, section.skips)])
        found.update([(section.client, skips.new_parts(section.client, [(section.start, section.end)]))])
    return {client: ranges for client, ranges in found if ranges}


def deleted(update: bytes) -> IdRanges:
    """The ids that an update deletes."""
    return IdRanges.decode(update[readable(update, "what is compared").deletes_at :])


class Documents(Gate):
    """A new document gets a sequence of updates; hot, cold and folded copies agree after the last one."""

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.4:
            updates = make_history(rng)
            if rng.random() < 0.5:
                rng.shuffle(updates)
            return join(updates)
        return join(super(Documents, self).make(rng) for _ in range(rng.randint(1, 8)))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_parts(rng, data, super().make, mutate_one)

    def seeds(self) -> list[bytes]:
        rng = random.Random(5)
        return [join(self._corpus[:30]), *(join(make_history(rng)) for _ in range(10))]

    def run(self, data: bytes) -> None:
        self._fresh()
        refused: UpdateError | None = None
        parts = split(data)
        for part in parts:
            try:
                super().run(part)
            except UpdateError as error:
                refused = error
        self._compare()
        merged = self._document.merged()
        vector = readable_vector(state_vector(merged))
        check(vector == readable_vector(state_vector_exactly(merged)), "state vectors differ")
        check(vector == self._document.clocks, "the state vector is not the document's")
        # An update that is already known is accepted again.
        again = self._document.admit(merged, readable(merged, "merged"))
        check(again.ready is None and again.waiting is None, "the document's own state is news to it")
        if refused is not None and not self._document.version:
            raise refused


def readable_vector(vector: bytes) -> dict[int, int]:
    """The clocks of a state vector made by Raffia, without those of 0."""
    try:
        clocks = reader.read_state_vector(vector)
    except UpdateError as error:
        raise BrokenError(f"a state vector cannot be read: {error}: {vector.hex()[:200]}") from error
    return {client: clock for client, clock in clocks.items() if clock}


class Exact:
    """An accepted update: pycrdt and Raffia merge and diff it alike; squashing keeps ids and is idempotent."""

    def __init__(self, corpus: Corpus) -> None:
        self._inputs = corpus.updates + killers()
        self._base = merge_exactly([update for update in corpus.updates if not reader.read_update(update).deletes][:6])
        self._knows = reader.write_state_vector(Document.from_state(self._base).clocks)

    def make(self, rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.3:
            return make_update(rng)
        return merge_exactly(make_history(rng)) if kind < 0.5 else mutate(rng, self._inputs)

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        rng = random.Random(6)
        return [merge_exactly(make_history(rng)) for _ in range(20)]

    def run(self, data: bytes) -> None:
        facts = reader.read_update(data)
        squashed = squash(data)
        check(held(squashed) == held(data), "squashing changes ids")
        check(deleted(squashed) == deleted(data), "squashing changes deletes")
        check(squash(squashed) == squashed, "squashing twice gives something else")
        kept = squash(data, keep_deleted=True)
        check(held(kept) == held(data) and deleted(kept) == deleted(data), "squashing with what is deleted changes ids")
        check(squash(kept) == squashed, "squashing what was joined gives something else")
        news = diff_exactly(data, self._knows)  # the gate cuts what is known (M1)
        merged, exactly = merge([self._base, news]), merge_exactly([self._base, news])
        check(held(merged) == held(exactly), "merged ids differ")
        check(deleted(merged) == deleted(exactly), "merged deletes differ")
        check(merge_exactly([data]) == merge_exactly([merge_exactly([data])]), "merging alone is not done once")
        if not any(section.skips or section.start for section in facts.sections):
            # A document never diffs updates with gaps; pycrdt and Yjs cut them differently.
            known = {section.client: (section.start + section.end) // 2 for section in facts.sections[::2]}
            vector = reader.write_state_vector(known)
            check(held(diff(data, vector)) == held(diff_exactly(data, vector)), "ids of the diff differ")


class Views:
    """A view of an accepted update is computed or refused with an error; nothing ends the process."""

    def __init__(self, corpus: Corpus) -> None:
        self._inputs = corpus.updates

    def make(self, rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.3:
            return make_update(rng)
        return merge_exactly(make_history(rng)) if kind < 0.5 else mutate(rng, self._inputs)

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        return self._inputs[-20:]

    def run(self, data: bytes) -> None:
        reader.read_update(data)
        try:
            view = View(data)
            view.json()
            for root, kind in view.roots.items():
                _ = view.text(root) if kind == "text" else view.xml(root)
        except CrdtError:
            return  # refused with an error
