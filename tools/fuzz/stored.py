"""Targets for what comes from the journal and from other replicas: entries, records, messages of Redis, presence."""

from __future__ import annotations

import json
import random

from raffia.errors import QuarantinedError, WireError
from raffia.journal.entries import decode_batch, decode_updates, encode_batch, encode_updates, salvage_batch
from raffia.journal.redis import records
from raffia.rooms.presence import relay
from raffia.rooms.presence.entries import PresenceLimits, make_entry
from raffia.rooms.presence.table import PresenceTable
from raffia.types import Edit
from raffia.wire import awareness
from tools.fuzz.corpus import Corpus
from tools.fuzz.mutate import mutate_one, mutate_payload
from tools.fuzz.parts import join, mutate_parts, split
from tools.fuzz.targets import check

AUTHORS = (None, "", "ana", "zoë 😀")


def batches(rng: random.Random, updates: list[bytes]) -> bytes:
    """The payload of one entry."""
    return encode_batch(
        tuple(
            Edit(rng.choice(AUTHORS), rng.choice((0, 1, 1 << 40)), rng.choice(updates))
            for _ in range(rng.choice((0, 1, 1, 3)))
        )
    )


class Entries:
    """Batches and segments: what is read is written back as the same bytes (EN2); salvaging never fails."""

    def __init__(self, corpus: Corpus) -> None:
        self._updates = corpus.updates

    def make(self, rng: random.Random) -> bytes:
        if rng.random() < 0.6:
            return batches(rng, self._updates)
        return encode_updates(rng.choices(self._updates, k=rng.randrange(4)))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        rng = random.Random(7)
        return [batches(rng, self._updates) for _ in range(10)] + [encode_updates(self._updates[:3])]

    def run(self, data: bytes) -> None:
        salvaged = salvage_batch(data)
        check(sum(len(edit.update) for edit in salvaged) <= len(data), "more was saved than there is")
        refused = None
        try:
            batch = decode_batch(data)
        except QuarantinedError as error:
            refused = error
        else:
            check(encode_batch(batch) == data, "a batch is not written back as it was")
            check(tuple(salvaged) == batch, "of a whole batch not all is saved")
        try:
            updates = decode_updates(data)
        except QuarantinedError:
            if refused is not None:
                raise
        else:
            check(encode_updates(updates) == data, "a segment is not written back as it was")


class Records:
    """Lines of JSON in Redis: they can be read, or the document is quarantined."""

    def __init__(self, corpus: Corpus) -> None:
        self._seeds = [
            b"0" + b'{"v":1,"time_ms":5,"blob":"b","state_bytes":3,"index_bytes":4}',
            b"1" + records.write_segment(
                first=relay_position(1), last=relay_position(9), window_ms=1, author="é", blob="b", blob_bytes=3,
                size_bytes=2,
            ).member,
            b"2" + records.write_version(5, ("é", "😀"), "b", 7),
        ]  # fmt: skip

    def make(self, rng: random.Random) -> bytes:
        return rng.choice(self._seeds)

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        if rng.random() < 0.5:
            return mutate_one(rng, data)
        try:
            fields = json.loads(data[1:])
            name = rng.choice(list(fields))
            fields[name] = rng.choice((None, True, -1, 1 << 80, 1e308, "", "x", "1-1", [], ["é"], {"a": 1}, "\ud83d"))
            return data[:1] + json.dumps(fields).encode()
        except (ValueError, TypeError, IndexError):
            return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        return self._seeds

    def run(self, data: bytes) -> None:
        kind, line = data[:1], data[1:]
        records.blob_of(line)
        if kind == b"0":
            record = records.read_base(b"1-5", line)
            check(record.size_bytes == record.state_bytes + record.index_bytes, "sizes do not add up")
        elif kind == b"1":
            found = records.read_segment(line)
            check(found.first >= 0, "a position below the start")
        else:
            records.read_version(1, line, line[:3])


def relay_position(sequence: int) -> int:
    """Some position."""
    return sequence << 48 | 77


