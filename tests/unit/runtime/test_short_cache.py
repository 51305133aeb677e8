"""SHC1 of short_cache.py."""

from __future__ import annotations

from raffia.runtime.short_cache import CHARACTERS, ENTRIES, short_cache


def test_shc1_short_arguments_are_cached_and_long_ones_never() -> None:
    calls: list[str] = []

    @short_cache
    def length(text: str) -> int:
        calls.append(text)
        return len(text)

    for text in ("é", "x" * CHARACTERS, "x" * (CHARACTERS + 1)):
        assert [length(text), length(text)] == [len(text)] * 2
    assert [len(text) for text in calls] == [1, CHARACTERS, CHARACTERS + 1, CHARACTERS + 1]


def test_shc1_the_least_recently_used_result_is_dropped() -> None:
    calls: list[str] = []
    remember = short_cache(calls.append)
    for number in range(ENTRIES + 1):
        remember(str(number))
        remember("1000000")  # used all the time
    calls.clear()
    remember("1000000")
    assert calls == []
    remember("0")
    assert calls == ["0"]
