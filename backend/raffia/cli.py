"""The `raffia` command. Its flags are made from settings.py, so that no setting is without one (C1).

Rules (tests quote these ids):
    F1  What an operator has to mend is said in one line on standard error, without a traceback, with exit status 2. So
        is what may be well later, with 1, and whoever watches over the process starts it again.
    F3  A replica waits for a Redis that is absent, loading or paused: it listens, `/readyz` is 503, and it says so once
        when it begins to wait and once when Redis is there.
    F2  An unknown `RAFFIA_*` variable is a warning: it may be a typing error, and orchestrators set some by themselves.
"""

from __future__ import annotations

import asyncio
import difflib
import gc
import inspect
import os
import random
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic
from types import UnionType
from typing import Annotated, Any, get_args

import typer
import uvicorn
from pydantic.fields import FieldInfo

from raffia import __version__
from raffia.app import create_app
from raffia.check import check_folder
from raffia.embed import Raffia
from raffia.errors import JournalUnavailableError, LaterError, RaffiaError, SettingsError
from raffia.logs import configure_logging, get_logger
from raffia.minting import new_key, token
from raffia.revoking import revoke
from raffia.server.run import RaffiaServer, make_config
from raffia.settings import ENV_PREFIX, GROUPS, Settings, load_settings

log = get_logger("raffia.cli")
WAIT_S = 1.0  # between two attempts to reach Redis, half of it by chance
app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode=None, help=f"Raffia {__version__}.")


def main() -> None:
    """Entry point of the `raffia` command."""
    app()


def serve(**flags: Any) -> None:
    """Start the server. Every flag is also a variable: --max-update-bytes is RAFFIA_MAX_UPDATE_BYTES."""
    try:
        settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
        configure_logging(settings.log_level, settings.log_format)
        warn_about_unknown_variables()
        if settings.authorize is not None:
            sys.path.insert(0, str(Path.cwd()))  # the hook's module lies where the command is given, as for uvicorn
        run(settings)
    except RaffiaError as error:
        typer.echo(f"raffia: {error}", err=True)
        raise typer.Exit(1 if isinstance(error, LaterError) else 2) from None


@app.command("check")
def check(
    data: Annotated[str | None, typer.Option(metavar="TEXT", help="Data folder. [default: raffia-data]")] = None,
    keep_deleted: Annotated[
        bool | None,
        typer.Option(
            "--keep-deleted/--no-keep-deleted", show_default=False, help="As for raffia serve. [default: off]"
        ),
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is damaged; what was there is kept.")] = False,
) -> None:
    """Read every document while no server runs, and name those that cannot be read.

    Exit status 0: all can be read; 1: something is damaged; 2: the check could not run.
    """
    flags = {"data": data, "keep_deleted": keep_deleted}
    try:
        settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
        configure_logging(settings.log_level, settings.log_format)
        findings = check_folder(settings, repair=repair, say=typer.echo)
    except RaffiaError as error:
        typer.echo(f"raffia: {error}", err=True)
        raise typer.Exit(2) from None
    if not findings.is_well:
        raise typer.Exit(1)


@app.command("settings")
def show_settings() -> None:
    """Print all settings as Markdown tables: flag, default and meaning."""
    typer.echo(settings_table())


def run(settings: Settings) -> None:
    """Serve until a signal ends it.

    Raises:
        SettingsError: settings that cannot work, an address that cannot be listened on, a data folder in use.
        JournalUnavailableError: the journal cannot be opened.
    """
    asgi = create_app(settings)
    config = make_config(
        asgi,
        message_bytes=settings.max_frame_bytes,
        lifespan="off",  # opened here, so that its errors are ours to say (F1)
        log_config=None,
        access_log=settings.log_level == "debug",
        root_path=settings.root_path,
        forwarded_allow_ips=settings.forwarded_allow_ips,
        ssl_certfile=settings.tls_certificate,
        ssl_keyfile=settings.tls_key,
    )
    with (
        listen(settings.host, settings.port) as listener,
        asyncio.Runner(loop_factory=config.get_loop_factory()) as runner,
    ):
        runner.run(_serve(asgi.state.raffia, config, listener))


async def _serve(raffia: Raffia, config: uvicorn.Config, listener: socket.socket) -> None:
    settings = raffia.settings
    server = RaffiaServer(config, drain=raffia.drain, drain_s=settings.drain_s)
    async with AsyncExitStack() as stack:
        waiting: asyncio.Task[None] | None = None
        try:
            await stack.enter_async_context(raffia)
        except JournalUnavailableError as error:
            if settings.redis is None:
                raise
            log.warning("waiting for Redis", detail=str(error))
            waiting = asyncio.create_task(_wait_for_redis(raffia, stack, server))
        tune_garbage_collection()
        host, port = listener.getsockname()[:2]
        scheme = "https" if settings.tls_certificate else "http"
        url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}{settings.root_path}"
        log.info("listening", url=url, data=str(settings.data), open=raffia.is_open, replica_pid=os.getpid())
        if raffia.is_open and not settings.on_loopback:
            log.warning("everybody who reaches this address may edit every document", url=url)
        await server.serve(sockets=[listener])
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting


