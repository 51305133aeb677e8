"""Looking into documents and editing them from the server: VW1-VW5 of `view`, RT1-RT3 of `roots`, HV1-HV2 of `halves`,
NU1-NU2 of `numbers`, LT1-LT3 of `letters`.
"""

from __future__ import annotations

import asyncio
import gc
import weakref
from typing import Any

import pycrdt
import pytest
from tests.unit.crdt.build import everything, item, number, string, text, typing, update

from raffia.crdt.halves import show_halves
from raffia.crdt.implied import implied_deletes
from raffia.crdt.letters import show_letters
from raffia.crdt.merge import merge
from raffia.crdt.numbers import show_numbers
from raffia.crdt.roots import MAX_NESTING, root_kinds
from raffia.crdt.update import read_update
from raffia.crdt.view import View, byte_index, edit, read_json, read_text, read_xml
from raffia.errors import CrdtError
from raffia.types import EMPTY_UPDATE

Doc = pycrdt.Doc[Any]


def test_reading() -> None:
    view = View(everything())
    assert view.roots == {"text": "text", "array": "array", "map": "map", "xml": "xml"}
    assert view.text("text") == "nïve 😀 hello"
    assert view.xml("xml") == '<p class="é">words 😀</p>'
    shown = view.json()
    assert shown["array"] == [1, -1.5, "é😀", None, True, {"a": [1, {"b": "c"}]}, "AAE=", 2**40]
    assert [type(value) for value in shown["array"][:2]] == [int, float]  # VW5
    assert {key: shown["map"][key] for key in ("k", "k2")} == {"k": {"in": [1, 2], "é": "x"}, "k2": 5}


def test_what_is_not_there_is_empty() -> None:
    data = typing(1, "é")
    assert read_text(data, "other") == read_xml(data, "t") == ""
    assert read_text(data, "t") == "é"
    assert read_json(EMPTY_UPDATE) == {}


def test_rt1_roots_whose_first_item_is_deleted() -> None:
    data = merge(
        [
            typing(1, "ab😀", deletes={1: [(0, 1)]}),
            update(
                (2, 0, [item(7, b"\x03" + text("p"), root="x"), item(7, b"\x06", left=(2, 0))]),
                (3, 0, [item(8, b"\x01\x7e", root="list"), item(8, b"\x01\x78", left=(3, 0))]),
                (4, 0, [item(8, b"\x01\x7e", root="gone", key="é")]),
                deletes={2: [(0, 1)], 3: [(0, 1)], 4: [(0, 1)]},
            ),
        ]
    )
    assert View(data).roots == {"t": "text", "x": "xml", "list": "array"}


def test_rt3_deep_nesting_is_refused_before_pycrdt_recurses() -> None:
    def nested(depth: int) -> bytes:
        return update(
            (1, 0, [item(7, b"\x03" + text("p")), *(item(7, b"\x03" + text("p"), parent=(1, n)) for n in range(depth))])
        )

    assert read_xml(nested(MAX_NESTING), "t").count("<p>") == MAX_NESTING + 1
    with pytest.raises(CrdtError, match="nest deeper than 256"):
        View(nested(100_000))


def test_rt3_cycles() -> None:
    assert root_kinds(update((1, 0, [string("a", left=(2, 0))]), (2, 0, [string("b", left=(1, 0))]))) == {}
    assert root_kinds(update((1, 0, [b"\x0a\x05", b"\x00\x01", string("é", left=(1, 2))]))) == {}


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(typing(1, "a😀b", deletes={1: [(1, 2)]}), id="delete-first"),
        pytest.param(typing(1, "a😀b", deletes={1: [(2, 3)]}), id="delete-second"),
    ],
)
def test_hv1_a_half_deleted_character_is_shown_as_yjs_shows_it(data: bytes) -> None:
    assert read_text(data, "t") == "a\ufffdb"


def test_hv1_an_insertion_inside_a_character() -> None:
    data = update((1, 0, [string("a😀b🚀")]), (2, 0, [string("é", left=(1, 1), right=(1, 2))]))
    assert read_text(data, "t") == "a\ufffdé\ufffdb🚀"
    only_right = update((1, 0, [string("😀")]), (2, 0, [string("é", right=(1, 1))]))
    assert show_halves(only_right) == update((1, 0, [string("\ufffd\ufffd")]), (2, 0, [string("é", right=(1, 1))]))


