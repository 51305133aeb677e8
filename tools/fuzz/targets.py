"""The targets of the fuzzer: each takes bytes, and raises a named refusal or checks what it accepted.

Rules (tests quote these ids):
    FZT1  A refusal is one of REFUSALS. Any other exception, and any broken check, is a finding.
    FZT2  What is accepted goes further, as in the server: from the wire to the reader, the gate, merge, diff and
          squash.
    FZT3  A target may keep state between executions; a refusal must leave it usable.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from typing import Protocol

from raffia.crdt import update as reader
from raffia.crdt.document import Document
from raffia.crdt.merge import diff, merge
from raffia.crdt.squash import squash
from raffia.errors import (
    LaterError,
    PresenceError,
    QuarantinedError,
    TooLargeError,
    UnauthenticatedError,
    UpdateError,
    WireError,
)
from raffia.rooms.presence.entries import PresenceLimits
from raffia.rooms.presence.table import PresenceTable
from raffia.sockets.server.frames import FrameError
from raffia.wire import awareness, hocuspocus, lib0, ywebsocket
from raffia.wire.messages import Awareness, Message, Nothing, Step1, Step2, SyncStatusRequest, Update
from tools.fuzz.corpus import ADDRESSES, Corpus, killers
from tools.fuzz.grammar import make_update
from tools.fuzz.histories import Chances, make_history
from tools.fuzz.mutate import mutate, mutate_payload

REFUSALS = (
    *(WireError, UpdateError, PresenceError, TooLargeError),
    *(LaterError, QuarantinedError, UnauthenticatedError, FrameError),
)


class BrokenError(Exception):
    """A check that fails for an accepted input."""


def check(holds: bool, what: str) -> None:
    """Report a finding unless it holds."""
    if not holds:
        raise BrokenError(what)


def readable(update: bytes, what: str) -> reader.UpdateFacts:
    """Read what Raffia made of an accepted input: here a refusal is a finding."""
    try:
        return reader.read_update(update)
    except UpdateError as error:
        raise BrokenError(f"{what} cannot be read: {error}: {update.hex()[:200]}") from error


class Target(Protocol):
    """One thing to be fuzzed."""

    def make(self, rng: random.Random) -> bytes:
        """One input."""
        ...

    def run(self, data: bytes) -> None:
        """Execute it; raises a refusal (FZT1) or anything else, which is a finding."""
        ...


class Lib0:
    """The codec: what is read is written back as the same bytes."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus

    def make(self, rng: random.Random) -> bytes:
        return mutate(rng, self._corpus.numbers)

    def run(self, data: bytes) -> None:
        refused: WireError | None = None
        for codec in _CODECS:
            try:
                again, end = codec(data)
            except WireError as error:
                refused = error
                continue
            check(0 < end <= len(data), "reads past the end")
            check(again == data[:end], f"{codec.__name__} does not write back what it read")
        try:
            number, end = lib0.read_varint(data, 0)
            check(lib0.read_varint(lib0.write_varint(number), 0)[0] == number, "varInt does not round-trip")
        except WireError as error:
            refused = error
        if refused is not None:
            raise refused


def _varuint(data: bytes) -> tuple[bytes, int]:
    number, end = lib0.read_varuint(data, 0)
    return lib0.write_varuint(number), end


def _buf(data: bytes) -> tuple[bytes, int]:
    content, end = lib0.read_buf(data, 0)
    return lib0.write_buf(content), end


def _string(data: bytes) -> tuple[bytes, int]:
    text, end = lib0.read_string(data, 0)
    return lib0.write_string(text), end


_CODECS = (_varuint, _buf, _string)


def _further(message: Message) -> None:
    """Continue with a message as the server does (FZT2)."""
    if isinstance(message, (Step2, Update)):
        reader.read_update(message.update)
    elif isinstance(message, Step1):
        reader.read_state_vector(message.sv)
    elif isinstance(message, Awareness):
        PresenceTable().apply(message.payload, 1, 0.0)


class YWebsocket:
    """The y-websocket dialect; whole frames are damaged, or what is in them."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._contents = corpus.updates + corpus.payloads + corpus.state_vectors + killers()

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return mutate(rng, self._corpus.ywebsocket)
        encode = rng.choice((ywebsocket.update, ywebsocket.step1, ywebsocket.step2, ywebsocket.awareness))
        return encode(mutate(rng, self._contents))

    def run(self, data: bytes) -> None:
        message = ywebsocket.decode(data)
        again = _ywebsocket_frame(message)
        if again is not None:
            head, tail = data[: data.find(again)], data[data.find(again) + len(again) :]
            check(again in data and not any(head) and not any(tail), "the frame does not hold what was decoded")
        _further(message)


def _ywebsocket_frame(message: Message) -> bytes | None:
    match message:
        case Update(update):
            return ywebsocket.update(update)
        case Step1(sv):
            return ywebsocket.step1(sv)
        case Step2(update):
            return ywebsocket.step2(update)
        case Awareness(payload):
            return ywebsocket.awareness(payload)
        case SyncStatusRequest(payload):
            return ywebsocket.echo_status(payload)
        case Nothing():
            return b""
        case _:
            return None


class Hocuspocus:
    """The Hocuspocus dialect; whole frames are damaged, or what is in them."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._contents = corpus.updates + corpus.payloads + corpus.state_vectors + killers()

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.5:
            return mutate(rng, self._corpus.hocuspocus)
        encode = rng.choice((hocuspocus.update, hocuspocus.step1, hocuspocus.step2, hocuspocus.awareness))
        return encode(rng.choice(ADDRESSES), mutate(rng, self._contents))

    def run(self, data: bytes) -> None:
        address, message = hocuspocus.decode(data)
        name, session_id = hocuspocus.split_address(address)
        check("\0" not in name, "a name holds NUL")
        check(address == (name if session_id is None else f"{name}\0{session_id}"), "an address does not come back")
        body = _ywebsocket_frame(message)
        if body is not None and not isinstance(message, Nothing):
            check(hocuspocus.prefix(address) + body == data, "the frame does not hold what was decoded")
        _further(message)


