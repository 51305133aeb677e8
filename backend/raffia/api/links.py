"""`/api/documents/{id}/links`: "anyone with the link can view, or edit".

Rules (tests quote these ids):
    LI1  There is at most one link for reading and one for editing; asking again gives the same one, and the same URL.
    LI2  A link is a token that names this one document, with the claims `lnk` and `jti`; nobody is signed in by it. It
         lives in the URL's fragment, which browsers send to no server.
    LI3  Resetting takes back every link of the document, everywhere and for live sessions too (REV2, REV3, REV5 of
         revocation.py); what is made afterwards is good. A link that was taken back, by whatever way, is not there: it
         is neither listed nor given again.
    LI4  A link lasts `LINK_S`, or as long as a token may where that is limited: then each answer has a fresh one, made
         at that moment, since a token may not last longer from its `iat` on either.
    LI5  In open mode links are plain URLs: whoever reaches the server may edit anyway.
    LI6  Making a link needs a key that signs; without one the answer says what to set.
"""

from __future__ import annotations

import hashlib
import time
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from raffia.api.access import Caller, id_of
from raffia.api.body import json_body, json_of
from raffia.api.documents import info_of
from raffia.api.errors import refusals
from raffia.api.models import Link, NewLink
from raffia.auth.claims import ClaimRules
from raffia.auth.keys import KeySet, read_key_file
from raffia.auth.tokens import claim_rules, make_token
from raffia.embed import Raffia
from raffia.errors import NotConfiguredError
from raffia.journal import DocumentInfo, Links
from raffia.settings import Settings
from raffia.types import DocumentId, Revoked

LINK_S = 10 * 365 * 86400
Can = Literal["read", "edit"]


class LinkSigner:
    """Makes the tokens of links.

    Args:
        settings: name the key file, and what tokens are checked against.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._rules: ClaimRules = claim_rules(settings)
        self._keys: KeySet | None = None
        if settings.auth_key_file is not None:
            keys = read_key_file(settings.auth_key_file)
            self._keys = keys if keys.signer() is not None else None

    def token(self, document: DocumentId, can: Can, links: Links, created_ms: int, now_s: float) -> str:
        """The token of a link (LI2).

        Raises:
            NotConfiguredError: there is no key that signs (LI6).
        """
        if self._keys is None:
            raise NotConfiguredError(
                "share links need a key that signs: set --auth-key-file (RAFFIA_AUTH_KEY_FILE) to a secret or a "
                "private key, see `raffia new-key`"
            )
        rules = self._rules
        made = f"{document}\n{links.generation}\n{can}\n{created_ms}"
        issued_ms, expires_s = created_ms, created_ms // 1000 + LINK_S
        if rules.max_lifetime_s is not None:
            issued_ms = max(created_ms, int(now_s * 1000))
            expires_s = min(expires_s, int(issued_ms / 1000 + rules.max_lifetime_s))
        claims: dict[str, Any] = {
            rules.claim: {document: can},
            "lnk": link_id(can, links),
            "jti": hashlib.sha256(made.encode()).hexdigest()[:32],
            "iat": issued_ms / 1000,
            "exp": expires_s,
        }
        if rules.audiences:
            claims["aud"] = rules.audiences[0]
        if rules.issuer is not None:
            claims["iss"] = rules.issuer
        return make_token(claims, self._keys, rules, now_s, self._settings.max_token_bytes)


def link_id(can: Can, links: Links) -> str:
    """What a link is called; one that was reset and made again is another one."""
    return f"{can}-{links.generation}"


def links_router(raffia: Raffia) -> APIRouter:
    """The router of one Raffia.

    Raises:
        SettingsError: keys that cannot be read.
    """
    router = APIRouter(prefix="/api", tags=["links"])
    minter = LinkSigner(raffia.settings)

    def link(request: Request, caller: Caller, info: DocumentInfo, can: Can, links: Links) -> Link | None:
        created_ms = links.read_ms if can == "read" else links.edit_ms
        if created_ms is None:
            return None
        page = "b" if info.kind == "board" else "d"
        root = request.scope.get("root_path", "").rstrip("/")
        url = f"{caller.scheme}://{caller.host}{root}/{page}/{quote(info.document, safe='')}"
        if not raffia.is_open:
            url += f"#token={minter.token(info.document, can, links, created_ms, time.time())}"
        return Link(id=link_id(can, links), can=can, url=url, created_ms=created_ms)

    def reset_ms(document: DocumentId) -> int:
        """Up to when links were taken back: by the clock of the replica that did."""
        taken = (one for one in raffia.revocations.all() if one.kind is Revoked.LINKS and one.subject == document)
        return max((one.before_ms for one in taken), default=0)

    def good(document: DocumentId, links: Links) -> Links:
        """Those that have not been taken back (LI3)."""
        before_ms = reset_ms(document)
        read_ms, edit_ms = (
            None if made_ms is None or made_ms <= before_ms else made_ms for made_ms in (links.read_ms, links.edit_ms)
        )
        return Links(links.generation, read_ms, edit_ms)

    @router.get("/documents/{document}/links", responses=refusals())
    async def list_links(request: Request, document: str) -> list[Link]:
        """The links that there are."""
        name = id_of(document)
        caller = Caller(raffia, request)
        await caller.sharer(name)
        info = await info_of(raffia.hub.journal, name)
        kinds: tuple[Can, ...] = ("read", "edit")
        links = good(name, info.links)
        found = [link(request, caller, info, can, links) for can in kinds]
        return [one for one in found if one is not None]

    @router.post(
        "/documents/{document}/links", status_code=201, responses=refusals(413), openapi_extra=json_body(NewLink)
    )
    async def make_link(request: Request, document: str, asked: Annotated[NewLink, Depends(json_of(NewLink))]) -> Link:
        """Make a link, or get the one that there is (LI1)."""
        name = id_of(document)
        caller = Caller(raffia, request)
        await caller.sharer(name)
        info = await info_of(raffia.hub.journal, name)
        if not raffia.is_open:  # before anything is noted
            minter.token(name, asked.can, info.links, int(time.time() * 1000), time.time())
        if good(name, info.links) != info.links:
            await raffia.hub.journal.links.reset(name)  # or the one that was taken back would be given again
        created_ms = max(time.time_ns() // 1_000_000, reset_ms(name) + 1)
        links = await raffia.hub.journal.links.add(name, asked.can, created_ms)
        made = link(request, caller, info, asked.can, links)
        assert made is not None
        return made

    @router.delete("/documents/{document}/links", status_code=204, response_class=Response, responses=refusals())
    async def reset_links(request: Request, document: str) -> None:
        """Take back all links of the document (LI3)."""
        name = id_of(document)
        await Caller(raffia, request).sharer(name)
        await info_of(raffia.hub.journal, name)
        await raffia.revocations.revoke(Revoked.LINKS, name)
        await raffia.hub.journal.links.reset(name)

    return router
