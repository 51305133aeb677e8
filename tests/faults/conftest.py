"""Faults have a short form, for every test run, and a long one (`python -m tests.faults`)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from tests.faults.table import Fault
from tests.support.client import drop_all

MakeFault = Callable[[str], Fault]
LONG = os.environ.get("RAFFIA_FAULTS") == "long"


@pytest.fixture
def long() -> bool:
    """Whether this is a long run."""
    return LONG


@pytest.fixture
def fault(request: pytest.FixtureRequest) -> Iterator[MakeFault]:
    """Create the rows of docs/faults.md that a test fills: `row = fault("replica killed under load")`."""
    rows: list[Fault] = []

    def make(name: str) -> Fault:
        rows.append(Fault(name))
        return rows[-1]

    yield make
    for row in rows:
        request.node.user_properties.append(("fault", row.to_json()))
        print(row.line())


@pytest.fixture(autouse=True)
async def no_socket_left() -> AsyncIterator[None]:
    yield
    await drop_all()
