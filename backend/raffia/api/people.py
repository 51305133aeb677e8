"""Identifies the person that a request is charged to, for limits per person.

Rules (tests quote these ids):
    PE1  A person is a user; without a user, a token with an id, such as a share link; without a token id, an address as
         address_limits.py counts it. Clients on this machine without a user or token id are one person.
"""

from __future__ import annotations

from raffia.auth.address_limits import counted
from raffia.types import Grant

LOCAL = "local"


def person_of(grant: Grant, address: str) -> str:
    """The person that a request is charged to (PE1)."""
    if grant.user is not None:
        return f"user {grant.user}"
    token = grant.claims.get("jti")
    if token is not None:
        return f"token {token}"
    name = counted(address)
    return LOCAL if name is None else f"address {name}"
