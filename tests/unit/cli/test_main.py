"""The `raffia` command itself."""

from __future__ import annotations

import subprocess
import sys

from typer.testing import CliRunner

from raffia import __version__
from raffia.cli.main import app


def test_the_version_is_printed() -> None:
    done = CliRunner().invoke(app, ["--version"])
    assert (done.exit_code, done.output) == (0, f"raffia {__version__}\n")


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "raffia", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout == f"raffia {__version__}\n"
