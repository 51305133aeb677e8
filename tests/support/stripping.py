"""HAProxy that serves one server below a path, and strips the path from requests.

async with Stripping(server.port, "/raffia") as proxy:
    ...  # http://127.0.0.1:{proxy.port}/raffia/
"""

from __future__ import annotations

import asyncio
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.cluster import find_program

from tests.support.ports import free_port

CONFIG = """
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout tunnel 10m
frontend public
    bind 127.0.0.1:{port}
    http-request return status 404 unless {{ path_beg {path}/ }}
    http-request replace-path {path}/(.*) /\\1
    default_backend raffia
backend raffia
    server raffia 127.0.0.1:{target}
"""
START_S = 15.0
STOP_S = 10.0


class Stripping:
    """One HAProxy process, as an async context manager.

    Args:
        target: the server's port.
        path: the path it is served below, such as `/raffia`.
    """

    def __init__(self, target: int, path: str) -> None:
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory()
        self._config = Path(self._folder.name) / "haproxy.cfg"
        self._config.write_text(CONFIG.format(port=self.port, path=path, target=target))
        self._process: subprocess.Popen[bytes] | None = None

    async def __aenter__(self) -> Self:
        self._process = subprocess.Popen([find_program("haproxy", "haproxy"), "-db", "-f", str(self._config)])
        async with asyncio.timeout(START_S):
            while not await self._answers():
                assert self._process.poll() is None, "HAProxy ended at once"
                await asyncio.sleep(0.02)
        return self

    async def _answers(self) -> bool:
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        writer.close()
        return True

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        await asyncio.to_thread(self._process.wait, STOP_S)
        self._folder.cleanup()