class Relayed:
    """Presence of another replica: read, written back with the same meaning, and merged into a table."""

    def __init__(self, corpus: Corpus) -> None:
        self._payloads = corpus.payloads

    def make(self, rng: random.Random) -> bytes:
        entries = [
            make_entry(client, clock, None if state == awareness.NULL else state, ("é1", number), rng.choice(AUTHORS))
            for number, (client, clock, state, _) in enumerate(
                awareness.read_entries(
                    mutate_payload(rng, self._payloads) if rng.random() < 0.3 else rng.choice(self._payloads)
                )
            )
        ]
        return relay.encode(rng.choice(("r1", "é1", "")), entries, is_hello=rng.random() < 0.3)

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_one(rng, data)

    def seeds(self) -> list[bytes]:
        rng = random.Random(8)
        return [self.make(rng) for _ in range(10)]

    def run(self, data: bytes) -> None:
        said = relay.decode(data)
        if said.entries:
            replica = said.entries[0].owner
            assert isinstance(replica, tuple)
            again = relay.decode(relay.encode(replica[0], said.entries, is_hello=said.is_hello))
            check(again == said, "what was said does not come back")
        table = PresenceTable(PresenceLimits(max_states=50, max_gone=20))
        table.merge(said.entries, 1.0)
        table.merge(said.entries[::-1], 2.0)
        check(len(awareness.read_entries(table.snapshot() or b"\x00")) == len(table), "the snapshot lacks states")
        table.remove_where(lambda owner: isinstance(owner, tuple), 3.0)
        check(len(table) == 0 and table.size_bytes == 0, "something stays of a replica that is gone")


class Tables:
    """Two replicas' presence tables: sessions send to one, the relay passes it to the other.

    A part is an operation: a byte for the kind and the session, then a payload.
    """

    def __init__(self, corpus: Corpus) -> None:
        self._payloads = corpus.payloads

    def _part(self, rng: random.Random) -> bytes:
        payload = mutate_payload(rng, self._payloads) if rng.random() < 0.5 else rng.choice(self._payloads)
        return bytes((rng.choice((0, 0, 0, 0x40, 0x80, 0xC0)) | rng.randrange(4),)) + payload

    def make(self, rng: random.Random) -> bytes:
        return join(self._part(rng) for _ in range(rng.randint(1, 12)))

    def alter(self, rng: random.Random, data: bytes) -> bytes:
        return mutate_parts(rng, data, self._part, mutate_one)

    def seeds(self) -> list[bytes]:
        rng = random.Random(9)
        return [join(self._part(rng) for _ in range(12)) for _ in range(10)]

    def run(self, data: bytes) -> None:
        limits = PresenceLimits(max_states=20, max_gone=8, max_room_bytes=8192, max_ids_per_owner=5)
        table, other = PresenceTable(limits), PresenceTable(limits)
        refused: Exception | None = None
        now_s = 0.0
        is_alone = True  # no other session has sent anything: then both have the same
        for part in split(data):
            if not part:
                continue
            now_s += 0.25
            owner = ("r1", 1 + (part[0] & 3))
            kind = part[0] >> 6
            if kind == 0:
                before = table.snapshot()
                try:
                    applied = table.apply(part[1:], owner, now_s, user="é" if owner[1] % 2 else None)
                except Exception as error:
                    check(table.snapshot() == before, "a refused message has changed the table")
                    refused = error
                    continue
                for answer in (*applied.entries, *applied.answers):
                    awareness.read_entries(b"\x01" + answer.encoded)
                if applied.moved:
                    self._tell(other, applied.moved, now_s)
            elif kind == 1:
                table.remove_owner(owner, now_s)
            elif kind == 2:
                now_s += 20.0
                table.expire(now_s)
            else:
                try:
                    foreign = relay.decode(part[1:])
                except WireError as error:
                    refused = error
                    continue
                table.merge(foreign.entries, now_s)
                is_alone = False
            self._tell(other, table.take_dirty_entries(), now_s)
            check(table.gone_count <= limits.max_gone, "too many tombstones")
            if is_alone:
                check(_live(other) == _live(table), "the replicas do not have the same presence")
            awareness.read_entries(table.snapshot() or b"\x00")
        if refused is not None:
            raise refused

    @staticmethod
    def _tell(other: PresenceTable, entries: list[object], now_s: float) -> None:
        own = [entry for entry in entries if isinstance(entry.owner, tuple) and entry.owner[0] == "r1"]
        said = relay.decode(relay.encode("r1", own, is_hello=False))
        other.merge(said.entries, now_s)


def _live(table: PresenceTable) -> dict[int, tuple[int, bytes]]:
    entries = awareness.read_entries(table.snapshot() or b"\x00")
    return {client: (clock, state) for client, clock, state, _ in entries}
