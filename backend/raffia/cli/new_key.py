"""`raffia new-key`: make a secret to sign tokens with.

Rules (tests quote these ids):
    MN3  A secret is written to a new file that only its owner can read; an existing file is never replaced.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from raffia.auth.keys import new_secret
from raffia.cli.failure import reported
from raffia.errors import SettingsError


def new_key(path: Annotated[Path, typer.Argument(metavar="FILE", help="File to create; must not exist.")]) -> None:
    """Write a new secret for --auth-key-file to a file."""
    with reported():
        write_secret(path)
    typer.echo(f"wrote {path}: set RAFFIA_AUTH_KEY_FILE={path}", err=True)


def write_secret(path: Path) -> None:
    """Write a new secret (MN3).

    Raises:
        SettingsError: the file exists, or cannot be written.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(new_secret() + "\n")
    except FileExistsError:
        raise SettingsError(f"{path} exists; name a new file, or add a line to it to rotate keys") from None
    except OSError as error:
        raise SettingsError(f"cannot write {path}: {error.strerror}") from error
