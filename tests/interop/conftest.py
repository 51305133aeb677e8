"""One server process for each module of interop tests; documents keep the tests apart."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.server import WeftServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WeftServer]:
    with WeftServer(tmp_path_factory.mktemp("interop") / "data") as running:
        yield running
