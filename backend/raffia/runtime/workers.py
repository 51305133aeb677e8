"""Long work in other processes, because pycrdt and our own readers never release the GIL.

`multiprocessing` is not used: it imports the main module of the host app, and fails if that is not written for it.

Rules (tests quote these ids):
    Y1  Only pure functions of picklable values run there, so a worker that dies loses nothing: the job is run again,
        once.
    Y2  Processes are started when there is work for them. They end when the context is left, or when this process dies
        (WO2 of worker.py).
    Y3  A cancelled wait does not affect other jobs: the worker finishes, and its result is dropped.
    Y4  Jobs that wait for their turn cost no memory. A job that exceeds its limit is ended by ending its process: by
        the kernel for processor time (WO1), and by this process for time on the clock, which may be `PATIENCE` times as
        long and `START_S` more, since a busy machine is no fault of the job.
    Y5  There are at least two processes: half of them, rounded down, do only short work, the others only long work, so
        long jobs never hold up short ones. A short job that takes longer than `SHORT_S` of processor time is moved to
        the others.
    Y6  One job of a person, and one of a document, runs at a time in each lane; jobs of others pass those that wait.
    Y7  A document whose job overran is remembered, and the same work on it is refused for a while (JB2 of jobs.py).
"""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from time import monotonic
from types import TracebackType
from typing import Final, ParamSpec, Self, TypeVar, cast

from raffia.errors import InternalError, TooCostlyError
from raffia.runtime.jobs import Job, Overruns, size_of
from raffia.runtime.worker import LENGTH_BYTES, MICROSECONDS

SHORT_S: Final = 0.5
PATIENCE: Final = 5.0
START_S: Final = 10.0  # starting a process takes 0.3 s, and much longer on a busy machine

P = ParamSpec("P")
R = TypeVar("R")


class _OverranError(Exception):
    """A job exceeded its limit."""


class _Lane:
    """Some of the processes, and whose turn it is there (Y6)."""

    def __init__(self, processes: int) -> None:
        self._free = asyncio.Semaphore(processes)
        self._turns: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, job: Job) -> AsyncIterator[None]:
        """Wait for a process, and hold it in the block."""
        keys = [f"{kind}:{key}" for kind, key in (("p", job.person), ("d", job.document)) if key is not None]
        async with _Held(self._turns, keys), self._free:
            yield


class _Held:
    """Locks by key, which exist while they are held or waited for; always taken in the same order."""

    def __init__(self, locks: dict[str, tuple[asyncio.Lock, int]], keys: list[str]) -> None:
        self._locks = locks
        self._keys = sorted(keys)
        self._held: list[str] = []

    async def __aenter__(self) -> None:
        for key in self._keys:
            lock, users = self._locks.get(key, (asyncio.Lock(), 0))
            self._locks[key] = lock, users + 1
        try:
            for key in self._keys:
                await self._locks[key][0].acquire()
                self._held.append(key)
        except BaseException:
            self._release()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        for key in self._held:
            self._locks[key][0].release()
        for key in self._keys:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = lock, users - 1


