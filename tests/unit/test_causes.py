"""What the browser app tells people about the server's refusals covers all that stay refused."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.support.server import ROOT

from raffia.errors import RaffiaError

TOLD = ROOT / "frontend/src/connection/causes.ts"
# Said over REST only, before there is a session.
REST_ONLY = {"unsupported-type"}


def _all(error: type[RaffiaError]) -> Iterator[type[RaffiaError]]:
    yield error
    for narrower in error.__subclasses__():
        yield from _all(narrower)


def test_every_permanent_refusal_has_a_cause() -> None:
    told = set(re.findall(r'^  "([a-z-]+)": "', TOLD.read_text(), re.MULTILINE))
    permanent = {error.reason for error in _all(RaffiaError) if 4400 <= error.close_code <= 4499}
    assert permanent - REST_ONLY - told == set()
