"""Revocations: tokens of a user, single tokens, and links to a document that end before they expire.

Rules (tests quote these ids):
    REV1  Revoking a user invalidates what was issued to them until then: tokens by their `iat`, grants of a hook by the
          time at which the hook was called. Grants without a time of issue count as older. Later ones are valid.
    REV2  Revoking a token invalidates the one with that `jti`. Revoking links invalidates every token with the claim
          `lnk` that was issued for that document until then.
    REV3  A revocation applies to every opening of a document, every renewal, every REST request, and at once to live
          sessions: they end as expired ones do (4401; on Hocuspocus a denial and a CLOSE in band).
    REV4  `revoke` returns when the revocation is durable. In this process it applies before that, even if it cannot be
          stored: this process then keeps trying until the journal is back or the revocation has expired.
    REV5  Other replicas are told at once, and also read what is stored every few seconds: while the journal is
          available, a revocation applies everywhere within 5 s, even if the message was lost. If the store loses some,
          replicas that know them store them again.
    REV6  While the journal is unavailable, the revocations known here apply.
    REV7  Revocations are kept until every token that they apply to has expired: for the maximum lifetime of tokens if
          that is set, otherwise for ever. Where only a hook grants access, they are kept for some minutes. A system
          clock that is wrong for a few hours does not shorten this (raffia.journal.passed_time).
    REV8  A recheck revokes nothing: the live sessions of a user, or on a document, have to sign in again (1012), which
          providers do automatically, and then their access is decided again. It is dropped after a minute, even if it
          could not be stored.
    REV9  Raffia does not start before it has read what is revoked: without it, a revoked token would be valid again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Protocol

from raffia.errors import JournalUnavailableError, MalformedError, RaffiaError, RevokedError, SignInAgainError
from raffia.journal import Journal
from raffia.runtime.logs import get_logger
from raffia.types import MAX_USER, DocumentId, Grant, Revocation, Revoked, document_id

log = get_logger("raffia.auth.revocation")

REREAD_S = 2.0
PAUSE_S = 0.05  # so that a script that revokes a thousand users does not cause a thousand reads
HOOK_KEEP_MS = 600_000
RECHECK_KEEP_MS = 60_000
FORGET_S = 60.0
CONNECTIONS_AT_ONCE = 500
AT_ONCE = 500  # revocations examined before other tasks run
PAUSE_FOR_EACH_S = 20e-6  # a long list is read less often, so that constant additions to it do not slow others
MAX_PAUSE_S = 2.0  # with `REREAD_S` less than 5 s (REV5)

Judge = Callable[[Grant, DocumentId], RaffiaError | None]


class Holder(Protocol):
    """A connection with its sessions."""

    def end_those(self, judge: Judge) -> int:
        """End every session for which `judge` returns an error; returns how many."""
        ...


class _Index:
    """Revocations by kind and subject, to look up grants."""

    __slots__ = ("by_kind",)

    def __init__(self) -> None:
        self.by_kind: dict[Revoked, dict[str, Revocation]] = {kind: {} for kind in Revoked}

    def __len__(self) -> int:
        return sum(map(len, self.by_kind.values()))

    def add(self, one: Revocation) -> bool:
        """Add a revocation; returns whether it changes anything."""
        kept = self.by_kind[one.kind]
        old = kept.get(one.subject)
        if old is not None:
            merged = old.merged(one)
            if merged == old:
                return False
            kept[one.subject] = merged
            return merged.before_ms > old.before_ms
        kept[one.subject] = one
        return True

    def all(self) -> list[Revocation]:
        """All revocations."""
        return [one for kept in self.by_kind.values() for one in kept.values()]

    def forget(self, passed_ms: int, now_ms: int) -> None:
        """Drop those that are no longer needed."""
        for kept in self.by_kind.values():
            for subject in [s for s, one in kept.items() if one.is_over(passed_ms, now_ms)]:
                del kept[subject]

    def is_revoked(self, grant: Grant, document: DocumentId) -> bool:
        """Whether a grant has been revoked (REV1, REV2)."""
        claims = grant.claims
        jti = claims.get("jti")
        if isinstance(jti, str) and jti in self.by_kind[Revoked.TOKEN]:
            return True
        users = self.by_kind[Revoked.USER]
        if users and any(
            isinstance(user, str) and _is_before(grant, users.get(user)) for user in (grant.user, claims.get("sub"))
        ):
            return True
        return "lnk" in claims and _is_before(grant, self.by_kind[Revoked.LINKS].get(document))

    def wants_recheck(self, grant: Grant, document: DocumentId) -> bool:
        """Whether a session with this grant has to sign in again (REV8)."""
        return (
            grant.user is not None and grant.user in self.by_kind[Revoked.RECHECK_USER]
        ) or document in self.by_kind[Revoked.RECHECK_DOCUMENT]

    def is_stale(self, grant: Grant, document: DocumentId) -> bool:
        """Whether a hook issued this grant before a recheck; grants of tokens are never stale."""
        if "iat" in grant.claims or grant.issued_s is None:
            return False
        rechecks = (
            self.by_kind[Revoked.RECHECK_USER].get(grant.user) if grant.user is not None else None,
            self.by_kind[Revoked.RECHECK_DOCUMENT].get(document),
        )
        return any(_is_before(grant, one) for one in rechecks)


def _is_before(grant: Grant, revocation: Revocation | None) -> bool:
    if revocation is None:
        return False
    return grant.issued_s is None or round(grant.issued_s * 1000) <= revocation.before_ms


class RevocationList:
    """The revocations that this process knows. Use it from the event loop only.

    Args:
        keep_ms: how long a revocation is kept, in milliseconds (REV7); None for ever.
        clock: Unix time in seconds.
    """

    def __init__(self, keep_ms: int | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self._keep_ms = keep_ms
        self._clock = clock
        self._index = _Index()
        self._journal: Journal | None = None
        self._connections: Callable[[], Iterable[Holder]] = tuple
        self._mark: bytes | None = None
        self._wake = asyncio.Event()
        self._is_lacking = False  # whether the store may lack revocations that are known here

    def __len__(self) -> int:
        """Number of known revocations."""
        return len(self._index)

    def all(self) -> list[Revocation]:
        """All known revocations."""
        return self._index.all()

    def check(self, grant: Grant, document: DocumentId) -> None:
        """Check that a grant has not been revoked (REV3).

        Raises:
            RevokedError: it has been (closes 4401).
            SignInAgainError: access has to be decided again (REV8; closes 1012).
        """
        if not self._index:
            return
        if self._index.is_revoked(grant, document):
            raise RevokedError("access was taken back; sign in again")
        if self._index.is_stale(grant, document):
            raise SignInAgainError("access has to be decided again; reconnect")

    async def revoke(self, kind: Revoked, subject: str) -> int:
        """Revoke what was issued until now, or make sessions sign in again (REV4, REV8).

        Returns:
            How many sessions of this process ended.

        Raises:
            MalformedError: the subject is not valid.
            JournalUnavailableError: it applies in this process, but is not stored yet.
            RoomFullError: it applies in this process, but there are too many to store it.
        """
        one = Revocation(kind, _checked(kind, subject), self._now_ms(), self._until_ms(kind))
        try:
            ended = await self._learn([one])
            log.warning("revoked", kind=kind.value, subject=one.subject, ended=ended)
            if self._journal is not None:
                await self._journal.revocations.add(one)
        finally:
            # Even if it was stored: the store may lose it before the next read and still have the mark known here.
            self._is_lacking = True
        return ended

    async def _learn(self, revocations: Iterable[Revocation]) -> int:
        """Add revocations; returns how many sessions they ended."""
        news = _Index()
        for number, one in enumerate(revocations, 1):
            if self._index.add(one):
                news.add(one)
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)  # let other tasks run
        return await self._end(news) if news else 0

    async def _end(self, news: _Index) -> int:
        """End the live sessions that new revocations apply to; sessions that join meanwhile are checked then."""

        def judge(grant: Grant, document: DocumentId) -> RaffiaError | None:
            if news.is_revoked(grant, document):
                return RevokedError("access was taken back; sign in again")
            if news.wants_recheck(grant, document):
                return SignInAgainError("access has to be decided again; reconnect")
            return None

        ended = 0
        for number, connection in enumerate(list(self._connections()), 1):
            try:
                ended += connection.end_those(judge)
            except Exception:
                log.exception("revoked sessions could not be ended")
            if number % CONNECTIONS_AT_ONCE == 0:
                await asyncio.sleep(0)  # let other tasks run
        return ended

    def _now_ms(self) -> int:
        """The time of a revocation made now, never before one that has certainly passed (PT5 of passed_time.py)."""
        now_ms = int(self._clock() * 1000)
        passed_time = None if self._journal is None else self._journal.passed_time
        return now_ms if passed_time is None else max(now_ms, passed_time.least_ms())

    def _times(self) -> tuple[int, int]:
        """The times by which revocations expire, as arguments for `Revocation.is_over`."""
        now_ms = int(self._clock() * 1000)
        passed_time = None if self._journal is None else self._journal.passed_time
        return (now_ms if passed_time is None else min(now_ms, passed_time.passed_ms())), now_ms

    def _until_ms(self, kind: Revoked) -> int | None:
        if kind in (Revoked.RECHECK_USER, Revoked.RECHECK_DOCUMENT):
            return self._now_ms() + RECHECK_KEEP_MS
        return None if self._keep_ms is None else self._now_ms() + self._keep_ms

    # the journal

    @asynccontextmanager
    async def following(self, journal: Journal, connections: Callable[[], Iterable[Holder]]) -> AsyncIterator[None]:
        """Read the journal's revocations, and new ones while in the block (REV5).

        Raises:
            QuarantinedError, JournalUnavailableError: they cannot be read at first (REV9).
        """
        self._journal, self._connections, self._mark = journal, connections, None
        self._wake = asyncio.Event()
        journal.revocations.on_added(self._wake.set)
        await self._read()
        task = asyncio.create_task(self._read_always())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            self._journal = None

    async def _read_always(self) -> None:
        forgotten_s = self._clock()
        while True:
            await asyncio.sleep(min(PAUSE_S + len(self._index) * PAUSE_FOR_EACH_S, MAX_PAUSE_S))
            try:
                async with asyncio.timeout(REREAD_S):
                    await self._wake.wait()
            except TimeoutError:
                pass  # no message came; read anyway (REV5)
            self._wake.clear()
            await self.read()
            if self._clock() - forgotten_s > FORGET_S:
                forgotten_s = self._clock()
                self._index.forget(*self._times())

    async def read(self) -> None:
        """Read what is stored, and store what is missing (REV5); if that fails, what is known still applies (REV6)."""
        try:
            await self._read()
        except JournalUnavailableError as error:
            log.debug("revocations cannot be read or stored at the moment", detail=str(error))
        except Exception:
            log.exception("revocations cannot be read or stored")

    async def _read(self) -> None:
        assert self._journal is not None
        mark, self._is_lacking = None if self._is_lacking else self._mark, False
        self._mark = None  # set last, so that after a failure everything is read and stored again
        found = await self._journal.revocations.read(mark)
        if found is not None:
            await self._learn(found.revocations)
            await self._store_lacking(found.revocations)
        self._mark = mark if found is None else found.mark

    async def _store_lacking(self, stored: list[Revocation]) -> None:
        """Store the revocations that the store lacks: it lost them, or was unavailable when they were made."""
        assert self._journal is not None
        there: dict[tuple[Revoked, str], int] = {}
        for start in range(0, len(stored), AT_ONCE):
            there.update({(one.kind, one.subject): one.before_ms for one in stored[start : start + AT_ONCE]})
            await asyncio.sleep(0)  # let other tasks run
        times = self._times()
        for number, one in enumerate(self._index.all(), 1):
            if number % AT_ONCE == 0:
                await asyncio.sleep(0)
            if not one.is_over(*times) and there.get((one.kind, one.subject), -1) < one.before_ms:
                await self._journal.revocations.add(one)


def _checked(kind: Revoked, subject: str) -> str:
    """The subject, if it is a valid one.

    Raises:
        MalformedError: it is not.
    """
    if kind in (Revoked.LINKS, Revoked.RECHECK_DOCUMENT):
        return document_id(subject)
    if not 0 < len(subject) <= MAX_USER:
        raise MalformedError(f"a {kind.value} must have 1 to {MAX_USER} characters, not {len(subject)}")
    try:
        subject.encode()
    except UnicodeEncodeError:
        raise MalformedError(f"this {kind.value} is not valid UTF-8") from None
    return subject
