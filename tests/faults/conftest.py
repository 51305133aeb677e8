"""Faults come in a short form, for every test run, and a long one (`python -m tests.faults`)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import pytest

from tests.support.client import drop_all

LONG = os.environ.get("WEFT_FAULTS") == "long"


@pytest.fixture
def long() -> bool:
    """Whether this run has time."""
    return LONG


@pytest.fixture(autouse=True)
async def no_socket_left() -> AsyncIterator[None]:
    yield
    await drop_all()
