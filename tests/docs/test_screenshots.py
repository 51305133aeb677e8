"""The pictures that docs/screenshots/README.md and README.md name are there, and no others."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.server import ROOT

FOLDER = ROOT / "docs/screenshots"
MAX_BYTES = 8_000_000


def named(page: Path) -> set[Path]:
    return {(page.parent / name).resolve() for name in re.findall(r'[("]([\w/-]+\.png)[)"]', page.read_text())}


def test_every_picture_stands_in_the_index_and_every_picture_of_the_index_is_there() -> None:
    assert named(FOLDER / "README.md") == set(FOLDER.glob("*.png"))


def test_pictures_of_the_readme_are_there() -> None:
    pictures = named(ROOT / "README.md")
    assert len(pictures) == 4
    assert all(picture.is_file() for picture in pictures)


def test_all_pictures_together_are_small() -> None:
    assert sum(picture.stat().st_size for picture in FOLDER.glob("*.png")) < MAX_BYTES
