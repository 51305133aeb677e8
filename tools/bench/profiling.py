"""Profiles of Raffia under load: `python -m tools.bench --only type-100 --profile cprofile`.

cProfile sees every call of the main thread, and slows it down two to three times: read its shares, not its times, and
ignore the figures of that run. py-spy samples all threads from outside; it has to be installed in the environment.
"""

from __future__ import annotations

import cProfile
import re
import runpy
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from tests.support.server import ROOT

from tools.bench.servers import BENCH, Spec, UnavailableError

FOLDER = BENCH / "profiles"
_AS_MODULE = ["env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "tools.bench.profiling"]


def profiler(kind: str) -> Callable[[Spec, str], Sequence[str]]:
    """A wrapper that starts Raffia under a profiler; one file per run, named after what is measured.

    Raises:
        UnavailableError: py-spy is asked for and not installed.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    if kind == "cprofile":
        return lambda spec, what: [*_AS_MODULE, str(_path(spec, what, "pstats"))]
    spy = shutil.which("py-spy", path=f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin")
    if spy is None:
        raise UnavailableError("py-spy is not installed; `.venv/bin/pip install py-spy`, or use --profile cprofile")
    return lambda spec, what: [spy, "record", "--rate", "500", "--output", str(_path(spec, what, "svg")), "--"]


def _path(spec: Spec, what: str, suffix: str) -> Path:
    return FOLDER / f"{spec.name}-{re.sub(r'[^a-z0-9]+', '-', what)}.{suffix}"


def main() -> None:
    """`python -m tools.bench.profiling OUT.pstats COMMAND ARGUMENTS`: run a Python program under cProfile."""
    out, command, *arguments = sys.argv[1:]
    sys.argv = [command, *arguments]
    profile = cProfile.Profile()
    profile.enable()
    try:
        runpy.run_path(command, run_name="__main__")
    finally:
        profile.disable()
        profile.dump_stats(out)


if __name__ == "__main__":
    main()
