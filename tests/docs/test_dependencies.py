"""docs/dependencies.md names the versions that are pinned."""

from __future__ import annotations

import json
import re

from tests.support.server import ROOT

TEXT = (ROOT / "docs/dependencies.md").read_text()
ROWS = dict(re.findall(r"^\| (\S+) \| ([0-9][^|]*) \|", TEXT, re.MULTILINE))


def test_every_python_package_is_listed_with_its_version() -> None:
    pinned = dict(
        re.findall(
            r"^([A-Za-z0-9_.-]+)(?:\[[^\]]*\])?==([^\s\\]+)", (ROOT / "requirements/run.txt").read_text(), re.MULTILINE
        )
    )
    assert len(pinned) > 30
    assert {name: ROWS.get(name) for name in pinned} == pinned


def test_every_direct_package_of_the_app_is_listed_with_its_version() -> None:
    pinned = json.loads((ROOT / "frontend/package.json").read_text())["dependencies"]
    assert {name: ROWS.get(name) for name in pinned} == pinned


def test_indirect_packages_are_listed_with_their_versions() -> None:
    packages = json.loads((ROOT / "frontend/package-lock.json").read_text())["packages"]
    section = TEXT.split("Indirect dependencies", 1)[1]
    for name, versions in re.findall(r"^\| (\S+) \| ([0-9][^|]*) \|", section, re.MULTILINE):
        found = {
            one["version"]
            for path, one in packages.items()
            if path.endswith(f"node_modules/{name}") and not one.get("dev")
        }
        assert found == set(versions.split(", ")), name
