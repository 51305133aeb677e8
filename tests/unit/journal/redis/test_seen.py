"""What a journal remembers of each log is bounded, and never forgotten for a document that is followed (J20)."""

from __future__ import annotations

import pytest

from raffia.journal.redis.base import Seen
from raffia.types import DocumentId, Position


def test_followed_documents_are_never_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "LIMIT", 10)
    seen = Seen()
    quiet = [DocumentId(f"quiet-{number}") for number in range(3)]
    for document in quiet:
        seen.followed.add(document)
        seen.set(document, Position(7))
    for number in range(100):
        seen.set(DocumentId(f"passing-{number}"), Position(number))
    assert [seen.get(document) for document in quiet] == [7, 7, 7]
    assert seen.get(DocumentId("passing-0")) is None
    assert seen.get(DocumentId("passing-99")) == 99
    assert len(seen._positions) <= 10 + len(quiet)


def test_what_is_no_longer_followed_may_be_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Seen, "LIMIT", 2)
    seen = Seen()
    first = DocumentId("first")
    seen.followed.add(first)
    seen.set(first, Position(1))
    seen.followed.discard(first)
    for number in range(5):
        seen.set(DocumentId(f"passing-{number}"), Position(number))
    assert seen.get(first) is None
