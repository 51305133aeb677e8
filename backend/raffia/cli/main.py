"""The `raffia` command, assembled from its subcommands."""

from __future__ import annotations

from typing import Annotated

import typer

from raffia import __version__
from raffia.cli.check import check
from raffia.cli.flags import with_flags
from raffia.cli.new_key import new_key
from raffia.cli.revoke import revoke
from raffia.cli.serve import serve
from raffia.cli.settings import show_settings
from raffia.cli.token import token

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help=f"Raffia {__version__}.")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"raffia {__version__}")
        raise typer.Exit


@app.callback()
def _raffia(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself."""


app.command("check")(check)
app.command("settings")(show_settings)
app.command("serve")(with_flags(serve))
app.command("token")(token)
app.command("new-key")(new_key)
app.command("revoke")(revoke)


def main() -> None:
    """Entry point of the `raffia` command."""
    app()
