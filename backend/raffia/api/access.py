"""The caller of a REST request and their access, decided by the same authorizer as for WebSockets.

Rules (tests quote these ids):
    AC1  Host and Origin are checked first (A1-A3, A12 of authorizer.py): a page of a foreign origin is refused even if
         it sends a token. With keys and no hook, a token is required (A8); with a hook, a token or an Origin (A4, AC4);
         in open mode, neither.
    AC2  Missing and forbidden documents get the same answer.
    AC3  In open mode everyone has `admin`. Otherwise deleting and restoring need `admin`, and a caller who uses a share
         link can neither delete nor share.
    AC4  With a hook, a GET or HEAD without an Origin counts as coming from a page of Raffia's own origin, because
         browsers send no Origin with it. So the hook can decide by cookie.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fastapi import Request

from raffia.auth.address_limits import counted
from raffia.auth.claims import Claims
from raffia.auth.hooks import Handshake
from raffia.auth.person import person_of
from raffia.embed import Raffia
from raffia.errors import ForbiddenError, LaterError
from raffia.types import Access, DocumentId, Grant, document_id

SAFE_METHODS: Final = frozenset(("GET", "HEAD"))
NO_ACCESS: Final = "no access to this document"
LEVELS: Final = {Access.READ: "read", Access.COMMENT: "comment", Access.EDIT: "edit", Access.ADMIN: "admin"}
SLASH: Final = "%2F"  # a slash within a segment of the path; see paths.py
ASKED_AT_ONCE: Final = 8


def id_of(segment: str) -> DocumentId:
    """The document id in a path segment.

    Raises:
        MalformedError: not a document id.
    """
    return document_id(segment.replace(SLASH, "/"))


class Caller:
    """The sender of one request.

    Raises:
        ForbiddenError: the Host or Origin is not allowed (AC1).
    """

    def __init__(self, raffia: Raffia, request: Request) -> None:
        authorizer = self._authorizer = raffia.authorizer
        self.scheme: str = request.scope.get("scheme", "http")
        self.handshake = Handshake.of(request.scope)
        authorizer.check_host(self.handshake, self.scheme)
        authorizer.check_origin(self.handshake, self.scheme)
        self.host = self.handshake.headers.get("host", "")
        if authorizer.has_hook and self.handshake.origin is None and request.method in SAFE_METHODS:
            self.handshake = replace(self.handshake, origin=f"{self.scheme}://{self.host}")  # AC4
        self.token = self.handshake.bearer

    def person(self, grant: Grant) -> str | None:
        """The person that limits charge for this request (PE1 of auth/person.py)."""
        return person_of(grant, counted(self.handshake.address))

    async def grant(self, document: DocumentId, least: Access = Access.READ) -> Grant:
        """The caller's grant for a document, with at least the access `least` (AC2, AC3).

        Raises:
            ForbiddenError, UnauthenticatedError: the caller has less access, or none.
            AuthUnavailableError: access cannot be decided at the moment.
        """
        grant = await self._authorizer.grant(self.handshake, self.token, document)
        if self._authorizer.is_open:
            grant = replace(grant, access=Access.ADMIN)
        if grant.access < least:
            raise ForbiddenError(f"this needs {LEVELS[least]} access; yours is {LEVELS[grant.access]}")
        return grant

    async def sharer(self, document: DocumentId) -> Grant:
        """The caller's grant for a document, if they may share it (AC3).

        Raises:
            as `grant`.
        """
        grant = await self.grant(document, Access.EDIT)
        if "lnk" in grant.claims:
            raise ForbiddenError("you came by a link, and cannot share the document")
        return grant

    async def visibility(self) -> Visibility:
        """Which documents the caller sees in a listing.

        Raises:
            UnauthenticatedError: the token is missing, invalid or revoked.
            AuthUnavailableError: the keys cannot be fetched.
        """
        if self._authorizer.is_open:
            return Visibility(lambda name: Access.ADMIN, None)
        if self._authorizer.has_hook:
            if self._authorizer.has_keys and self.token is not None:
                # An invalid token is an error, not an empty listing.
                await self._authorizer.claims(self.handshake, self.token)
            return Visibility(None, self._ask)
        claims = await self._authorizer.claims(self.handshake, self.token)

        is_link = "lnk" in claims.kept

        def access(name: str) -> Access | None:
            found = claims.access(DocumentId(name))
            # Revoked users and tokens were refused above; links are revoked for one document at a time.
            return (
                None
                if found is None or (is_link and self._authorizer.is_taken_back(claims, DocumentId(name)))
                else found
            )

        return Visibility(access, None, claims)

    async def _ask(self, document: DocumentId) -> Access | None:
        grant = await self._authorizer.may(self.handshake, self.token, document)
        return None if grant is None else grant.access

    async def folder(self) -> str:
        """The prefix of ids under which the caller may create documents.

        Raises:
            ForbiddenError: there is none.
        """
        if self._authorizer.is_open or self._authorizer.has_hook:
            return ""
        patterns = (await self._authorizer.claims(self.handshake, self.token)).patterns
        wide = [name for name, level in patterns.items() if name.endswith("*") and (level or 0) >= Access.EDIT]
        if not wide:
            raise ForbiddenError("you may not create documents anywhere")
        return min(wide, key=len)[:-1]


class Visibility:
    """Which documents one caller sees in a listing.

    Attributes:
        access: maps a document id to the caller's access, None for no access; None itself if a hook decides.
        claims: the claims of the token that decides; None in open mode or if a hook decides.
    """

    def __init__(
        self,
        access: Callable[[str], Access | None] | None,
        ask: Callable[[DocumentId], Awaitable[Access | None]] | None,
        claims: Claims | None = None,
    ) -> None:
        self.access = access
        self.claims = claims
        self._ask = ask

    async def of(self, names: list[DocumentId]) -> list[Access | None]:
        """The caller's access to each of these documents; None for no access.

        Raises:
            LaterError: access cannot be decided at the moment.
        """
        if self.access is not None:
            return [self.access(name) for name in names]
        ask = self._ask
        if ask is None:
            raise LaterError("access cannot be decided")
        free = asyncio.Semaphore(ASKED_AT_ONCE)

        async def one(name: DocumentId) -> Access | None:
            async with free:
                return await ask(name)

        return list(await asyncio.gather(*(one(name) for name in names)))