class Updates:
    """The strict reader; what it accepts goes through merge, diff and squash, and must come out readable."""

    def __init__(self, corpus: Corpus) -> None:
        self._inputs = corpus.updates + killers()
        self._base = merge([update for update in corpus.updates if not reader.read_update(update).deletes][:6])
        self._clients = {section.client for section in reader.read_update(self._base).sections}

    def make(self, rng: random.Random) -> bytes:
        return make_update(rng) if rng.random() < 0.3 else mutate(rng, self._inputs)

    def run(self, data: bytes) -> None:
        facts = reader.read_update(data)
        for section in facts.sections:
            check(section.start < section.end, "a section without clocks")
            check(len(section.clocks) == len(section.offsets), "clocks and offsets differ")
        merged = merge([data, self._base])
        # Two different contents for the same ids never meet in the server (the gate cuts overlaps): merging them must
        # not panic, but may cut a surrogate pair.
        if self._clients.isdisjoint(section.client for section in facts.sections):
            readable(merged, "merge")
        readable(squash(data), "squash")
        # pycrdt cuts a surrogate pair into an empty string: with four-byte characters cut only between structs. No
        # document ever has half a pair, and a client that claims to have one affects only itself.
        inside = max(data) < 0xF0
        known = {
            section.client: (section.start + section.end) // 2 if inside else section.clocks[len(section.clocks) // 2]
            for section in facts.sections
        }
        readable(diff(data, reader.write_state_vector(known)), "diff")


class StateVectors:
    """The reader of state vectors; what it accepts goes into a diff."""

    def __init__(self, corpus: Corpus) -> None:
        self._inputs = corpus.state_vectors + killers()
        # Without four-byte characters, for the reason given in `Updates.run`.
        self._state = merge([update for update in corpus.updates[:24] if max(update) < 0xF0])

    def make(self, rng: random.Random) -> bytes:
        return mutate(rng, self._inputs)

    def run(self, data: bytes) -> None:
        clocks = reader.read_state_vector(data)
        known = {client: clock for client, clock in clocks.items() if clock}  # a clock of 0 need not be written
        again = reader.read_state_vector(reader.write_state_vector(clocks))
        check({client: clock for client, clock in again.items() if clock} == known, "clocks do not round-trip")
        readable(diff(self._state, data), "diff")


