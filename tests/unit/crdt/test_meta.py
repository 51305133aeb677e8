"""What a document says of itself, read from the bytes: MT1-MT4 of crdt/meta.py. The judge is pycrdt."""

from __future__ import annotations

import random
import subprocess
import sys
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text
from tests.support.lib0 import varuint

from raffia.crdt.merge import merge
from raffia.crdt.meta import KEYS, NOTHING, has_meta, read_meta
from raffia.crdt.squash import squash


def said(doc: Doc[Any]) -> tuple[Any, Any, Any]:
    meta = doc.get("meta", type=Map)
    title, kind, schema = (meta.get(key) for key in ("title", "kind", "schema"))
    return (
        title if isinstance(title, str) else None,
        kind if isinstance(kind, str) else None,
        int(schema) if isinstance(schema, int | float) and not isinstance(schema, bool) else None,
    )


@pytest.mark.parametrize("seed", range(60))
def test_mt1_values_are_those_of_a_doc_and_mt3_changes_are_noticed(seed: int) -> None:
    chance = random.Random(seed)
    docs: list[Doc[Any]] = [Doc(client_id=chance.randrange(1, 1 << 32)) for _ in range(3)]
    updates: list[bytes] = []
    whole: Doc[Any] = Doc()
    for _ in range(40):
        doc = chance.choice(docs)
        before = doc.get_state()
        meta, other = doc.get("meta", type=Map), doc.get("other", type=Map)
        action = chance.random()
        if action < 0.4:
            meta["title"] = chance.choice(["", "Über 🦊", "x" * 200, "meta", 7, None, True])
        elif action < 0.5:
            meta["schema"] = chance.choice([1, 2, 64, -3, 100_000, 2.0])
        elif action < 0.6:
            meta["kind"] = chance.choice(["document", "board"])
        elif action < 0.7 and "title" in meta:
            del meta["title"]
        elif action < 0.8:
            other["title"] = "not this one"
        elif action < 0.9:
            doc.get("t", type=Text).insert(0, "é🦊")
        else:
            doc.get("a", type=Array).append("title")
        update = doc.get_update(before)
        known = read_meta([merge(updates)]) if updates else NOTHING
        was = said(whole)
        whole.apply_update(update)
        updates.append(update)
        if said(whole) != was and not 0.6 <= action < 0.7:
            # Who has seen the latest change is always noticed; concurrent ones mostly are.
            seen_all = doc.get_state() == whole.get_state()
            assert known.may_change_by(update) or not seen_all
        if chance.random() < 0.5:
            for one in docs:
                one.apply_update(whole.get_update())
        for parts in (updates, [squash(merge(updates))]):
            found = read_meta(parts)
            assert (found.title, found.kind, found.schema) == said(whole), seed


def test_mt2_a_document_without_the_root_is_not_read() -> None:
    doc: Doc[Any] = Doc()
    doc.get("t", type=Text).insert(0, "meta title")
    assert not has_meta([doc.get_update()])
    assert read_meta([b"\x00 not even an update"]) is NOTHING


def test_mt3_typing_is_not_looked_at() -> None:
    doc: Doc[Any] = Doc(client_id=77)
    doc.get("meta", type=Map)["title"] = "é"
    known = read_meta([doc.get_update()])
    for number in range(50):
        before = doc.get_state()
        doc.get("t", type=Text).insert(number, "x")
        assert not known.may_change_by(doc.get_update(before))
    before = doc.get_state()
    doc.get("meta", type=Map)["title"] = "ü"
    assert known.may_change_by(doc.get_update(before))


def bomb(key: str, clocks: int, *, then: bytes = b"", clients: int = 1) -> bytes:
    """An update with a deleted struct of so many clocks as the first entry of a key of `meta`."""
    struct = b"\x21\x01\x04meta" + bytes((len(key),)) + key.encode() + varuint(clocks)
    return varuint(clients) + b"\x01" + varuint(77) + b"\x00" + struct + then + b"\x00"


def follower(client: int, clock: int, origin: tuple[int, int], text: str) -> bytes:
    """A section with one value that follows on an id."""
    value = text.encode()
    content = b"\x01\x77" + varuint(len(value)) + value
    return b"\x01" + varuint(client) + varuint(clock) + b"\x88" + varuint(origin[0]) + varuint(origin[1]) + content


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
from raffia.crdt.meta import read_meta
print(read_meta([bytes.fromhex(sys.argv[1])]))
"""


@pytest.mark.parametrize("clocks", [1, 8, 9, 1000, (1 << 31) - 2])
@pytest.mark.parametrize("key", KEYS)
def test_mt4_the_cost_is_that_of_the_bytes_whatever_clocks_they_name(key: str, clocks: int) -> None:
    """In a process of its own: a reader that walks the clocks would take this one with it."""
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, bomb(key, clocks).hex()], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-300:]
    assert "title=None, kind=None, schema=None" in done.stdout


@pytest.mark.parametrize("at", [0, 5, (1 << 31) - 3])
def test_mt4_what_follows_on_any_clock_of_a_deleted_run_is_found(at: int) -> None:
    clocks = (1 << 31) - 2
    found = read_meta([bomb("title", clocks, then=follower(99, 0, (77, at), "né"), clients=2)])
    assert found.title == "né"
    low = read_meta([bomb("title", clocks, then=follower(9, 0, (77, at), "né"), clients=2)])
    # Of a lower client it stands before the rest of the run, which is deleted; behind all of the run it is the last.
    assert low.title == ("né" if at + 1 == clocks else None)
