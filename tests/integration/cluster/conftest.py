"""What is left open by a test is ended behind it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from tests.support.client import drop_all


@pytest.fixture(autouse=True)
async def no_socket_left() -> AsyncIterator[None]:
    yield
    await drop_all()
