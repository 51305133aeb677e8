"""Who asks over REST, and what they may do: the same gate as at the sockets.

Rules (tests quote these ids):
    AC1  Host and Origin are looked at first (A1-A3, A12 of authorizer.py). Whoever changes something needs an Origin
         that may, or a bearer token; in open mode a script without an Origin will do.
    AC2  A document that is not there and one that is forbidden get the same answer.
    AC3  In open mode everybody may do everything: `admin`. Elsewhere deleting and restoring need `admin`; whoever came
         by a link may edit, but not administer: neither delete nor share.
    AC4  A hook decides about reading requests of its own pages too, by their cookies: browsers send no Origin with a
         GET to where the page came from.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Final

from fastapi import Request

from raffia.auth.claims import Claims
from raffia.auth.hooks import Handshake
from raffia.embed import Raffia
from raffia.errors import ForbiddenError, LaterError
from raffia.types import Access, DocumentId, Grant, document_id

SAFE_METHODS: Final = frozenset(("GET", "HEAD"))
NO_ACCESS: Final = "no access to this document"
LEVELS: Final = {Access.READ: "read", Access.COMMENT: "comment", Access.EDIT: "edit", Access.ADMIN: "admin"}
SLASH: Final = "%2F"  # how a slash within a segment of the path arrives; see paths.py
ASKED_AT_ONCE: Final = 8


def id_of(segment: str) -> DocumentId:
    """A document's id from its segment of the path.

    Raises:
        MalformedError: it is none.
    """
    return document_id(segment.replace(SLASH, "/"))


class Caller:
    """Whoever made one request."""

    def __init__(self, raffia: Raffia, request: Request) -> None:
        authorizer = self._authorizer = raffia.authorizer
        self.scheme: str = request.scope["scheme"]
        self.handshake = Handshake.of(request.scope)
        authorizer.check_host(self.handshake, self.scheme)
        authorizer.check_origin(self.handshake, self.scheme)
        self.host = self.handshake.headers.get("host", "")
        if authorizer.has_hook and self.handshake.origin is None and request.method in SAFE_METHODS:
            self.handshake = replace(self.handshake, origin=f"{self.scheme}://{self.host}")  # AC4
        self.token = self.handshake.bearer

    async def grant(self, document: DocumentId, least: Access = Access.READ) -> Grant:
        """What they may do with a document, if that is enough (AC2, AC3).

        Raises:
            ForbiddenError, UnauthenticatedError, AuthUnavailableError: it is not, or that cannot be decided.
        """
        grant = await self._authorizer.grant(self.handshake, self.token, document)
        if self._authorizer.is_open:
            grant = replace(grant, access=Access.ADMIN)
        if grant.access < least:
            raise ForbiddenError(f"this needs {LEVELS[least]}, and your access is {LEVELS[grant.access]}")
        return grant

    async def sharer(self, document: DocumentId) -> Grant:
        """The grant of one who may share a document (AC3).

        Raises:
            as `grant`.
        """
        grant = await self.grant(document, Access.EDIT)
        if "lnk" in grant.claims:
            raise ForbiddenError("whoever came by a link cannot share the document")
        return grant

    async def visibility(self) -> Visibility:
        """Which documents they may see in a listing."""
        if self._authorizer.is_open:
            return Visibility(lambda name: Access.ADMIN, None)
        if self._authorizer.has_hook:
            if self._authorizer.has_keys and self.token is not None:
                await self._authorizer.claims(
                    self.handshake, self.token
                )  # one that is not good is told so, not "nothing"
            return Visibility(None, self._ask)
        claims = await self._authorizer.claims(self.handshake, self.token)

        is_link = "lnk" in claims.kept

        def access(name: str) -> Access | None:
            found = claims.access(DocumentId(name))
            # Links are taken back document by document, all else at once.
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
        """Where they may make documents: what stands in front of the new id."""
        if self._authorizer.is_open or self._authorizer.has_hook:
            return ""
        patterns = (await self._authorizer.claims(self.handshake, self.token)).patterns
        wide = [name for name, level in patterns.items() if name.endswith("*") and (level or 0) >= Access.EDIT]
        if not wide:
            raise ForbiddenError("no place where new documents can be made is open to you")
        return min(wide, key=len)[:-1]


class Visibility:
    """What one visitor sees of a listing.

    Attributes:
        access: from a name to what is allowed, None for nothing; None where a hook has to be asked.
        claims: of the token that decides, if one does.
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
        """What is allowed with each of some documents.

        Raises:
            LaterError: nobody could decide.
        """
        if self.access is not None:
            return [self.access(name) for name in names]
        ask = self._ask
        if ask is None:
            raise LaterError("nobody can decide about access")
        free = asyncio.Semaphore(ASKED_AT_ONCE)

        async def one(name: DocumentId) -> Access | None:
            async with free:
                return await ask(name)

        return list(await asyncio.gather(*(one(name) for name in names)))
