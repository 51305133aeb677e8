"""Install the npm packages of the interop tests: `python -m tests.interop.install`.

Rules:
    INS1  Each version of a client lives in its own folder with exact pins, so that they cannot lift each other.
    INS2  `npm ci` runs only when the lock is not the one that was installed last: a stamp in node_modules holds its
          hash.
    INS3  Two at a time, without scripts and without optional packages (one of them compiles a database).
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.interop import judge

HERE = Path(__file__).resolve().parent
STAMP = "node_modules/.raffia-installed"
INSTALL_S = 300


def folders() -> list[Path]:
    """Every client's folder; the judge installs itself."""
    return sorted(lock.parent for lock in HERE.glob("clients/*/package-lock.json"))


def fingerprint(folder: Path) -> str:
    """What has to be the same for an install to be still right."""
    parts = [(folder / name).read_bytes() for name in ("package.json", "package-lock.json")]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()


def installed(folder: Path) -> bool:
    stamp = folder / STAMP
    return stamp.exists() and stamp.read_text() == fingerprint(folder)


def install(folder: Path) -> str:
    """Install one folder when it is out of date (INS2); a line that says what was done.

    Raises:
        RuntimeError: npm failed; with the end of what it said.
    """
    # Test processes start at the same time; one installs, the others wait.
    with (folder / "package-lock.json").open("rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        name = folder.relative_to(HERE)
        return f"{name}: up to date" if installed(folder) else f"{name}: {_install(folder)}"


def _install(folder: Path) -> str:
    npm = shutil.which("npm")
    if npm is None:
        raise RuntimeError("npm is not installed; the interop tests need Node 20 or newer with npm")
    done = subprocess.run(
        [npm, "ci", "--ignore-scripts", "--omit=optional", "--no-audit", "--no-fund", "--loglevel=error"],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=INSTALL_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"npm ci in {folder.name} failed:\n{(done.stderr or done.stdout)[-2000:]}")
    (folder / STAMP).write_text(fingerprint(folder))
    return "installed"


def install_all() -> list[str]:
    """Install whatever is out of date, two at a time (INS3)."""
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(install, folders()))
    judge.install()
    return [*done, "judge: ready"]


if __name__ == "__main__":
    try:
        print("\n".join(install_all()))
    except RuntimeError as error:
        sys.exit(str(error))