async def _wait_for_redis(raffia: Raffia, stack: AsyncExitStack, server: uvicorn.Server) -> None:
    """Open Raffia when Redis is there (F3); what else goes wrong ends the server, and is raised."""
    began_s = monotonic()
    while True:
        await asyncio.sleep(WAIT_S * random.uniform(0.5, 1.0))  # noqa: S311 - spreads load, guards nothing
        try:
            await stack.enter_async_context(raffia)
        except JournalUnavailableError as error:
            log.debug("still waiting for Redis", detail=str(error))
        except BaseException:
            server.should_exit = True
            raise
        else:
            log.info("Redis is there", waited_s=round(monotonic() - began_s, 3))
            return


def tune_garbage_collection() -> None:
    """Collect less often: rooms and sessions live long and hold few cycles, and each collection walks all of them.

    Measured under 100 edits a second for 99 readers: 4 % of the process's time. Only here, since a library does not
    change its host's collector (B2).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        SettingsError: somebody else has the port, or the address is not this machine's.
    """
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=2048
        )
    except OSError as error:
        raise SettingsError(
            f"cannot listen on {host} port {port}: {error.strerror or error}; choose another with --host or --port "
            f"({ENV_PREFIX}HOST, {ENV_PREFIX}PORT)"
        ) from error


def warn_about_unknown_variables() -> None:
    """Log `RAFFIA_*` variables that are no setting, with the likely one (F2)."""
    known = {f"{ENV_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if name.startswith(ENV_PREFIX) and name not in known:
            likely = difflib.get_close_matches(name, known, n=1)
            log.warning("variable is not a setting", variable=name, meant=likely[0] if likely else None)


def settings_table() -> str:
    """docs/settings.md, made from settings.py."""
    lines = [
        "# Settings",
        "",
        "Every setting is a flag of `raffia serve` and a variable: `--max-update-bytes` is `RAFFIA_MAX_UPDATE_BYTES`.",
        "A flag wins over the variable, the variable over the default. Sizes take `KiB`, `MiB` and `GiB`; times are",
        "seconds. This file is made by `make docs` from `backend/raffia/settings.py`.",
    ]
    for name, field in Settings.model_fields.items():
        if name in GROUPS:
            lines += ["", f"## {GROUPS[name]}", "", "| flag | default | meaning |", "|---|---|---|"]
        flag = f"`--{_dashed(name)}`" if not _is_bool(field) else f"`--{_dashed(name)}`, `--no-{_dashed(name)}`"
        lines.append(f"| {flag} | {_default(name, field)} | {field.description} |")
    return "\n".join(lines)


def _default(name: str, field: FieldInfo) -> str:
    value = field.default
    if value is None or value in ((), ""):
        return "–"
    if isinstance(value, bool):
        return "on" if value else "off"
    if name.endswith(("_bytes", "_bytes_per_s")):
        unit, size = next((u, s) for u, s in (("MiB", 1 << 20), ("KiB", 1 << 10), ("", 1)) if value % s == 0)
        return f"`{value // size}{unit}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


def _dashed(name: str) -> str:
    return name.replace("_", "-")


def _is_bool(field: FieldInfo) -> bool:
    return field.annotation is bool


def _metavar(name: str, field: FieldInfo) -> str:
    for suffix, metavar in (("_bytes", "BYTES"), ("_s", "SECONDS")):
        if name.endswith(suffix) and not name.endswith("_per_s"):
            return metavar
    kind = field.annotation
    choices = get_args(kind)
    if choices and not isinstance(kind, UnionType) and all(isinstance(choice, str) for choice in choices):
        return "|".join(choices)
    return {int: "NUMBER", float: "NUMBER"}.get(kind, "TEXT") if isinstance(kind, type) else "TEXT"


def _parameters() -> Iterator[inspect.Parameter]:
    group = ""
    for name, field in Settings.model_fields.items():
        group = GROUPS.get(name, group)
        dashed = _dashed(name)
        about: dict[str, Any] = {
            "help": f"{field.description} [default: {_default(name, field).strip('`')}]",
            "rich_help_panel": group,
            "show_default": False,
        }
        kind: Any = bool | None
        if _is_bool(field):
            option = typer.Option(f"--{dashed}/--no-{dashed}", **about)
        else:
            # Text, whatever it is: settings.py reads and checks it, with the same words as for a variable.
            kind, option = str | None, typer.Option(f"--{dashed}", metavar=_metavar(name, field), **about)
        yield inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Annotated[kind, option])


def _with_flags(function: Callable[..., None]) -> Callable[..., None]:
    """Give `function(**flags)` one keyword for each setting, in the form in which Typer reads a function."""
    parameters = list(_parameters())
    function.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    function.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return function


app.command("serve")(_with_flags(serve))
app.command("token")(token)
app.command("new-key")(new_key)
app.command("revoke")(revoke)
