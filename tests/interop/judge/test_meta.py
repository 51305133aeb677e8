"""Metadata written on the bytes, as Yjs sees it: MT1, MT4, MT5 of crdt/meta.py."""

from __future__ import annotations

import random

import pytest
from tools.attacks.crafted import right_origins

from raffia.crdt.merge import merge
from raffia.crdt.meta import read_meta, set_meta
from raffia.crdt.squash import squash
from raffia.types import EMPTY_UPDATE
from tests.interop.judge import YjsJudge
from tests.support.lib0 import string, varuint

VALUES = ("", "Über 🦊", "x" * 200, 7, 64, -3, 1 << 20, 2**40, "meta")


def shown(judge: YjsJudge, *updates: bytes) -> dict[str, object]:
    """The values of the map, as Yjs has them."""
    entries = judge.describe(*updates).content.get("meta", {"map": {}})["map"]
    return {key: entry.get("value", entry.get("values")) for key, entry in entries.items()}


def delete_of(updates: list[bytes], key: str) -> bytes | None:
    """An update that deletes the last entry of a key."""
    renamed = set_meta(updates, {key: "something else"}, client=1)
    deletes = renamed[renamed.rindex(b"something else") + len("something else") :]
    return None if deletes == b"\x00" else b"\x00" + deletes


@pytest.mark.parametrize("seed", range(60))
def test_mt5_what_is_set_is_what_yjs_shows(judge: YjsJudge, seed: int) -> None:
    """Three authors who rename concurrently, delete, and hear of each other now and then."""
    chance = random.Random(seed)
    known: list[list[bytes]] = [[], [], []]
    everything: list[bytes] = []
    clients = chance.sample(range(1, 1 << 32), 100)
    for _ in range(30):
        mine = chance.choice(known)
        if chance.random() < 0.3:
            mine[:] = everything if chance.random() < 0.5 else [squash(merge(everything))]
        if chance.random() < 0.25 and mine and (update := delete_of(mine, "title")) is not None:
            expected = {"title": None}
        else:
            fields = {key: chance.choice(VALUES) for key in chance.sample(["title", "kind", "schema"], 2)}
            update = set_meta(mine, fields, client=clients.pop())
            expected = fields
        mine.append(update)
        everything.append(update)
        here = shown(judge, merge(mine))
        assert {key: here.get(key) for key in expected} == expected, seed
        there = shown(judge, *everything)
        found = read_meta(everything)
        title, kind, schema = there.get("title"), there.get("kind"), there.get("schema")
        assert (found.title, found.kind) == tuple(value if isinstance(value, str) else None for value in (title, kind))
        assert found.schema == (schema if isinstance(schema, int) else None)
        assert read_meta([squash(merge(everything))]) == found._replace(
            marks=read_meta([squash(merge(everything))]).marks
        )


def entry(client: int, clock: int, left: tuple[int, int] | None) -> bytes:
    """A section with one entry of the title, its id as its value."""
    place = varuint(left[0]) + varuint(left[1]) if left else b"\x01" + string("meta") + string("title")
    value = b"\x01\x77" + string(f"{client}:{clock}")
    return b"\x01" + varuint(client) + varuint(clock) + bytes((0x88 if left else 0x28,)) + place + value


@pytest.mark.parametrize("seed", range(200))
def test_mt1_hostile_entries_are_read_as_yjs_reads_them(judge: YjsJudge, seed: int) -> None:
    """Any left origins, several entries of a client at the same place."""
    chance = random.Random(seed)
    clocks: dict[int, int] = {}
    entries: list[tuple[int, int]] = []
    updates = []
    for _ in range(chance.randrange(2, 12)):
        client = chance.randrange(1, 5)
        clock = clocks.get(client, 0)
        left = chance.choice([*entries, None])
        updates.append(b"\x01" + entry(client, clock, left) + b"\x00")
        entries.append((client, clock))
        clocks[client] = clock + 1
    merged = merge(updates)
    assert read_meta([merged]).title == shown(judge, *updates).get("title") == shown(judge, merged).get("title")
    renamed = shown(judge, merged, set_meta([merged], {"title": "new"}, client=9))
    assert renamed["title"] == "new"


def test_mt5_a_value_that_is_there_is_left_alone() -> None:
    update = set_meta([], {"title": "é", "schema": 3})
    assert set_meta([update], {"title": "é", "schema": 3}) == EMPTY_UPDATE
    assert set_meta([update], {"title": "è", "schema": 3}) != EMPTY_UPDATE
    truth = set_meta([], {"schema": 1}).replace(b"\x7d\x01", b"\x78")
    assert set_meta([truth], {"schema": 1}) != EMPTY_UPDATE  # true is no 1


def test_mt4_a_document_that_takes_yjs_minutes_is_renamed(judge: YjsJudge) -> None:
    evil = right_origins(32_000)
    assert shown(judge, set_meta([evil], {"title": "é"})) == {"title": "é"}
