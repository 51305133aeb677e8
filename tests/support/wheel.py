"""Raffia as people get it who have neither its source tree nor Node: the wheel, and an environment that holds it alone.

Rules:
    WH1  The environment is made by `venv` and empty, without pip even; the pip of the tests puts the wheel into it, and
         what `requirements/run.txt` pins.
    WH2  What runs there finds no program but the environment's own, and no module of the source tree.
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
    """Build the wheel and the source archive into a folder, or only `--wheel`; the folder."""
    _run([sys.executable, "-m", "build", "--no-isolation", *what, "--outdir", str(folder), str(ROOT)], BUILD_S)
    return folder


class Environment:
    """A virtual environment with nothing but the wheel and its pinned dependencies.

    Args:
        folder: where to make it; nothing may be there yet.
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
        """Variables with which WH2 holds."""
        return {"PATH": str(self.bin), "PYTHONPATH": "", "PYTHONNOUSERSITE": "1"}

    def which(self, program: str) -> str | None:
        """Where a program is found by what runs here."""
        return shutil.which(program, path=self.isolated["PATH"])

    def pip(self, *arguments: str) -> str:
        """Run pip for the environment; what it prints."""
        return _run([sys.executable, "-m", "pip", "--python", str(self.bin / "python"), *arguments], INSTALL_S)

    def run(self, *arguments: str) -> str:
        """Run the environment's Python; what it prints."""
        return _run([str(self.bin / "python"), *arguments], INSTALL_S, self.folder, self.isolated)

    def server(self, data: Path) -> RaffiaServer:
        """`raffia serve` as it is installed here; a context manager."""
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
