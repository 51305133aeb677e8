"""Squash, rule by rule (SQ1-SQ8 of `squash`, BY1-BY3 of `buried`), on updates written struct by struct."""

from __future__ import annotations

import pycrdt
import pytest
from tests.unit.crdt.build import everything, item, number, string, text, typing, update

from raffia.crdt.merge import merge
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update
from raffia.errors import UpdateError
from raffia.types import EMPTY_UPDATE

WIDE = 3_141_592_653


def dead(length: int, **place: object) -> bytes:
    return item(1, number(length), **place)  # type: ignore[arg-type]


def gc(length: int) -> bytes:
    return b"\x00" + number(length)


def values(*numbers: int, **place: object) -> bytes:
    return item(8, number(len(numbers)) + b"".join(b"\x7d" + bytes((n,)) for n in numbers), **place)  # type: ignore[arg-type]


def test_nothing_to_do_is_the_same_object() -> None:
    for data in (EMPTY_UPDATE, update((1, 0, [string("é")])), update(deletes={4: [(0, 9)]})):
        assert squash(data) is data


def test_sq1_typing_is_one_run() -> None:
    assert squash(typing(WIDE, "héllo 😀")) == update((WIDE, 0, [string("héllo 😀")]))


def test_sq1_long_runs() -> None:
    assert squash(typing(1, "é" * 300)) == update((1, 0, [string("é" * 300)]))


@pytest.mark.parametrize(
    "structs",
    [
        pytest.param([string("a"), string("b")], id="no-origin"),
        pytest.param([string("ab"), string("c", left=(1, 0))], id="in-the-middle"),
        pytest.param([string("a"), string("b", left=(2, 0))], id="behind-another-client"),
        pytest.param([string("a", right=(2, 0)), string("b", left=(1, 0))], id="right-origins-differ"),
        pytest.param([string("a", right=(2, 0)), string("b", left=(1, 0), right=(2, 1))], id="right-clocks-differ"),
        pytest.param([string("a"), values(1, left=(1, 0))], id="kinds-differ"),
        pytest.param([values(1, key="k"), values(2, left=(1, 0), key="k")], id="Q8-map-values"),
        pytest.param([values(1, key="k"), values(2, left=(1, 0))], id="Q8-map-value-without-its-flag"),
        pytest.param([item(5, text("1")), item(5, text("1"), left=(1, 0))], id="embeds"),
        pytest.param([b"\x0a\x02", b"\x0a\x02"], id="skips"),
    ],
)
def test_sq1_does_not_join(structs: list[bytes]) -> None:
    data = update((1, 0, structs))
    assert squash(data) == data


def test_sq1_joins_with_right_origin() -> None:
    data = update((5, 0, [string("a", right=(2, 7)), string("é", left=(5, 0), right=(2, 7))]))
    assert squash(data) == update((5, 0, [string("aé", right=(2, 7))]))


def test_sq1_a_run_ends_where_the_next_struct_does_not_continue_it() -> None:
    right = (2, 7)
    structs = [string("a"), string("é", left=(5, 0)), string("c", left=(5, 1), right=right)]
    assert squash(update((5, 0, structs))) == update((5, 0, [string("aé"), structs[2]]))
    structs = [values(1), values(2, left=(5, 0)), values(3, left=(5, 1), key="k")]
    assert squash(update((5, 0, structs))) == update((5, 0, [values(1, 2), structs[2]]))
    structs = [string("ab"), string("c", left=(5, 1)), string("d", left=(5, 2), right=right)]
    parts = [dead(3), string("d", left=(5, 2), right=right)]
    assert squash(update((5, 0, structs), deletes={5: [(0, 3)]})) == update((5, 0, parts), deletes={5: [(0, 3)]})


def test_sq1_joins_values_and_gc() -> None:
    structs = [values(1), values(2, 3, left=(1, 0)), gc(2), gc(200), values(4, left=(1, 2))]
    assert squash(update((1, 0, structs))) == update((1, 0, [values(1, 2, 3), gc(202), values(4, left=(1, 2))]))


def test_sq1_joins_in_the_middle_of_a_document() -> None:
    structs = [string("a"), string("b", left=(2, 4)), string("c", left=(1, 1)), string("d", left=(2, 5))]
    joined = [string("a"), string("bc", left=(2, 4)), string("d", left=(2, 5))]
    assert squash(update((1, 0, structs), (9, 0, [string("z")]))) == update((1, 0, joined), (9, 0, [string("z")]))


