"""What a document says of itself, read from the bytes: MT1-MT3 of crdt/meta.py. The judge is pycrdt."""

from __future__ import annotations

import random
from typing import Any

import pytest
from pycrdt import Array, Doc, Map, Text

from raffia.crdt.merge import merge
from raffia.crdt.meta import NOTHING, has_meta, read_meta
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
