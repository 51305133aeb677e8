"""`on_load`: what the host supplies as the content of a new document.

Rules (tests quote these ids):
    OL1  The hook is asked when a document without entries is opened, by a client, by REST or by the host's own code:
         once in a process at a time. It is never asked for a document that has or had entries, deleted or not.
    OL2  What it returns becomes the document's first entry on condition that there is still none (J24). Of several
         replicas one succeeds; the others' bytes are thrown away and they load the winner's.
    OL3  The entry is durable before anyone sees the document.
    OL4  None, or an update without content, seeds nothing: the document opens empty, and the hook is asked again when
         it is next opened without entries.
    OL5  If the hook raises, takes longer than `ON_LOAD_S`, or returns something else than a complete update, the
         document is not opened: clients are told to try again later (1013), the error is logged, and the next opening
         asks again. A `RaffiaError` of the hook is passed on as it is.
    OL6  The hook may be async. One that is not runs in a thread, so it may block; if it is late, its result is thrown
         away.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from time import time_ns

from raffia.crdt.document import Document
from raffia.crdt.update import read_update
from raffia.errors import LaterError, RaffiaError, TooLargeError, UpdateError
from raffia.journal import Journal
from raffia.runtime.logs import get_logger
from raffia.runtime.workers import Workers
from raffia.types import EMPTY_UPDATE, DocumentId, Edit

log = get_logger("raffia.documents.seeding")

ON_LOAD_S = 20.0
INLINE_BYTES = 24 * 1024  # reading so much takes a few milliseconds

OnLoad = Callable[[DocumentId], Awaitable[bytes | None] | bytes | None]
"""`on_load(document) -> update`, async or not (OL1-OL6)."""


class Seeding:
    """Asks the hook and appends what it returns.

    Args:
        hook: the host's.
        journal: stores the seed.
        workers: reads large seeds.
        max_bytes: the size limit of a document.
        deadline_s: how long the hook may take, seconds.
    """

    __slots__ = ("_deadline_s", "_hook", "_journal", "_max_bytes", "_workers")

    def __init__(
        self, hook: OnLoad, journal: Journal, workers: Workers, *, max_bytes: int, deadline_s: float = ON_LOAD_S
    ) -> None:
        self._hook = hook
        self._journal = journal
        self._workers = workers
        self._max_bytes = max_bytes
        self._deadline_s = deadline_s

    async def __call__(self, document: DocumentId) -> bool:
        """Seed a document that has no entries; returns whether it may have one now.

        Raises:
            LaterError: the hook failed (OL5).
            RaffiaError: the hook raised it, or the journal.
        """
        seed = await self._ask(document)
        if seed is None or seed == EMPTY_UPDATE:
            return False
        await self._check(document, seed)
        position = await self._journal.append_first(document, (Edit(None, time_ns() // 1_000_000, seed),))
        if position is None:
            log.info("a seed was not needed: another replica was first", document=document)
        return True

    async def _ask(self, document: DocumentId) -> bytes | None:
        try:
            async with asyncio.timeout(self._deadline_s):
                return await _call(self._hook, document)
        except RaffiaError:
            raise
        except TimeoutError as error:
            log.exception("on_load took too long", document=document, limit_s=self._deadline_s)
            raise LaterError("the document cannot be loaded at the moment; try again later") from error
        except Exception as error:
            log.exception("on_load failed", document=document)
            raise LaterError("the document cannot be loaded at the moment; try again later") from error

    async def _check(self, document: DocumentId, seed: bytes) -> None:
        try:
            _check_size(seed, self._max_bytes)
            if len(seed) <= INLINE_BYTES:
                check_complete(seed)
            else:
                await self._workers.run(check_complete, seed)
        except (UpdateError, TooLargeError) as error:
            log.exception("on_load returned a seed that cannot be used", document=document, detail=str(error))
            raise LaterError("the document cannot be loaded at the moment; try again later") from error


async def _call(hook: OnLoad, document: DocumentId) -> bytes | None:
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        answer = hook(document)
    else:
        answer = await asyncio.to_thread(hook, document)
    return await answer if inspect.isawaitable(answer) else answer


def _check_size(seed: object, max_bytes: int) -> None:
    if not isinstance(seed, bytes):
        raise UpdateError(f"it is a {type(seed).__name__}, not bytes")
    if len(seed) > max_bytes:
        raise TooLargeError(f"it has {len(seed)} bytes; the limit of a document is {max_bytes}")


def check_complete(seed: bytes) -> None:
    """Check that bytes are an update that depends on nothing.

    Raises:
        UpdateError: they are not.
    """
    if Document().admit(seed, read_update(seed)).waiting is not None:
        raise UpdateError("it is not a whole document: it refers to content that it lacks")