def test_sq2_a_deleted_word_is_not_in_the_bytes() -> None:
    data = update((1, 0, [string("keep sécret keep")]), deletes={1: [(5, 11)]})
    squashed = squash(data)
    assert "sécret".encode() in data
    assert b"cret" not in squashed
    parts = [string("keep "), dead(6, left=(1, 4)), string(" keep", left=(1, 10))]
    assert squashed == update((1, 0, parts), deletes={1: [(5, 11)]})


def test_sq2_parts_keep_the_right_origin_and_join_their_neighbours() -> None:
    structs = [
        string("ab", right=(2, 0)),
        string("cd", left=(1, 1), right=(2, 0)),
        string("e", left=(1, 3), right=(2, 0)),
    ]
    data = update((1, 0, structs), deletes={1: [(1, 3)]})
    parts = [
        string("a", right=(2, 0)),
        dead(2, left=(1, 0), right=(2, 0)),
        string("de", left=(1, 2), right=(2, 0)),
    ]
    assert squash(data) == update((1, 0, parts), deletes={1: [(1, 3)]})


def test_sq2_values_are_split_between_values() -> None:
    data = update((1, 0, [values(1, 2, 3, 4)]), deletes={1: [(1, 2), (3, 4)]})
    parts = [values(1), dead(1, left=(1, 0)), values(3, left=(1, 1)), dead(1, left=(1, 2))]
    assert squash(data) == update((1, 0, parts), deletes={1: [(1, 2), (3, 4)]})


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(item(3, b"\x03\x00\xff\x00"), id="binary"),
        pytest.param(item(5, text('{"secret":1}')), id="embed"),
        pytest.param(item(6, text("secret") + text("true")), id="format"),
        pytest.param(item(7, b"\x03" + text("secret")), id="type"),
        pytest.param(item(9, text("secret") + b"\x76\x00"), id="subdocument"),
    ],
)
def test_sq2_deleted_content_of_every_kind_is_dropped(content: bytes) -> None:
    assert squash(update((1, 0, [content]), deletes={1: [(0, 1)]})) == update((1, 0, [dead(1)]), deletes={1: [(0, 1)]})


@pytest.mark.parametrize(
    ("deleted", "parts"),
    [
        pytest.param([(2, 3)], [string("a😀b")], id="second-half"),
        pytest.param([(1, 2)], [string("a😀b")], id="first-half"),
        pytest.param([(0, 2)], [dead(1), string("😀b", left=(1, 0))], id="ends-inside"),
        pytest.param([(2, 4)], [string("a😀"), dead(1, left=(1, 2))], id="begins-inside"),
        pytest.param([(1, 3)], [string("a"), dead(2, left=(1, 0)), string("b", left=(1, 2))], id="whole"),
        pytest.param([(1, 2), (2, 3)], [string("a"), dead(2, left=(1, 0)), string("b", left=(1, 2))], id="both-halves"),
    ],
)
def test_sq3_surrogate_pairs_stay_whole(deleted: list[tuple[int, int]], parts: list[bytes]) -> None:
    squashed = squash(update((1, 0, [string("a😀b")]), deletes={1: deleted}))
    assert squashed == update((1, 0, parts), deletes={1: deleted})
    assert squash(squashed) == squashed


def test_sq4_what_lives_in_a_deleted_type_becomes_gc() -> None:
    structs = [
        item(7, b"\x01", root="m"),  # 0: the type that is deleted
        string("secret", parent=(1, 0)),  # 1-6
        item(7, b"\x00", left=(1, 6)),  # 7: a type inside, not deleted by itself
        values(1, 2, parent=(1, 7)),  # 8-9
        string("alive", root="t"),  # 10-14
    ]
    late = (2, 0, [string("late", left=(1, 3)), string("also", parent=(1, 7), key="k"), string("fine", left=(1, 12))])
    deletes = {1: [(0, 7)]}
    assert squash(update((1, 0, structs), late, deletes=deletes)) == update(
        (1, 0, [dead(1, root="m"), gc(9), string("alive")]),
        (2, 0, [gc(8), string("fine", left=(1, 12))]),
        deletes=deletes,
    )


