"""tests/unit has the shape of backend/raffia: the tests of a folder are in the folder of the same name."""

from __future__ import annotations

from pathlib import Path

import raffia

HERE = Path(__file__).parent
PACKAGE = Path(raffia.__file__).parent


def test_every_folder_here_is_a_folder_of_the_package() -> None:
    folders = {path.parent.relative_to(HERE) for path in HERE.rglob("*.py")}
    assert len(folders) > 10
    assert {str(folder) for folder in folders if not (PACKAGE / folder / "__init__.py").exists()} == set()
