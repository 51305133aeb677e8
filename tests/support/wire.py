"""A wire between a browser and a server that a test can cut: a TCP relay on its own port.

    async with Wire(server.port) as wire:
        ...
        wire.cut()   # all connections end, new ones are refused
        wire.heal()

Rules:
    SUW1  While cut, nothing passes in either direction and new connections are closed at once. Data that the server or
        the browser has sent and that has not arrived yet is lost.
    SUW2  Leaving the `async with` ends all connections.
"""

from __future__ import annotations

import asyncio
import contextlib
from types import TracebackType
from typing import Self

from tests.support.ports import free_port


class Wire:
    """A relay from its own port to a server's.

    Args:
        target: the server's port on loopback.

    Attributes:
        port: where browsers connect.
        bytes_down: the bytes sent to browsers so far.
    """

    def __init__(self, target: int) -> None:
        self.target = target
        self.port = free_port()
        self.bytes_down = 0
        self._is_cut = False
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        self.cut()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Like a pulled cable, but noticed at once (SUW1)."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def heal(self) -> None:
        """New connections pass again."""
        self._is_cut = False

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            if self._is_cut:
                return
            beyond, away = await asyncio.open_connection("127.0.0.1", self.target)
        except OSError:
            return
        else:
            self._writers |= {writer, away}
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pump(reader, away, down=False))
                    group.create_task(self._pump(beyond, writer, down=True))
            finally:
                self._writers -= {writer, away}
                away.transport.abort()
        finally:
            writer.transport.abort()

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, *, down: bool) -> None:
        # It is no error if one side has gone: both are closed below.
        with contextlib.suppress(OSError):
            while (piece := await source.read(65536)) and not self._is_cut:
                if down:
                    self.bytes_down += len(piece)
                sink.write(piece)
                await sink.drain()
        sink.transport.abort() if self._is_cut else sink.close()
