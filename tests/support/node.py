"""A Node process that answers JSON lines: one request line in, one answer line out, in any order."""

from __future__ import annotations

import asyncio
import itertools
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

LINE_LIMIT_BYTES = 256 * 1024 * 1024


class NodeError(AssertionError):
    """An exception thrown in Node, with its stack."""


class NodeProcess:
    """Starts `node` with `arguments` and calls operations in it."""

    def __init__(self, arguments: Sequence[str | Path], *, flags: Sequence[str] = ()) -> None:
        self._arguments = [*flags, *(str(part) for part in arguments)]
        self._process: asyncio.subprocess.Process | None = None
        self._reader: asyncio.Task[None] | None = None
        self._answers: dict[int, asyncio.Future[Any]] = {}
        self._ids = itertools.count(1)

    async def __aenter__(self) -> Self:
        node = shutil.which("node")
        if node is None:
            raise RuntimeError("node is not installed; the interop tests need Node 20 or newer")
        self._process = await asyncio.create_subprocess_exec(
            node,
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=LINE_LIMIT_BYTES,
        )
        self._reader = asyncio.create_task(self._read())
        return self

    async def __aexit__(self, *_: object) -> None:
        process = self._process
        if process is None or process.stdin is None or self._reader is None:
            return
        process.stdin.close()  # the driver exits at the end of its input
        try:
            await asyncio.wait_for(process.wait(), 10)
        except TimeoutError:
            process.kill()
            await process.wait()
        await self._reader

    def kill(self) -> None:
        """Kill the process, like a crash."""
        if self._process is not None:
            self._process.kill()

    async def _read(self) -> None:
        process = self._process
        if process is None or process.stdout is None:
            raise RuntimeError("not started")
        while line := await process.stdout.readline():
            answer = json.loads(line)
            future = self._answers.pop(answer["id"])
            if future.done():
                continue
            if "error" in answer:
                future.set_exception(NodeError(answer["error"]))
            else:
                future.set_result(answer.get("value"))
        for future in self._answers.values():
            if not future.done():
                future.set_exception(NodeError("the Node process has ended"))

    async def call(self, op: str, *, deadline_s: float = 60.0, **arguments: Any) -> Any:
        """Run one operation and return its value; raises NodeError if it throws."""
        process = self._process
        if process is None or process.stdin is None:
            raise RuntimeError("not started")
        number = next(self._ids)
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        process.stdin.write(json.dumps({"id": number, "op": op, **arguments}).encode() + b"\n")
        try:
            return await asyncio.wait_for(future, deadline_s)
        except TimeoutError:
            raise AssertionError(f"no answer to {op} {arguments} within {deadline_s:.0f} s") from None
