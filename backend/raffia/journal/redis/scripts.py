"""The Lua scripts of this package: each is a file in `lua/`, known to Redis by the SHA-1 of its text.

Rules:
    SC1  A script is a file; its name is the file's name without `.lua`. A missing file is an error.
    SC2  The file's text is sent unchanged: two replicas of the same build use the same SHA.
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import NamedTuple

from raffia.errors import InternalError

FOLDER = Path(__file__).parent / "lua"


class Script(NamedTuple):
    """A Lua script, from a file of `lua/`.

    Attributes:
        name: of the file, without `.lua`.
        source: its text.
        sha: SHA-1 of the text, in hexadecimal, which is how Redis knows it.
    """

    name: str
    source: str
    sha: str


@cache
def load_script(name: str) -> Script:
    """Return the script `name`, read once in a process (SC1).

    Raises:
        InternalError: there is no such file in `lua/`.
    """
    path = FOLDER / f"{name}.lua"
    if not path.is_file():
        there = ", ".join(script_names()) or "none"
        raise InternalError(f"there is no Lua script {name!r}; there are: {there}")
    return make_script(name, path.read_text(encoding="utf-8"))


def make_script(name: str, source: str) -> Script:
    """Make a script from its text (SC2)."""
    return Script(name, source, hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


def script_names() -> list[str]:
    """Return the names of all scripts, sorted."""
    return sorted(path.stem for path in FOLDER.glob("*.lua"))
