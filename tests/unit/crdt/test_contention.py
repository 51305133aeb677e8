"""The steps of Yjs on insertions that conflict: CN1-CN4 of crdt/contention.py."""

from __future__ import annotations

import random

import pytest
from pycrdt import Doc, Text
from tests.support.lib0 import string, varuint
from tests.unit.crdt.hostile import SHAPES, nested
from tools.attacks.crafted import formats, one_key, one_place, right_origins

from raffia.crdt import contention as module
from raffia.crdt.contention import MAX_NESTING, MAX_STEPS, STEPS_PER_STRUCT, contention, unproven
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update


def typed(people: int, edits: int, seed: int = 1, *, offline: int = 0) -> bytes:
    """A text by several people who hear of each other every now and then."""
    chance = random.Random(seed)
    docs = [Doc[Text](client_id=chance.randrange(1, 1 << 32)) for _ in range(people)]
    texts = [doc.get("t", type=Text) for doc in docs]
    for number in range(edits):
        at = chance.randrange(people)
        texts[at].insert(chance.randrange(len(str(texts[at])) + 1), chance.choice(["a", "word ", "line\n"]))
        if number % 10 == 0:
            other = chance.randrange(people)
            if other >= offline:
                docs[other].apply_update(docs[at].get_update(docs[other].get_state()))
                docs[at].apply_update(docs[other].get_update(docs[at].get_state()))
    whole: Doc[Text] = Doc()
    for doc in docs:
        whole.apply_update(doc.get_update())
    return whole.get_update()


@pytest.mark.parametrize(("people", "edits"), [(1, 2000), (2, 2000), (30, 3000)])
def test_cn2_what_people_type_is_far_below_the_limit(people: int, edits: int) -> None:
    found = contention([typed(people, edits)])
    assert found.steps < 8 * found.structs
    assert not found.is_too_much


def test_cn2_thousands_of_authors_at_one_place_or_key_pass() -> None:
    assert not contention([one_place(10_000)]).is_too_much
    assert not contention([one_key(9_000)]).is_too_much
    assert not contention([formats(5_000)]).is_too_much


@pytest.mark.parametrize("name", SHAPES)
def test_cn2_hostile_shapes_are_too_much(name: str) -> None:
    assert contention([SHAPES[name](4000)]).is_too_much


@pytest.mark.parametrize("name", SHAPES)
def test_cn1_squashing_makes_nothing_worse(name: str) -> None:
    update = SHAPES[name](300)
    assert contention([squash(update)]).steps <= contention([update]).steps
    assert contention([update, b"\x00\x00"]) == contention([update])


def test_cn1_the_work_stops_at_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_STEPS", 1000)
    found = contention([right_origins(20_000)])
    assert 1000 + STEPS_PER_STRUCT * found.structs <= found.steps < 1002 + STEPS_PER_STRUCT * found.structs + 40_000


def test_cn3_nesting() -> None:
    assert contention([nested(MAX_NESTING + 1)]).nesting == MAX_NESTING
    assert not contention([nested(MAX_NESTING + 1)]).is_too_much
    assert contention([nested(MAX_NESTING + 2)]).is_too_much


def test_cn4_typing_is_proven() -> None:
    doc: Doc[Text] = Doc(client_id=5)
    text = doc.get("t", type=Text)
    for _ in range(100):
        before = doc.get_state()
        text.insert(len(str(text)), "x")
    assert unproven(read_update(doc.get_update(before)).sections) == 0
    assert unproven(read_update(right_origins(100)).sections) == 101


def test_cn1_what_the_update_lacks_is_taken_as_nothing() -> None:
    lacking = b"\x01\x01" + varuint(5) + b"\x00\xc4\x07\x03\x08\x02\x01x\x00"
    assert contention([lacking]).steps == 0
    assert contention([b"\x01\x01" + varuint(5) + b"\x07\x04\x01" + string("t") + b"\x01x\x00"]).structs >= 1
    assert contention([b"\x00\x00"]) == (0, 0, 0, 0)
    assert MAX_STEPS > 0
