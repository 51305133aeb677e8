"""Names the person that limits per person charge.

Rules (tests quote these ids):
    PE1  A person is a user; without a user, a token with an id, such as a share link; without a token id, an address as
         address_limits.py counts it. Clients on this machine without a user or token id are no person.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.types import Grant


def person_of(grant: Grant, address: str | None) -> str | None:
    """Return the person that a client is charged as (PE1).

    Args:
        grant: the client's grant.
        address: the client's address, as `address_limits.counted` returns it.

    Returns:
        A key for budgets; None for a client on this machine without a user or token id.
    """
    if grant.user is not None:
        return f"user {grant.user}"
    token = grant.claims.get("jti")
    if isinstance(token, str):
        return f"token {token}"
    return None if address is None else address_person(address)


def address_person(address: str) -> str:
    """Return the person that a connection is charged as before anybody has signed in on it."""
    return f"address {address}"
