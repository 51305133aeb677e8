"""Long work in other processes, because pycrdt and our own readers never release the GIL.

`multiprocessing` is not used: it imports the main module of the host app, and fails if that is not written for it.

Rules (tests quote these ids):
    Y1  Only pure functions of picklable values run there, so a worker that dies loses nothing: the job is run again,
        once.
    Y2  Processes are started when there is work for them. They end when the context is left, or when this process dies.
    Y3  A cancelled wait does not affect other jobs: the worker finishes, and its result is dropped.
    Y4  Jobs that wait for their turn cost no memory. A job that exceeds the deadline is ended by killing its process.
"""

from __future__ import annotations

import asyncio
import os
import pickle
import sys
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, Self, TypeVar, cast

from raffia.errors import InternalError
from raffia.runtime.worker import LENGTH_BYTES

DEADLINE_S = 120.0  # the longest legitimate job, a fold of 64 MiB, takes about 20 s

P = ParamSpec("P")
R = TypeVar("R")


class Workers:
    """A small pool of processes for merges, folds, diffs and reads of large updates."""

    def __init__(self, processes: int, *, deadline_s: float = DEADLINE_S) -> None:
        self._deadline_s = deadline_s
        self._free = asyncio.Semaphore(processes)
        self._idle: list[asyncio.subprocess.Process] = []
        self._running: set[asyncio.Task[object]] = set()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for task in tuple(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        idle, self._idle = self._idle, []
        for process in idle:
            await _end(process)

    async def run(self, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a picklable function with picklable arguments in a worker.

        Raises:
            InternalError: two workers died while running it, or it took too long.
            Exception: whatever the function raised.
        """
        task = asyncio.get_running_loop().create_task(self._run((work, args, kwargs)))
        self._running.add(task)
        task.add_done_callback(self._done)
        return cast(R, await asyncio.shield(task))

    def _done(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved; a cancelled caller does not need it (Y3)

    async def _run(self, call: tuple[Callable[..., object], object, object]) -> object:
        name = getattr(call[0], "__qualname__", repr(call[0]))
        async with self._free:
            # Pickled only now: waiting jobs hold references, and not a copy of a document (Y4).
            job = pickle.dumps(call, protocol=pickle.HIGHEST_PROTOCOL)
            for _ in range(2):
                process = self._idle.pop() if self._idle else await _start()
                try:
                    async with asyncio.timeout(self._deadline_s):
                        succeeded, result = await _exchange(process, job)
                except TimeoutError:
                    await _end(process)
                    raise InternalError(f"{name} took longer than {self._deadline_s:g} s in a worker") from None
                except (OSError, asyncio.IncompleteReadError):
                    await _end(process)
                    continue
                except BaseException:
                    await _end(process)
                    raise
                self._idle.append(process)
                if succeeded:
                    return result
                raise result  # type: ignore[misc]
        raise InternalError(f"two worker processes died while running {name}")


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "raffia.runtime.worker",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        # Ctrl-C in the terminal is for this process only; a worker ends when its input is closed (Y2).
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


async def _exchange(process: asyncio.subprocess.Process, job: bytes) -> tuple[bool, object]:
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdin.is_closing():  # it died while idle; uvloop would raise another type of error
        raise BrokenPipeError
    process.stdin.write(len(job).to_bytes(LENGTH_BYTES, "big"))
    process.stdin.write(job)
    await process.stdin.drain()
    head = await process.stdout.readexactly(LENGTH_BYTES)
    body = await process.stdout.readexactly(int.from_bytes(head, "big"))
    succeeded, result = pickle.loads(body)  # noqa: S301 - written by a worker of this process
    return succeeded, result


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        process.kill()
    await process.wait()