class Workers:
    """A small pool of processes for merges, folds, diffs and reads of large updates.

    Args:
        processes: how many; at least two are used (Y5).
        clock: monotonic time in seconds, for what is remembered (Y7).
    """

    def __init__(self, processes: int, *, clock: Callable[[], float] = monotonic) -> None:
        short = max(1, processes // 2)
        self._short = _Lane(short)
        self._long = _Lane(max(1, processes - short))
        self._idle: list[asyncio.subprocess.Process] = []
        self._running: set[asyncio.Task[object]] = set()
        self.overruns = Overruns(clock)

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
        """Run a picklable function with picklable arguments in a worker, as a job of the size of the arguments.

        Raises:
            As `run_job`.
        """
        return await self.run_job(Job(size_of(args)), work, *args, **kwargs)

    async def run_job(self, job: Job, work: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run a picklable function with picklable arguments in a worker.

        Raises:
            TooCostlyError: it took too long, or a job on the same document did a while ago (Y4, Y7).
            InternalError: two workers died while running it.
            Exception: whatever the function raised.
        """
        self.overruns.check(job, _name(work))
        task = asyncio.get_running_loop().create_task(self._run(job, (work, args, kwargs)))
        self._running.add(task)
        task.add_done_callback(self._done)
        return cast(R, await asyncio.shield(task))

    def _done(self, task: asyncio.Task[object]) -> None:
        self._running.discard(task)
        if not task.cancelled():
            task.exception()  # marks it as retrieved; a cancelled caller does not need it (Y3)

    async def _run(self, job: Job, call: tuple[Callable[..., object], object, object]) -> object:
        name = _name(call[0])
        if job.is_short:
            try:
                async with self._short.turn(job):
                    return await self._attempt(job, name, call, SHORT_S)
            except _OverranError:
                pass  # Y5
        try:
            async with self._long.turn(job):
                self.overruns.check(job, name)  # the same document's job before this one may have overrun
                return await self._attempt(job, name, call, job.limit_s)
        except _OverranError:
            self.overruns.add(job, name)
            where = "an update" if job.document is None else f"document {job.document}"
            raise TooCostlyError(
                f"{name} on {where} of {job.size_bytes} bytes took longer than {job.limit_s:.1f} s of processor time "
                "in a worker and was ended; copy the content into a new document"
            ) from None

    async def _attempt(
        self, job: Job, name: str, call: tuple[Callable[..., object], object, object], limit_s: float
    ) -> object:
        # Pickled only now: waiting jobs hold references, and not a copy of a document (Y4).
        data = pickle.dumps(call, protocol=pickle.HIGHEST_PROTOCOL)
        for _ in range(2):
            process = self._idle.pop() if self._idle else await _start()
            try:
                async with asyncio.timeout(START_S + PATIENCE * limit_s):
                    succeeded, result = await _exchange(process, data, limit_s)
            except TimeoutError:
                await _end(process)
                raise _OverranError from None
            except (OSError, asyncio.IncompleteReadError):
                if await _end(process) == _OVERRAN:
                    raise _OverranError from None
                continue
            except BaseException:
                await _end(process)
                raise
            self._idle.append(process)
            if succeeded:
                return result
            raise result  # type: ignore[misc]
        raise InternalError(f"two worker processes died while running {name}")


def _name(work: Callable[..., object]) -> str:
    """What errors call a job."""
    while isinstance(work, partial):
        work = work.func
    return getattr(work, "__qualname__", None) or type(work).__qualname__


_OVERRAN: Final = -signal.SIGPROF if hasattr(signal, "SIGPROF") else None


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "raffia.runtime.worker",
        str(os.getpid()),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=1 << 20,
        # Ctrl-C in the terminal is for this process only; a worker ends when its input is closed (Y2).
        start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


async def _exchange(process: asyncio.subprocess.Process, job: bytes, limit_s: float) -> tuple[bool, object]:
    assert process.stdin is not None
    assert process.stdout is not None
    if process.stdin.is_closing():  # it died while idle; uvloop would raise another type of error
        raise BrokenPipeError
    process.stdin.write(round(limit_s * MICROSECONDS).to_bytes(LENGTH_BYTES, "big"))
    process.stdin.write(len(job).to_bytes(LENGTH_BYTES, "big"))
    process.stdin.write(job)
    await process.stdin.drain()
    head = await process.stdout.readexactly(LENGTH_BYTES)
    body = await process.stdout.readexactly(int.from_bytes(head, "big"))
    succeeded, result = pickle.loads(body)  # noqa: S301 - written by a worker of this process
    return succeeded, result


async def _end(process: asyncio.subprocess.Process) -> int:
    """End a process if it has not ended; returns its exit status, negative for a signal."""
    if process.returncode is None and not _has_closed(process):
        process.kill()
    return await process.wait()


def _has_closed(process: asyncio.subprocess.Process) -> bool:
    """Whether the process has closed its output, which it does only by ending."""
    return process.stdout is not None and process.stdout.at_eof()
