"""Flipped bits in a data folder: nothing wrong is read, nothing whole is lost (BF1-BF3, CS2, SV1)."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from raffia.errors import DamagedStoreError, RaffiaError
from raffia.journal.sqlite.rows import key_of
from raffia.types import DocumentId
from tests.faults.bit_flips import (
    DELETED,
    DOCUMENTS,
    Seen,
    check,
    document,
    flip,
    hit,
    places,
    read_all,
    repair,
    token,
    tokens_of,
    write,
)

SEEDS, LONG_SEEDS = 12, 200
_TOKENS = {token(number, step) for number in range(DOCUMENTS) for step in range(24 + 60)}


class Written:
    """The folder before anything was flipped, closed and with a WAL."""

    def __init__(self, place: Path) -> None:
        self.closed, self.with_wal = place / "closed", place / "with wal"
        asyncio.run(write(self.closed, self.with_wal))
        self.whole = asyncio.run(read_all(_copy(self.closed, place / "whole")))
        self.cells = places(self.closed)


def _copy(source: Path, to: Path) -> Path:
    shutil.rmtree(to, ignore_errors=True)
    shutil.copytree(source, to)
    return to


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Written]:
    return Written(tmp_path_factory.mktemp("flips"))


def _wrong(found: dict[DocumentId, Seen], whole: dict[DocumentId, Seen]) -> list[str]:
    """What was read and is not what was written (BF1)."""
    wrong = []
    for name, seen in found.items():
        for part in ("content", "history", "versions", "info"):
            value, expected = getattr(seen, part), getattr(whole[name], part)
            if isinstance(value, RaffiaError) or (
                part == "versions"
                and not isinstance(expected, RaffiaError)
                and set(map(repr, value)) <= set(map(repr, expected))
            ):
                continue
            if value != expected:
                wrong.append(f"{part} of {name}: {value!r:.200} instead of {expected!r:.200}")
        wrong += [
            f"file {file}"
            for file, content in seen.files.items()
            if isinstance(content, bytes) and content != whole[name].files[file]
        ]
    return wrong


def _is_complete(seen: Seen, whole: Seen) -> bool:
    return all(
        getattr(seen, part) == getattr(whole, part)
        or (isinstance(getattr(seen, part), RaffiaError) and isinstance(getattr(whole, part), RaffiaError))
        for part in ("content", "history", "versions", "info")
    )


def _one_seed(written: Written, place: Path, seed: int, counts: Counter[str]) -> list[str]:
    """Flip, read, repair, read again; return what is wrong."""
    source = written.with_wal if seed % 4 == 3 else written.closed
    folder = _copy(source, place / "flipped")
    flips = flip(folder, seed)
    bytes_hit, page_hit, shared = hit(flips, written.cells)
    if source is written.with_wal:
        bytes_hit, page_hit, shared = set(), set(), True
    untouched = _copy(folder, place / "untouched")
    whole, wrong = written.whole, []
    try:
        found: dict[DocumentId, Seen] | None = asyncio.run(read_all(folder))
    except DamagedStoreError as error:
        found = None
        counts["not started"] += 1
        if not shared and not any(at < 4096 for at in flips.database):
            wrong.append(f"not started: {error}")
    if found is not None:
        wrong += [f"served: {line}" for line in _wrong(found, whole)]
        refused = [name for name, seen in found.items() if isinstance(seen.content, RaffiaError) and name != DELETED]
        counts["refused"] += len(refused)
        if not shared:
            wrong += [
                f"not served although not hit: {name}: {found[name].content}"
                for name in refused
                if key_of(name) not in page_hit
            ]
    for start in (folder, untouched):  # what a server ran on, and what none ran on
        well, said = repair(start)
        again, said_again = check(start)
        if not well or not again:
            wrong.append(f"not repaired: {said} {said_again}")
        try:
            after = asyncio.run(read_all(start))
        except DamagedStoreError as error:
            wrong.append(f"not started after repair: {error} {said}")
            continue
        for name, seen in after.items():
            complete = _is_complete(seen, whole[name])
            counts["not complete"] += not complete and start is untouched
            if not complete and key_of(name) not in bytes_hit and source is written.closed:
                wrong.append(f"lost although whole: {name}: {_difference(seen, whole[name])} {said}")
            if isinstance(seen.content, str):
                wrong += [
                    f"wrong after repair: {name}: {one!r}" for one in tokens_of(seen.content) if one not in _TOKENS
                ]
            for file, content in seen.files.items():
                if content != whole[name].files[file]:
                    wrong.append(f"file {file} after repair")
            if len(seen.files) < len(whole[name].files) - len(flips.files):
                wrong.append(f"files of {name} are lost")
    return wrong


def _difference(seen: Seen, whole: Seen) -> str:
    parts = [part for part in ("content", "history", "versions", "info") if getattr(seen, part) != getattr(whole, part)]
    return "; ".join(f"{part} {getattr(seen, part)!r:.300}" for part in parts)


def test_nothing_wrong_is_served_and_nothing_whole_is_lost(written: Written, tmp_path: Path, long: bool) -> None:
    counts: Counter[str] = Counter()
    wrong: dict[int, Any] = {}
    for seed in range(LONG_SEEDS if long else SEEDS):
        found = _one_seed(written, tmp_path, seed, counts)
        if found:
            wrong[seed] = found
            print(seed, found[:5])
    print(dict(counts))
    assert not wrong


def test_the_documents_of_the_test_are_as_they_should_be(written: Written) -> None:
    assert len(written.whole) == DOCUMENTS + 1
    for number in range(DOCUMENTS):
        seen = written.whole[document(number)]
        assert isinstance(seen.content, str), seen.content
        assert set(tokens_of(seen.content)) <= _TOKENS
        assert len(tokens_of(seen.content)) >= 24
    assert isinstance(written.whole[DELETED].content, RaffiaError)
    assert sum(len(seen.files) for seen in written.whole.values()) == 8
    assert len(written.cells) > 50
