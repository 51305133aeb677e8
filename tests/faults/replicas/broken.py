"""Start replicas that are broken on purpose; see `broken_replica`."""

from __future__ import annotations

import os
import sys
from typing import Any

from tests.support.server import ROOT

COMMAND = [sys.executable, "-m", "tests.faults.replicas.broken_replica", "serve"]
COMMAND += ["--host", "127.0.0.1", "--port", "{port}", "--data", "{data}"]


def broken(how: str) -> dict[str, Any]:
    """The arguments for a `Scene` of such replicas."""
    return {
        "command": COMMAND,
        "env": {"PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'backend'}", "RAFFIA_TEST_BROKEN": how},
    }
