"""Raffia as users install it, without its source tree or Node: the wheel in an environment of its own.

Rules:
    WH1  The environment is made by `venv`, empty and without pip; the tests' pip installs the wheel into it, and the
         versions that `requirements/run.txt` pins.
    WH2  Programs there find only the environment's own programs, and no module of the source tree.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.support.server import ROOT, RaffiaServer

BUILD_S = 300
INSTALL_S = 300


def build(folder: Path, *what: str) -> Path:
    """Build the wheel and the source archive, or only `--wheel`, into a folder; returns the folder."""
    _run([sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", str(folder), str(ROOT)], BUILD_S)
    return folder


class Environment:
    """A virtual environment with only the wheel and its pinned dependencies.

    Args:
        folder: where to create it; must not exist yet.
        wheel: what to install.
    """

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)], INSTALL_S)
        self.pip("install", "--quiet", "--no-deps", str(wheel))
        self.pip("install", "--quiet", "--require-hashes", "-r", str(ROOT / "requirements/run.txt"))

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def isolated(self) -> Mapping[str, str]:
        """Environment variables that make WH2 hold."""
        return {"PATH": str(self.bin), "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}

    def which(self, program: str) -> str | None:
        """The path of a program, as found in this environment."""
        return shutil.which(program, path=self.isolated["PATH"])

    def pip(self, *arguments: str) -> str:
        """Run pip for the environment; returns its output."""
        return _run([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), *arguments], INSTALL_S)

    def run(self, *arguments: str) -> str:
        """Run the environment's Python; returns its output."""
        return _run([str(self.bin / "python"), *arguments], INSTALL_S, self.folder, self.isolated)

    def server(self, data: Path) -> RaffiaServer:
        """The `raffia serve` installed here, as a context manager."""
        command = [str(self.bin / "raffia"), "serve", "--host", "127.0.0.1", "--port", "{port}", "--data", "{data}"]
        return RaffiaServer(data, env=self.isolated, command=command)


def _run(
    command: Sequence[str], timeout_s: float, folder: Path | None = None, env: Mapping[str, str] | None = None
) -> str:
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=folder,
        env={**os.environ, **(env or {})},
    )
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
