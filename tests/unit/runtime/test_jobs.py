"""Jobs: their limits, and the documents whose jobs have overrun (JB1-JB3)."""

from __future__ import annotations

import pytest

from raffia.errors import TooCostlyError
from raffia.runtime.jobs import CEILING_S, FLOOR_S, FORGET_MAX_S, FORGET_S, MAX_REMEMBERED, Job, Overruns, size_of


class Clock:
    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def refuses(overruns: Overruns, job: Job) -> bool:
    try:
        overruns.check(job, "work")
    except TooCostlyError:
        return True
    return False


def test_jb1_limits_grow_with_size() -> None:
    assert Job(0).limit_s == FLOOR_S
    assert FLOOR_S < Job(40_000).limit_s < FLOOR_S + 0.2
    assert FLOOR_S < Job(1 << 20).limit_s < Job(2 << 20).limit_s < CEILING_S
    assert Job(1 << 30).limit_s == CEILING_S


def test_jb2_each_overrun_is_remembered_twice_as_long() -> None:
    clock = Clock()
    overruns, job = Overruns(clock), Job(1000, document="d")
    pause_s = FORGET_S
    for _ in range(12):
        assert not refuses(overruns, job)
        overruns.add(job, "work")
        clock.now_s += pause_s - 1
        assert refuses(overruns, job)
        clock.now_s += 1
        pause_s = min(2 * pause_s, FORGET_MAX_S)
    assert pause_s == FORGET_MAX_S


def test_jb2_the_oldest_are_forgotten_first() -> None:
    overruns = Overruns(Clock())
    for number in range(MAX_REMEMBERED + 5):
        overruns.add(Job(1000, document=f"d{number}"), "work")
    assert len(overruns) == MAX_REMEMBERED
    assert not refuses(overruns, Job(1000, document="d4"))
    assert refuses(overruns, Job(1000, document="d5"))


def test_jb2_what_is_no_document_is_not_remembered() -> None:
    overruns = Overruns(Clock())
    overruns.add(Job(1000, person="eve"), "work")
    assert len(overruns) == 0


def test_jb3_a_document_that_became_smaller_is_forgotten() -> None:
    overruns = Overruns(Clock())
    overruns.add(Job(1000, document="d"), "work")
    assert refuses(overruns, Job(1000, document="d"))
    assert refuses(overruns, Job(800, document="d"))
    assert not refuses(overruns, Job(700, document="d"))
    assert not refuses(overruns, Job(1000, document="d"))


@pytest.mark.parametrize(("value", "size"), [(b"abc", 3), ([b"abc", (b"de", 7)], 5), ({}, 0), ("text", 0)])
def test_size_of(value: object, size: int) -> None:
    assert size_of(value) == size


def test_jb2_other_work_is_not_refused() -> None:
    overruns = Overruns(Clock())
    overruns.add(Job(1000, document="d"), "load")
    overruns.check(Job(1000, document="d"), "merge")
    assert refuses(overruns, Job(1000, document="d")) is False
    with pytest.raises(TooCostlyError, match="load on document d"):
        overruns.check(Job(1000, document="d"), "load")
