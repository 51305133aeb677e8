"""`python -m tests.faults [pytest arguments]`: run all faults at length and write the results into docs/faults.md."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.faults.table import Fault, write
from tests.support.server import ROOT

REPORT = ROOT / "docs" / "faults.md"


class Collector:
    """A plugin that collects the rows that tests have filled."""

    def __init__(self) -> None:
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Write each row when its test is done, so that an interrupted run keeps what it has (FT1)."""
        if report.failed:
            self.failed.add(report.nodeid)
        if report.when == "teardown":
            faults = [Fault.from_json(value) for name, value in report.user_properties if name == "fault"]
            for fault in faults:
                fault.failed = report.nodeid in self.failed
            if faults:
                write(faults, REPORT)


if __name__ == "__main__":
    os.environ["RAFFIA_FAULTS"] = "long"
    sys.exit(pytest.main([str(Path(__file__).parent), "-q", "-s", *sys.argv[1:]], plugins=[Collector()]))
