"""J15 in one process: `raffia.journal.follow`."""

import pytest

from raffia.errors import DocumentDeletedError
from raffia.journal import Entry, Gap, Loaded
from raffia.journal.follow import LogReaders
from raffia.journal.testing.contract import DOCUMENT, edit, take
from raffia.types import START, DocumentId, Position


def entry(position: int) -> Entry:
    return Entry(Position(position), (edit("é".encode()),))


async def nothing(document: DocumentId, after: Position) -> tuple[Position, Loaded]:
    return START, Loaded(None, [], after)


async def test_j15_a_full_queue_is_a_gap_that_grows_until_the_reader_comes() -> None:
    followers = LogReaders(limit=3)
    follower = followers.follow(DOCUMENT, START, nothing)

    async def read(document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        for position in range(1, 8):  # they come while the reader is still reading the store
            followers.tell(DOCUMENT, entry(position))
        return START, Loaded(None, [entry(1), entry(2)], Position(2))

    follower = followers.follow(DOCUMENT, START, read)
    assert await take(follower, 3) == [entry(1), entry(2), Gap(Position(2), Position(7))]
    followers.tell(DOCUMENT, entry(8))
    assert await take(follower, 1) == [entry(8)]


async def test_j15_what_comes_twice_is_yielded_once() -> None:
    followers = LogReaders()

    async def read(document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        followers.tell(DOCUMENT, entry(1))
        followers.tell(DOCUMENT, entry(2))
        followers.tell(DOCUMENT, entry(3))
        return START, Loaded(None, [entry(1), entry(2)], Position(2))

    assert await take(followers.follow(DOCUMENT, START, read), 3) == [entry(1), entry(2), entry(3)]


async def test_a_follower_that_leaves_is_forgotten() -> None:
    followers = LogReaders()

    async def read(document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        return START, Loaded(None, [entry(1)], Position(1))

    iterator = followers.follow(DOCUMENT, START, read)
    await take(iterator, 1)
    assert DOCUMENT in followers
    await iterator.aclose()  # type: ignore[attr-defined]
    assert DOCUMENT not in followers


async def test_j15_ending_one_document_leaves_the_others() -> None:
    followers = LogReaders()

    async def read(document: DocumentId, after: Position) -> tuple[Position, Loaded]:
        return START, Loaded(None, [entry(1)], Position(1))

    other = DocumentId("other")
    one, two = followers.follow(DOCUMENT, START, read), followers.follow(other, START, read)
    await take(one, 1)
    await take(two, 1)
    followers.end(DocumentDeletedError("gone"), DOCUMENT)
    with pytest.raises(DocumentDeletedError, match="gone"):
        await take(one, 1)
    followers.tell(other, entry(2))
    assert await take(two, 1) == [entry(2)]
