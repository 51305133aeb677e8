"""Flags of `raffia serve`, one for each setting, built from settings.py so that no setting lacks a flag (C1)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from types import UnionType
from typing import Annotated, Any, get_args

import typer
from pydantic.fields import FieldInfo

from raffia.settings import GROUPS, Settings


def with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Give `function(**flags)` a signature with one keyword per setting, for Typer to read."""
    parameters = list(_parameters())
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


def flag_name(setting: str) -> str:
    """The flag of a setting without its leading dashes: `max_update_bytes` is `max-update-bytes`."""
    return setting.replace("_", "-")


def is_switch(field: FieldInfo) -> bool:
    """Whether a setting is on or off, so that it has the flags `--name` and `--no-name`."""
    return field.annotation is bool


def default_text(name: str, field: FieldInfo) -> str:
    """The default of a setting in Markdown, with a size in its largest whole unit; a dash for none."""
    value = field.default
    if value is None or value in ((), ""):
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name.endswith(("_bytes", "_bytes_per_s")):
        unit, size = next((u, s) for u, s in (("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)) if value % s == 0)
        return f"`{value // size}{unit}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _parameters() -> Iterator[inspect.Parameter]:
    group = ""
    for name, field in Settings.model_fields.items():
        group = GROUPS.get(name, group)
        flag = flag_name(name)
        about: dict[str, Any] = {
            "help": f"{field.description} [default: {default_text(name, field).strip('`')}]",
            "rich_help_panel": group,
            "show_default": False,
        }
        kind: Any = bool | None
        if is_switch(field):
            option = typer.Option(f"--{flag}/--no-{flag}", **about)
        else:
            # Always text: settings.py parses it, and its errors are the same as for a variable.
            kind, option = str | None, typer.Option(f"--{flag}", metavar=_metavar(name, field), **about)
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _metavar(name: str, field: FieldInfo) -> str:
    for suffix, metavar in (("_bytes", "BYTES"), ("_s", "SECONDS")):
        if name.endswith(suffix) and not name.endswith("_per_s"):
            return metavar
    kind = field.annotation
    choices = get_args(kind)
    if choices and not isinstance(kind, UnionType) and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return {int: "NUMBER", float: "NUMBER"}.get(kind, "TEXT") if isinstance(kind, type) else "TEXT"