def test_sq4_late_edits_into_what_is_gc_already() -> None:
    base = update((1, 0, [dead(1, root="m"), gc(9)]), deletes={1: [(0, 10)]})
    tail = update(
        (2, 0, [string("one", left=(1, 4)), string("two", parent=(1, 0)), string("three", right=(1, 2))]),
        (3, 0, [string("four", left=(2, 1))]),
    )
    squashed = squash(merge([base, tail]))
    assert squashed == update(
        (1, 0, [dead(1, root="m"), gc(9)]), (2, 0, [gc(11)]), (3, 0, [gc(4)]), deletes={1: [(0, 10)]}
    )


def test_by2_what_cannot_be_traced_is_alive() -> None:
    data = update((2, 5, [string("x", left=(1, 7)), string("y", parent=(1, 3)), gc(1)]), deletes={1: [(0, 9)]})
    assert squash(data) is data


def test_by3_cycles_and_depth() -> None:
    """Two clients whose structs name each other, and types nested 50,000 deep: no hang, no recursion."""
    cycle = update((1, 0, [string("a", left=(2, 0)), gc(1)]), (2, 0, [string("b", left=(1, 0))]))
    assert squash(cycle) is cycle
    nested = [item(7, b"\x00")] + [item(7, b"\x00", parent=(1, depth)) for depth in range(50_000)]
    assert squash(update((1, 0, nested), deletes={1: [(0, 1)]})) == update(
        (1, 0, [dead(1), gc(50_000)]), deletes={1: [(0, 1)]}
    )


def test_sq5_the_delete_set_is_copied_and_may_name_unknown_ids() -> None:
    data = bytes.fromhex("0002 0502 0102 0301 0101 0001")  # touching ranges, clients unknown
    assert squash(data) is data
    part = update(
        (7, 40, [string("ab", left=(7, 39)), b"\x0a\x05", string("cd", left=(7, 46))]),
        deletes={7: [(0, 41)], 3: [(1, 2)]},
    )
    assert squash(part) == update(
        (7, 40, [dead(1, left=(7, 39)), string("b", left=(7, 40)), b"\x0a\x05", string("cd", left=(7, 46))]),
        deletes={7: [(0, 41)], 3: [(1, 2)]},
    )


def test_sq6_keep_deleted_only_joins() -> None:
    data = typing(1, "keep sécret", deletes={1: [(5, 11)]})
    assert squash(data, keep_deleted=True) == update((1, 0, [string("keep sécret")]), deletes={1: [(5, 11)]})
    nested = update((1, 0, [item(7, b"\x01"), string("é", parent=(1, 0))]), deletes={1: [(0, 2)]})
    assert squash(nested, keep_deleted=True) is nested


def test_sq8_overwritten_map_values_join_once_deleted() -> None:
    structs = [values(0, key="k"), *(values(n, left=(1, n - 1), key="k") for n in range(1, 50))]
    data = update((1, 0, structs), deletes={1: [(0, 49)]})
    assert squash(data) == update(
        (1, 0, [dead(49, key="k"), values(49, left=(1, 48), key="k")]), deletes={1: [(0, 49)]}
    )


def test_squashing_in_steps_is_squashing_at_once() -> None:
    structs = [string(c, left=(1, n - 1) if n else None) for n, c in enumerate("hello wörld" * 30)]
    updates = [update((1, n, [struct])) for n, struct in enumerate(structs)]
    updates += [update(deletes={1: [(n, n + 3)]}) for n in range(0, 300, 20)]
    at_once = squash(merge(updates))
    step = EMPTY_UPDATE
    for at in range(0, len(updates), 7):
        step = squash(merge([step, *updates[at : at + 7]]))
    assert step == at_once
    assert squash(at_once) == at_once


def test_pycrdt_shows_the_same() -> None:
    data = everything()
    one, other = pycrdt.Doc(), pycrdt.Doc()  # type: ignore[var-annotated]
    one.apply_update(data)
    other.apply_update(squash(data))
    assert str(one.get("text", type=pycrdt.Text)) == str(other.get("text", type=pycrdt.Text))
    assert str(one.get("xml", type=pycrdt.XmlFragment)) == str(other.get("xml", type=pycrdt.XmlFragment))
    assert one.get_state() == other.get_state()


def test_what_the_reader_refuses_is_refused() -> None:
    with pytest.raises(UpdateError):
        squash(b"\x01\x01\x01\x00")


def test_the_result_is_read() -> None:
    data = merge([everything(1), everything(2), everything(3)])
    facts, squashed = read_update(data), read_update(squash(data))
    assert [(s.client, s.start, s.end) for s in facts.sections] == [
        (s.client, s.start, s.end) for s in squashed.sections
    ]
    assert facts.deletes == squashed.deletes
