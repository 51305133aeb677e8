"""A rule has one id in the whole project, so that a test, a comment or a reader that quotes it means one thing."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

PROJECT = Path(__file__).parents[2]
FOLDERS = ("backend", "frontend/src", "frontend/tests", "infra", "tests", "tools")
SUFFIXES = {".py", ".ts", ".tsx", ".js", ".cfg"}
# `    R2  Fan-out does not wait for durability`: in the docstring of a module, or of anything else.
RULE = re.compile(r"^(?: {4}|# {3}| \* {1,4})([A-Z]{1,3}\d{1,2}) {1,3}\S", re.MULTILINE)


def rules() -> dict[str, list[str]]:
    """Each id, and the files that define it: one for every definition."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in FOLDERS:
        for path in sorted((PROJECT / folder).rglob("*")):
            if path.suffix in SUFFIXES and not {"node_modules", "static"} & set(path.parts):
                for rule in RULE.findall(path.read_text()):
                    found[rule].append(str(path.relative_to(PROJECT)))
    return found


def test_the_rules_are_found() -> None:
    found = rules()
    assert found["R2"] == found["R3"]
    assert len(found) > 400


def test_each_id_is_defined_once() -> None:
    assert {rule: paths for rule, paths in rules().items() if len(paths) > 1} == {}