def test_hv2_nothing_to_replace_is_the_same_object() -> None:
    for data in (typing(1, "é"), typing(1, "a😀b", deletes={1: [(1, 3)]}), everything()):
        assert show_halves(data) is data


def test_vw2_bytes_that_cannot_be_shown() -> None:
    with pytest.raises(CrdtError, match="cut short"):
        View(b"\x01\x01\x01")
    with pytest.raises(CrdtError, match="cut short"):
        edit(b"\x01\x01\x01", lambda doc: None)


def test_vw3_an_edit_is_an_update_of_its_own() -> None:
    data = typing(1, "né😀", deletes={1: [(3, 4)]})
    before = View(data).text("t")

    def change(doc: Doc) -> None:
        words = doc.get("t", type=pycrdt.Text)
        words.insert(byte_index(before, 2), "X")
        del words[0:1]

    made = edit(data, change, client=77)
    facts = read_update(made)
    assert [section.client for section in facts.sections] == [77]
    assert facts.deletes == [(1, [(0, 1)])]
    assert read_text(merge([data, made]), "t") == "éX\ufffd"
    assert "😀".encode() not in made


def test_vw3_no_change_is_the_empty_update() -> None:
    assert edit(typing(1, "é"), lambda doc: None) == EMPTY_UPDATE


def test_vw3_a_new_document() -> None:
    def change(doc: Doc) -> None:
        doc.get("xml", type=pycrdt.XmlFragment).children.append(pycrdt.XmlElement("p", {"é": "😀"}))

    assert read_xml(edit(EMPTY_UPDATE, change), "xml") == '<p é="😀"></p>'


def test_vw2_failing_edits() -> None:
    def panics(doc: Doc) -> None:
        doc.get("t", type=pycrdt.Text).insert(1, "inside é's two bytes")
        pycrdt.merge_updates([EMPTY_UPDATE])  # type: ignore[arg-type]

    def cancelled(doc: Doc) -> None:
        raise asyncio.CancelledError

    with pytest.raises(CrdtError, match="cannot edit a document"):
        edit(typing(1, "é"), panics)
    with pytest.raises(asyncio.CancelledError):
        edit(typing(1, "é"), cancelled)


def test_an_edited_doc_is_freed() -> None:
    kept: list[weakref.ref[Doc]] = []
    edit(typing(1, "é"), lambda doc: kept.append(weakref.ref(doc)))
    gc.collect()
    assert kept[0]() is None


def test_vw4_bytes_of_characters() -> None:
    assert [byte_index("né😀", count) for count in range(5)] == [0, 1, 3, 7, 7]


def test_vw5_numbers_that_json_lacks() -> None:
    data = update((1, 0, [item(8, number(2) + b"\x7b\x7f\xf8" + bytes(6) + b"\x7b\x43\x40" + bytes(6), root="a")]))
    assert read_json(data) == {"a": [None, 2**53]}


WIDE = update(
    (1, 0, [item(5, text('{"é":[12000000000000000000,-0.5,"12000000000000000000 \\" 9223372036854775808"]}'))]),
    (2, 0, [item(6, text("b") + text("18446744073709551615"), root="u"), string("😀", left=(2, 0))]),
    (3, 0, [string("a", root="m", key="k")]),
    (4, 0, [string("b", root="m", key="k")]),
)


def test_nu1_whole_numbers_that_pycrdt_cannot_read_are_shown_as_doubles() -> None:
    assert read_json(WIDE) == {"t": "", "u": "😀", "m": {"k": "b"}}
    shown = show_numbers(WIDE)
    assert b'{"\xc3\xa9":[12000000000000000000.0,-0.5,"12000000000000000000 \\" 9223372036854775808"]}' in shown
    assert b"18446744073709551615.0" in shown
    assert [section.end for section in read_update(shown).sections] == [1, 1, 3, 1]


def test_nu2_numbers_that_pycrdt_reads_stay() -> None:
    for digits in (
        "9223372036854775807",
        "18446744073709551616",
        "-12000000000000000000",
        "1.2e19",
        "0.12000000000000000000",
    ):
        data = update(
            (1, 0, [item(5, text(f'[{digits},"9223372036854775808"]')), string("9223372036854775808", left=(1, 0))])
        )
        assert show_numbers(data) == data
        assert read_text(data, "t") == "9223372036854775808"


