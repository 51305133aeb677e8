"""Rules H1-H4 of `raffia.journal.history`, and what the journals keep of them."""

from raffia.crdt.merge import merge
from raffia.crdt.squash import squash
from raffia.crdt.update import read_update
from raffia.journal import history
from raffia.journal.history import BaseSnapshot, Segment
from raffia.journal.protocol import DAY_MS, Entry
from raffia.journal.testing.contract import BEGIN_MS, Typist, canonical, edit
from raffia.types import Position


def entry(position: int, *edits: tuple[str | None, int, bytes]) -> Entry:
    return Entry(Position(position), tuple(edit(update, BEGIN_MS + at_ms, author) for author, at_ms, update in edits))


def test_h1_a_segment_is_one_author_in_one_window() -> None:
    entries = [
        entry(4, ("ana", 0, b"a"), ("bén", 1, b"b"), ("ana", 9_999, b"c")),
        entry(7, ("ana", 10_000, b"d"), ("bén", 9_999, b"e"), (None, 10_001, b"f")),
    ]
    found = [
        (one.window_ms - BEGIN_MS, one.author, one.updates, one.first, one.last) for one in history.split(entries, 0)
    ]
    assert found == [
        (0, "ana", [b"a", b"c"], 4, 4),
        (0, "bén", [b"b"], 4, 4),
        (10_000, "ana", [b"d"], 7, 7),
        (10_000, "bén", [b"e"], 7, 7),  # its clock was behind: it counts with what came before it (J10)
        (10_000, None, [b"f"], 7, 7),
    ]


def test_h1_sorting_in_slices_is_sorting_at_once() -> None:
    entries = [entry(n, (f"author {n % 3}", n * 1_700 - (n % 5) * 4_000, bytes([n]))) for n in range(1, 60)]
    splitter = history.Splitter(0)
    for start in range(0, 60, 7):
        splitter.add(entries[start : start + 7])
    assert splitter.segments() == history.split(entries, 0)


def test_h2_joins_the_same_window_and_author_behind_the_boundary() -> None:
    kept = {
        1: Segment(Position(1), Position(3), BEGIN_MS, "ana", [b"a"]),
        2: Segment(Position(4), Position(6), BEGIN_MS, "ana", [b"b"]),
        3: Segment(Position(4), Position(6), BEGIN_MS, "bén", [b"c"]),
        4: Segment(Position(5), Position(6), BEGIN_MS + 10_000, "ana", [b"d"]),
    }
    new = Segment(Position(8), Position(9), BEGIN_MS, "ana", [b"e"])
    joined = history.take_in(new, kept, Position(3))
    assert (joined.first, joined.last, joined.updates, joined.replaces) == (4, 9, [b"b", b"e"], (2,))
    assert history.take_in(new, kept, Position(6)) is new


def test_h3_stepping_stones_are_half_a_retention_apart() -> None:
    now_ms = BEGIN_MS + 10 * DAY_MS
    before = BaseSnapshot(Position(5), now_ms - DAY_MS + 1)
    near = BaseSnapshot(Position(9), before.time_ms + DAY_MS // 2 - 1)
    far = BaseSnapshot(Position(9), before.time_ms + DAY_MS // 2)
    assert not history.stays_as_base(near, before, DAY_MS, now_ms)
    assert history.stays_as_base(far, before, DAY_MS, now_ms)
    assert history.stays_as_base(
        BaseSnapshot(Position(2), now_ms - DAY_MS), BaseSnapshot(Position(1), now_ms - DAY_MS - 5), DAY_MS, now_ms
    )


def test_h3_the_base_is_the_newest_one_past_the_horizon() -> None:
    bases = [BaseSnapshot(Position(1), 10), BaseSnapshot(Position(5), 20), BaseSnapshot(Position(9), 30)]
    assert history.base_of(bases, 25) == bases[1]
    assert history.base_of(bases, 9) is None


def test_j9_a_moment_starts_from_a_snapshot_with_nothing_later() -> None:
    bases = [BaseSnapshot(Position(1), 10_000), BaseSnapshot(Position(5), 19_999), BaseSnapshot(Position(9), 20_000)]
    assert history.start_of(bases, 10_000) == bases[1]
    assert history.start_of(bases, 25_000) == bases[2]
    assert history.start_of(bases, 9_999) is None


async def test_h1_folding_keeps_deleted_content() -> None:
    typist = Typist(1)
    updates = [typist.type("né"), typist.type("sécret 🦊"), typist.delete(2, 9)]
    (folded,) = await history.fold(updates)
    assert "sécret 🦊".encode() in folded
    assert squash(folded) == canonical(updates)


async def test_h4_a_segment_with_a_gap_stays_a_list_and_the_moment_is_whole() -> None:
    typist = Typist(1)
    one, two, three = typist.type("a"), typist.type("é"), typist.type("🦊")
    folded = await history.fold([one, three])
    assert folded == [one, three]
    whole = merge([*folded, *await history.fold([two])])
    assert not read_update(whole).sections[0].skips
    assert squash(whole) == canonical([one, two, three])


async def test_h4_what_cannot_be_read_is_kept_as_it_is() -> None:
    assert await history.fold([b"\x07garbage", b"\x00\x00"]) == [b"\x07garbage", b"\x00\x00"]


async def test_large_segments_are_folded_beside_the_event_loop() -> None:
    typist = Typist(1)
    updates = [typist.type("é" * 10_000) for _ in range(10)]
    (folded,) = await history.fold(updates)
    assert squash(folded) == canonical(updates)
    paste = typist.type("x" * (history.SQUASH_BYTES + 1))
    assert await history.fold([paste]) == [paste]
