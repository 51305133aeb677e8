"""One judge for all tests of a process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.interop.judge import YjsJudge


@pytest.fixture(scope="session")
def judge() -> Iterator[YjsJudge]:
    with YjsJudge() as running:
        yield running