def test_nu1_such_documents_can_be_edited_and_asked_what_they_imply() -> None:
    made = edit(WIDE, lambda doc: doc.get("u", type=pycrdt.Text).insert(0, "é"), client=77)
    assert read_text(merge([WIDE, made]), "u") == "é😀"
    assert implied_deletes([WIDE]).contains(3, 0, 1)
    assert not implied_deletes([WIDE]).contains(1, 0, 1)


@pytest.mark.parametrize("word", ["😀", "a😀b", "😀😀", "é"])
def test_lt1_text_in_an_array_is_shown_as_values(word: str) -> None:
    """Found by fuzzing: pycrdt never came back when it was asked for half of a surrogate pair in an array."""
    data = update((1, 0, [item(7, b"\x00"), string(word, parent=(1, 0)), string("z", right=(1, 1))]))
    shown = [unit for char in word for unit in (["\ufffd"] * 2 if char > "\uffff" else [char])]
    assert read_json(data) == {"t": [["z", *shown]]}
    assert [section.end for section in read_update(show_letters(data)).sections] == [
        section.end for section in read_update(data).sections
    ]


def test_lt2_other_texts_stay() -> None:
    for data in (
        update((1, 0, [item(7, b"\x00"), string("é😀", root="words"), string("a", left=(1, 1))])),
        update((1, 0, [item(7, b"\x02"), string("😀", parent=(1, 0))]), (2, 0, [item(7, b"\x00")])),
        update((1, 0, [string("a", left=(2, 0)), item(7, b"\x00")]), (2, 0, [string("b", left=(1, 0))])),
        update((1, 0, [item(7, b"\x00"), b"\x00\x01", string("é", left=(1, 1)), string("é", parent=(9, 1))])),
        typing(1, "é😀"),
    ):
        assert show_letters(data) is data


THREE = b"\x7d\x01\x7d\x02\x7d\x03"  # 1, 2, 3


@pytest.mark.parametrize("first", [item(8, b"\x03" + THREE, key="k"), string("a😀", key="k")])
def test_lt3_values_under_one_key_become_structs_of_their_own(first: bytes) -> None:
    """Found by fuzzing: pycrdt cuts them at one origin, then at the other, and ends the process when it is asked."""
    cut_twice = update((1, 0, [first, string("x", left=(1, 1), right=(1, 1))]))
    assert read_json(cut_twice) == {"t": {"k": 3}} or read_json(cut_twice) == {"t": {"k": "\ufffd"}}
    later = update((1, 0, [first]), (2, 0, [item(8, b"\x02" + THREE[:4], left=(1, 2))]))
    assert read_json(later) == {"t": {"k": 2}}
    for data in (cut_twice, later):
        shown = read_update(show_letters(data))
        assert {s.client: s.end for s in shown.sections} == {s.client: s.end for s in read_update(data).sections}
        assert all(s.clocks == [*range(s.end)] for s in shown.sections)


@pytest.mark.parametrize(
    "data",
    [
        "0104020028010174016b037a80000000000000007401ff7b7ff8000000000000c402010201016108000201037b43400000000000007703"
        "61c3a97b7ff8000000000000040002010661f09f9880620102010801",
        "030280808080802000e7ac0201ac020102e880808080802000ac0201037401ff7dbfffffffffffff1f7b7ff800000000000002ac020029"
        "010174016b04677569647601046d657461770178c3ac0200ac02000200ff020200000141808080808020030200",
    ],
)
def test_lt3_what_ended_the_process(data: str) -> None:
    assert read_json(bytes.fromhex(data)) == {"t": {"k": None}}


def test_lt3_one_value_under_a_key_stays() -> None:
    for data in (
        update(
            (1, 0, [item(8, b"\x01\x7d\x01", key="k"), item(8, b"\x01\x7d\x02", left=(1, 0)), string("é😀", root="w")])
        ),
        update((1, 0, [item(1, b"\x05", key="k")]), deletes={1: [(0, 5)]}),
    ):
        assert show_letters(data) is data
    assert show_letters(everything()) is not None