class Presence:
    """One room's table with sessions that come and go (FZT3)."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._limits = PresenceLimits(max_states=50, max_gone=20, max_room_bytes=64 * 1024)
        self._table = PresenceTable(self._limits)
        self._rng = random.Random(0)
        self._now_s = 0.0

    def make(self, rng: random.Random) -> bytes:
        return (mutate_payload if rng.random() < 0.5 else mutate)(rng, self._corpus.payloads)

    def run(self, data: bytes) -> None:
        rng, table = self._rng, self._table
        self._now_s += 0.01
        before = table.snapshot()
        owner = rng.randrange(6)
        try:
            applied = table.apply(data, owner, self._now_s, user="é" if owner % 2 else None)
        except REFUSALS:
            check(table.snapshot() == before, "a refused message has changed the table")
            raise
        for entry in applied.entries:
            if entry.state is not None:
                state = json.loads(entry.state, parse_constant=_not_json)
                check(isinstance(state, dict), "a state that is no object")
            check(
                awareness.read_entries(b"\x01" + entry.encoded)[0][:2] == (entry.client, entry.clock), "a wrong entry"
            )
        check(len(table) <= self._limits.max_states, "too many states")
        check(table.size_bytes <= self._limits.max_room_bytes, "too many bytes")
        check(table.gone_count <= self._limits.max_gone, "too many tombstones")
        if rng.random() < 0.05:
            awareness.read_entries(table.take_dirty() or b"\x00")
            check(len(awareness.read_entries(table.snapshot() or b"\x00")) == len(table), "the snapshot lacks states")
            rng.choice((table.remove_owner, lambda _owner, now_s: table.expire(now_s)))(owner, self._now_s)


def _not_json(name: str) -> None:
    raise BrokenError(f"a state holds {name}")


class Gate:
    """A document behind its gate, with waiting updates: hot and cold copies agree, and no update with a gap gets in.

    Inputs are real updates, intact and damaged, in any order, and updates from the grammar.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus.updates
        self._inputs = corpus.updates + killers()
        self._fresh()

    def _fresh(self) -> None:
        self._document = Document()
        self._waiting: list[bytes] = []
        self._admitted = 0

    def make(self, rng: random.Random) -> bytes:
        kind = rng.random()
        if kind < 0.3:
            return mutate(rng, self._inputs)
        return rng.choice(self._corpus) if kind < 0.5 else make_update(rng)

    def run(self, data: bytes) -> None:
        before = self._document.version
        self._admit(data, reader.read_update(data))
        if self._document.version != before:
            waiting, self._waiting = self._waiting, []
            for update in waiting:
                self._admit(update, readable(update, "what waits"))
            self._admitted += 1
            if self._admitted % 10 == 0:
                self._compare()
            if self._admitted >= 60:
                self._fresh()

    def _admit(self, update: bytes, facts: reader.UpdateFacts) -> None:
        clocks = dict(self._document.clocks)
        admission = self._document.admit(update, facts)
        check(clocks == self._document.clocks, "admit has changed the document")
        if admission.waiting is not None and len(self._waiting) < 10:
            readable(admission.waiting, "what waits")
            self._waiting.append(admission.waiting)
        if admission.ready is None:
            return
        for section in readable(admission.ready, "what is ready").sections:
            check(not section.skips, "a Skip was let in")
            check(section.start == clocks.get(section.client, 0), "a gap or an overlap was let in")
        self._document.absorb(admission)

    def _compare(self) -> None:
        merged = self._document.merged()
        cold = self._cold(merged)
        check(cold.clocks == self._document.clocks, "hot and cold clocks differ")
        check(cold.known_step2() == self._document.known_step2(), "hot and cold deletes differ")
        folded = self._cold(squash(merged))
        check(folded.clocks == cold.clocks, "folded and cold clocks differ")
        check(folded.known_step2() == cold.known_step2(), "folded and cold deletes differ")

    def _cold(self, state: bytes) -> Document:
        try:
            return Document.from_state(state)
        except UpdateError as error:
            raise BrokenError(f"a state cannot be loaded: {error}: {state.hex()[:2000]}") from error


class History:
    """A whole valid history: no part is refused, whatever arrives first, and all copies agree.

    The history's random choices come from the input, so every input is a history.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus  # none of it is needed

    def make(self, rng: random.Random) -> bytes:
        return rng.randbytes(rng.choice((60, 200, 1000)))

    def run(self, data: bytes) -> None:
        rng = Chances(data)
        updates = make_history(rng)
        document = Document()
        for update in updates:
            admission = document.admit(update, readable(update, "an update of a history"))
            check(admission.waiting is None, "an update in order waits")
            document.absorb(admission)
        merged = merge(updates)
        check(_ends(merged, "merge") == document.clocks, "clocks of the merge")
        check(_ends(squash(merged), "squash") == document.clocks, "clocks of the squash")
        known = {client: rng.randint(0, clock) for client, clock in document.clocks.items()}
        news = {client: clock for client, clock in document.clocks.items() if known[client] < clock}
        check(_ends(diff(merged, reader.write_state_vector(known)), "diff") == news, "clocks of the diff")
        self._arrive_in_disorder(rng, updates)

    def _arrive_in_disorder(self, rng: random.Random, updates: list[bytes]) -> None:
        """A part in order, then some of all merged into one, with what is known and what is missing."""
        document = Document()
        for update in updates[: rng.randint(1, len(updates))]:
            document.absorb(document.admit(update, readable(update, "an update of a history")))
        some = merge([update for update in updates if rng.random() < 0.6] or updates[:1])
        admission = document.admit(some, readable(some, "a merge with gaps"))
        if admission.waiting is not None:
            readable(admission.waiting, "what waits")
        if admission.ready is not None:
            for section in readable(admission.ready, "what is ready").sections:
                check(not section.skips, "a Skip was let in")
        document.absorb(admission)
        check(_ends(document.merged(), "document") == document.clocks, "clocks of the document")


def _ends(update: bytes, what: str) -> dict[int, int]:
    return {section.client: section.end for section in readable(update, what).sections}


class Sabotage:
    """Deliberate faults, which show that the harness finds them."""

    def __init__(self, fault: Callable[[], object]) -> None:
        self._fault = fault

    def make(self, rng: random.Random) -> bytes:
        return rng.randbytes(4)

    def run(self, data: bytes) -> None:
        if data[0] == 7:
            self._fault()
        if data[0] > 7:
            raise WireError("refused")


def _hang() -> None:
    while True:
        pass


SABOTAGE: dict[str, Callable[[Corpus], Target]] = {
    "sabotage-exception": lambda _: Sabotage(lambda: 1 // 0),
    "sabotage-abort": lambda _: Sabotage(os.abort),
    "sabotage-hang": lambda _: Sabotage(_hang),
    "sabotage-memory": lambda _: Sabotage(lambda: bytes(2 << 30)),
    "sabotage-growth": lambda _: Sabotage(lambda: b"\x01" * (200 << 20)),
}
