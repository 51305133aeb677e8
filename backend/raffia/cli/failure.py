"""How commands report errors.

Rules (tests quote these ids):
    CL1  What an operator has to fix is printed as one line on standard error, without a traceback, with exit status 2.
         An error that may go away by itself is printed likewise, with exit status 1: a supervisor starts the process
         again.
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
