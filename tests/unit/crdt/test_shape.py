"""Estimates by shape (SH1-SH3), and what is read within them."""

from __future__ import annotations

import time

import pytest
from tests.support.lib0 import insert
from tools.attacks.crafted import many_clients, many_deletes, many_formats, natural

from raffia.crdt.document import Document
from raffia.crdt.shape import Allowance, CostlyError, is_news
from raffia.crdt.update import read_update
from raffia.errors import UpdateError

ALLOWED_S = 0.002
KIB = 1024


def is_costly(update: bytes) -> bool:
    try:
        read_update(update, allowance=Allowance(ALLOWED_S))
    except CostlyError:
        return True
    return False


@pytest.mark.parametrize(
    "update",
    [
        many_clients(2**25, 28 * KIB),
        many_deletes(2**25, 28 * KIB),
        many_formats(2**25, 28 * KIB),
        insert(5, 0, "x", None)[:-1] + many_deletes(2**25, 28 * KIB)[1:],  # behind a struct, where no head shows it
        natural(30, 60)[0],
    ],
    ids=["clients", "deletes", "formats", "deletes behind a struct", "structs"],
)
def test_sh1_many_parts_are_costly_at_once(update: bytes) -> None:
    assert len(update) < 34 * KIB
    assert is_costly(update)
    began_s = time.thread_time()
    for _ in range(100):
        is_costly(update)
    assert (time.thread_time() - began_s) / 100 < 2 * ALLOWED_S


def test_sh2_large_texts_and_ordinary_typing_are_not() -> None:
    assert not is_costly(insert(5, 0, "é" * 15 * KIB, None))
    assert not is_costly(natural(30, 10)[0])
    assert not is_costly(many_clients(2**25, 2 * KIB))


def test_what_is_read_within_an_allowance_is_the_same() -> None:
    update = natural(30, 10)[0]
    assert repr(read_update(update, allowance=Allowance(1.0)).sections) == repr(read_update(update).sections)
    with pytest.raises(UpdateError):
        read_update(update[:-5], allowance=Allowance(1.0))


def test_sh3_the_first_struct_shows_news() -> None:
    document = Document()
    first, second = insert(2**30, 0, "hello", None), insert(2**30, 5, "!", 4)
    assert is_news(first, document.clocks)
    document.absorb(document.admit(first, read_update(first)))
    assert not is_news(first, document.clocks)
    assert is_news(second, document.clocks)


@pytest.mark.parametrize(
    "update", [b"", b"\x00", b"\x00\x00", b"\x01", b"\x01\x01", b"\x01\x01\x05", b"\x01\x80\x00", b"\x80"]
)
def test_sh3_what_cannot_be_read_is_no_news(update: bytes) -> None:
    assert not is_news(update, {})


def test_sh3_deletes_are_no_news() -> None:
    assert not is_news(many_deletes(5, KIB), {})
