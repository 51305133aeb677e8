"""What all tests share.

Rules:
    CNF1  Where everything has to run (`make test` sets `NO_SKIPS`), a skipped test is a failure.
    CNF2  With `--dist loadgroup`, tests that share servers share a process: browser tests by the place they use, others
          by module or class. Tests that take long or mostly wait go to any process.
    CNF3  Browser tests start first, then what goes to any process; short tests fill the end.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Tests that take seconds each, and servers that start within one: not worth a process of their own.
SPREAD = {"docs", "faults", "fuzz", "interop", "simulation"}


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Group and order the tests (CNF2, CNF3)."""
    if not config.getoption("loadgroup", default=False):
        return
    ranks: dict[pytest.Item, int] = {}
    for item in items:
        folder = item.path.relative_to(HERE).parts[0]
        if folder == "browser":
            item.add_marker(pytest.mark.xdist_group("browser replicas" if "replicas" in item.name else "browser alone"))
            ranks[item] = 0
        elif folder in SPREAD or item.get_closest_marker("slow"):
            ranks[item] = 1
        else:
            item.add_marker(pytest.mark.xdist_group(item.nodeid.split("[")[0].rpartition("::")[0]))
            ranks[item] = 2
    items.sort(key=ranks.__getitem__)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn skips into failures (CNF1)."""
    report = yield
    _no_skips(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """The same for modules that skip themselves."""
    report = yield
    _no_skips(report)
    return report


def _no_skips(report: pytest.TestReport | pytest.CollectReport) -> None:
    if report.skipped and not hasattr(report, "wasxfail") and os.environ.get("NO_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid} was skipped, but NO_SKIPS is set: {report.longrepr}"
