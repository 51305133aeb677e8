"""How commands report errors.

Rules (tests quote these ids):
    CL1  An error is printed as one line on standard error, without a traceback. If the operator has to fix it, the exit
         status is 2; if it may go away by itself, the status is 1, so that a supervisor restarts the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer

from raffia.errors import LaterError, RaffiaError


@contextmanager
def reported() -> Iterator[None]:
    """Print an error that Raffia raises in the block, and exit (CL1)."""
    try:
        yield
    except RaffiaError as error:
        typer.echo(f"raffia: {error}", err=True)
        raise typer.Exit(1 if isinstance(error, LaterError) else 2) from None
