"""What all tests share: a skipped test is a failure where everything has to run (`make test`)."""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skips into failures when `WEFT_NO_SKIPS` is set."""
    report = yield
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("WEFT_NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"{item.nodeid} was skipped, but here everything has to run: {report.longrepr}"
    return report
