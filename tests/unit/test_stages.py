"""tools/stages.sh: the stages of `make check` and `make test` with their times."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "tools/stages.sh"
MAKEFILE = "one:\n\t@echo first é\ntwo:\n\t@exit 3\nthree:\n\t@echo third\n"


def stages(folder: Path, *names: str) -> tuple[int, str]:
    (folder / "Makefile").write_text(MAKEFILE)
    done = subprocess.run([SCRIPT, *names], cwd=folder, stdout=subprocess.PIPE, text=True, check=False)
    return done.returncode, re.sub(r" +\d+ s", " N s", done.stdout)


def test_each_stage_and_the_total_have_their_time(tmp_path: Path) -> None:
    status, out = stages(tmp_path, "one", "three")
    assert status == 0
    assert out == "first é\n== one N s\nthird\n== three N s\n\none N s\nthree N s\ntotal N s\n"


def test_a_stage_that_fails_is_the_last(tmp_path: Path) -> None:
    status, out = stages(tmp_path, "one", "two", "three")
    assert status == 2, "that of make"
    assert out.endswith("\n== two N s  failed\n\none N s\ntwo N s  failed\ntotal N s\n")
    assert "third" not in out
