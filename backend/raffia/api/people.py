"""Whom a request counts for, where work is limited for each person.

Rules (tests quote these ids):
    PE1  A person is a user; without a name, a token with an id, such as a link; without a token id, an address as
         address_limits.py counts it. Clients on this machine without any of these are one person.
"""

from __future__ import annotations

from raffia.auth.address_limits import counted
from raffia.types import Grant

LOCAL = "local"


def person_of(grant: Grant, address: str) -> str:
    """Whom a request counts for (PE1)."""
    if grant.user is not None:
        return f"user {grant.user}"
    token = grant.claims.get("jti")
    if token is not None:
        return f"token {token}"
    name = counted(address)
    return LOCAL if name is None else f"address {name}"
