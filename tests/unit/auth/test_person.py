"""PE1 of person.py: who is charged."""

from __future__ import annotations

import pytest

from raffia.auth.address_limits import counted
from raffia.auth.person import person_of
from raffia.types import Access, Grant


@pytest.mark.parametrize(
    ("user", "claims", "address", "expected"),
    [
        ("zoe", {"jti": "t"}, "203.0.113.7", "user zoe"),
        (None, {"jti": "link-1"}, "203.0.113.7", "token link-1"),
        (None, {}, "203.0.113.7", "address 203.0.113.7"),
        (None, {}, "127.0.0.1", None),
    ],
)
def test_pe1_who_is_a_person(user: str | None, claims: dict[str, object], address: str, expected: str | None) -> None:
    assert person_of(Grant(Access.EDIT, user, None, claims), counted(address)) == expected


def test_pe1_a_net_is_one_person() -> None:
    grant = Grant(Access.EDIT, None, None, {})
    assert len({person_of(grant, counted(f"2001:db8::{number}")) for number in (1, 2, 3)}) == 1
