"""Imports every module with attacks."""

from __future__ import annotations

import importlib
from pathlib import Path

INFRASTRUCTURE = {
    "__init__",
    "__main__",
    "crafted",
    "enemy",
    "figures",
    "kinds",
    "place",
    "probes",
    "registry",
    "scene",
    "wire",
}


def load() -> None:
    """Fill the registry."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in INFRASTRUCTURE:
            importlib.import_module(f"tools.attacks.{path.stem}")
