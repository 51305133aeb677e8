"""A TCP proxy whose connections can be frozen one by one: they stay open, and nothing comes through any more."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self


class _Way:
    """One connection and the server's end of it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.said = b""  # by the client, from its beginning
        self.thawed = asyncio.Event()
        self.thawed.set()


class FreezingProxy:
    """Passes on what is said to a port of this machine, as an async context manager.

    Args:
        port: of the server.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self._ways: list[_Way] = []
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """Its own port."""
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    def freeze(self, word: bytes) -> int:
        """Freeze every connection whose client has said `word`; returns how many."""
        frozen = [way for way in self._ways if word in way.said and way.thawed.is_set()]
        for way in frozen:
            way.thawed.clear()
        return len(frozen)

    async def _open(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        way = _Way(reader, writer)
        self._ways.append(way)
        try:
            there_reader, there = await asyncio.open_connection("127.0.0.1", self._server_port)
        except OSError:
            writer.close()
            return
        for source, target, is_client in ((reader, there, True), (there_reader, writer, False)):
            task = asyncio.create_task(self._pass(way, source, target, is_client=is_client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _pass(
        self, way: _Way, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_client: bool
    ) -> None:
        try:
            while data := await source.read(65536):
                if is_client:
                    way.said += data
                await way.thawed.wait()
                target.write(data)
        except OSError:
            pass
        finally:
            target.close()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._open, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for way in self._ways:
            way.writer.close()
