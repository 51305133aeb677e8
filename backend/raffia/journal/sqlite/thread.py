"""The event loop's side of the database thread: its queue, and the futures for its results."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue
from typing import Any, TypeVar

from raffia.errors import JournalUnavailableError
from raffia.journal.sqlite.database import Connect, Database, Steps
from raffia.journal.sqlite.writer import Call, Delivery, Item, Job, Stop, Writer

T = TypeVar("T")


class DatabaseThread:
    """Starts and stops the thread that owns the database, and hands it work.

    Args:
        folder: created if it does not exist.
        connect: opens the database file.
        deliver: called on the event loop with the outcomes of each round of the thread.

    Attributes:
        queue: the thread's work, in order.
        writer: what runs in the thread; None if the thread is not running.
        stamp: the last failure that the event loop knows of (SW2).
    """

    __slots__ = ("_connect", "_deliver", "_ended", "_folder", "queue", "stamp", "writer")

    def __init__(self, folder: Path, connect: Connect, deliver: Callable[[Delivery], None]) -> None:
        self._folder = folder
        self._connect = connect
        self._deliver = deliver
        self._ended: asyncio.Future[None] | None = None
        self.queue: SimpleQueue[Item] = SimpleQueue()
        self.writer: Writer | None = None
        self.stamp = 0

    async def start(self) -> None:
        """Open the folder and start the thread.

        Raises:
            JournalUnavailableError: the folder cannot be opened.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        ended: asyncio.Future[None] = loop.create_future()

        def tell_opened(error: BaseException | None) -> None:
            loop.call_soon_threadsafe(_settle, opened, error)

        def tell_ended() -> None:
            loop.call_soon_threadsafe(_settle, ended, None)

        def deliver(delivery: Delivery) -> None:
            loop.call_soon_threadsafe(self._deliver, delivery)

        self.queue = SimpleQueue()
        self.writer = Writer(Database(self._folder, self._connect), self.queue, deliver)
        # A daemon: an interpreter that exits without exiting the journal must not hang; what was acknowledged is on
        # disk.
        threading.Thread(
            target=self.writer.run, args=(tell_opened, tell_ended), name="raffia-journal", daemon=True
        ).start()
        self._ended = ended
        try:
            await opened
        except (sqlite3.Error, OSError) as error:
            self.writer = None
            raise JournalUnavailableError(f"cannot open data folder {self._folder}: {error}") from error
        except BaseException:
            # Cancelled while it opens: the thread must not keep the folder. After an error there is no thread to stop.
            self.writer = None
            self.queue.put(Stop())
            raise

    async def stop(self) -> bool:
        """Write what is queued, checkpoint, end the thread; return whether it was running."""
        if self.writer is None or self._ended is None:
            return False
        self.writer = None
        self.queue.put(Stop())
        await asyncio.shield(self._ended)  # other waiters still get the result when this wait is cancelled
        return True

    async def call(self, run: Callable[[Database], T]) -> T:
        """Run a short write in the same transaction as the appends around it."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(Call(run, future, self.stamp))
        return await future

    async def job(self, start: Callable[[Database], Steps[T]], *, writes: bool) -> T:
        """Run long work in slices."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._ask(Job(start, future, writes))
        return await future

    def _ask(self, item: Call | Job) -> None:
        if self.writer is None or self.writer.ended:
            raise JournalUnavailableError("the journal is closed")
        self.queue.put(item)


def _settle(future: asyncio.Future[Any], error: BaseException | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)
