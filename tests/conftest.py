"""What all tests share.

Rules:
    CNF1  Where everything has to run (`make test` sets `NO_SKIPS`), a skipped test is a failure.
    CNF2  With `--dist loadscope`, tests that share servers share a process: browser tests by the place they use, others
          by module or class. Tests in `SPREAD` go to any process, except those in `TOGETHER`.
    CNF3  In several processes, browser tests start first, then those in `SPREAD`; short tests fill the end.
"""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# Tests that take seconds each, and servers that start within one: not worth a process of their own.
SPREAD = {"docs", "faults", "fuzz", "interop", "simulation"}
# Except where a fixture takes long.
TOGETHER = {"tests/interop/judge/test_squash.py"}


def group(test: str) -> str:
    """What a test, given by its node id, shares a process with (CNF2)."""
    if folder(test) == "browser":
        return "browser replicas" if "[replicas" in test else "browser alone"
    module_or_class = test.split("[", maxsplit=1)[0].rpartition("::")[0]
    return test if folder(test) in SPREAD and module_or_class not in TOGETHER else module_or_class


def folder(test: str) -> str:
    """The folder of `tests` that a test is in."""
    return test.split("/")[1]


class Groups(LoadScopeScheduling):
    """Gives each group to one process. (The groups of `--dist loadgroup` have no effect with pytest 9.2.)"""

    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Groups | None:
    """Distribute by group (CNF2)."""
    return Groups(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Order the tests (CNF3)."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: (folder(item.nodeid) != "browser", folder(item.nodeid) not in SPREAD))


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
