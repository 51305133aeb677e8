"""`python -m tests.faults [pytest arguments]`: all faults at length, with what was measured."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    os.environ["WEFT_FAULTS"] = "long"
    sys.exit(pytest.main([str(Path(__file__).parent), "-q", "-s", *sys.argv[1:]]))
