"""`raffia serve`: run the server until a signal stops it.

Rules (tests quote these ids):
    CL3  A replica waits for Redis while it is unreachable, loading or paused: it listens, `/readyz` returns 503, and it
         logs one line when the wait begins and one when Redis is available.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import socket
import sys
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from time import monotonic
from typing import Any

import uvicorn

from raffia.app import create_app
from raffia.cli.failure import reported
from raffia.embed import Raffia
from raffia.errors import JournalUnavailableError, SettingsError
from raffia.runtime.logs import configure_logging, get_logger
from raffia.settings import ENV_PREFIX, Settings, load_settings
from raffia.sockets.server.places import Places
from raffia.sockets.server.run import RaffiaServer, make_config

log = get_logger("raffia.cli.serve")

WAIT_S = 1.0  # between two attempts to reach Redis, randomly shortened by up to half


def serve(**flags: Any) -> None:
    """Start the server. Every flag is also a variable: --max-update-bytes is RAFFIA_MAX_UPDATE_BYTES."""
    with reported():
        settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
        configure_logging(settings.log_level, settings.log_format)
        if settings.authorize is not None:
            sys.path.insert(0, str(Path.cwd()))  # the hook's module is found from the working directory, as by uvicorn
        run(settings)


def run(settings: Settings) -> None:
    """Serve until a signal stops the process.

    Raises:
        SettingsError: settings that cannot work, an address that cannot be listened on, a data folder in use.
        JournalUnavailableError: the journal cannot be opened.
    """
    asgi = create_app(settings)
    raffia: Raffia = asgi.state.raffia
    raffia.is_hosted = False  # `message_bytes` below
    config = make_config(
        asgi,
        places=Places(
            raffia.addresses,
            settings.max_connections,
            lambda: raffia.metrics.connections,
            settings.forwarded_allow_ips,
        ),
        message_bytes=settings.max_frame_bytes,
        lifespan="off",  # entered in _serve, so that its errors are reported as any other (CL1)
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
        runner.run(_serve(raffia, config, listener))


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
            log.warning("anyone who can reach this address may edit every document", url=url)
        await server.serve(sockets=[listener])
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting


async def _wait_for_redis(raffia: Raffia, stack: AsyncExitStack, server: uvicorn.Server) -> None:
    """Start Raffia as soon as Redis is available (CL3); any other error ends the server and is raised."""
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

    With 100 edits a second for 99 readers, collections took 4 % of the process's time. This is done here and not in
    `Raffia` because a library leaves its host's collector alone (B2).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


def listen(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        SettingsError: the port is taken, or the address does not belong to this machine.
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
