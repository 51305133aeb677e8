"""`raffia settings`: print all settings as Markdown; docs/settings.md is made with it."""

from __future__ import annotations

import typer

from raffia.cli.flags import default_text, flag_name, is_switch
from raffia.settings import GROUPS, Settings, is_secret


def show_settings() -> None:
    """Print all settings as Markdown tables: flag, default and meaning."""
    typer.echo(settings_table())


def _secrets() -> str:
    return " and ".join(f"`RAFFIA_{name.upper()}`" for name, field in Settings.model_fields.items() if is_secret(field))


def settings_table() -> str:
    """The text of docs/settings.md."""
    lines = [
        "# Settings",
        "",
        "Every setting is a flag of `raffia serve` and a variable: `--max-update-bytes` is `RAFFIA_MAX_UPDATE_BYTES`.",
        "A flag wins over the variable, the variable over the default. Sizes take `KiB`, `MiB` and `GiB`; times are",
        f"seconds. {_secrets()} can also be read from a file, named by the variable with `_FILE` at its end. This file",
        "is made by `make docs` from `backend/raffia/settings.py`.",
    ]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines += ["", f"## {GROUPS[name]}", "", "| flag | default | meaning |", "|---|---|---|"]
        flag = f"`--{flag_name(name)}`"
        if is_switch(field):
            flag += f", `--no-{flag_name(name)}`"
        lines.append(f"| {flag} | {default_text(name, field)} | {field.description} |")
    return "\n".join(lines)
