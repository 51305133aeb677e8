"""`/api/documents/{id}/links`: "anyone with the link can view, or edit".

Rules (tests quote these ids):
    LI1  There is at most one link for reading and one for editing; asking again returns the same one, and the same URL
         unless its token is renewed (LI4 of link_signer.py).
    LI3  Resetting revokes every link of the document on all replicas and ends the sessions that use them (REV2, REV3,
         REV5 of revocation.py); links made afterwards are valid. Revoked links, including those revoked through
         `/api/revocations` with `links`, are neither listed nor returned again.
    LI5  In open mode links are plain URLs: anyone who can reach the server may edit anyway.
"""

from __future__ import annotations

import time
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request, Response

from raffia.api.body import json_body, json_of
from raffia.api.dependencies import CallerDep, DocumentDep, RaffiaDep
from raffia.api.document_info import info_of
from raffia.api.errors import refusals
from raffia.api.link_signer import LinkAccess, LinkSigner, link_id
from raffia.api.models import Link, NewLink
from raffia.embed import Raffia
from raffia.journal import DocumentInfo, Links
from raffia.types import DocumentId, Revoked


class LinkView:
    """Links as REST shows them to one caller."""

    def __init__(self, raffia: Raffia, signer: LinkSigner, pages_url: str) -> None:
        self._is_open = raffia.is_open
        self._signer = signer
        self._pages_url = pages_url

    def check(self, document: DocumentId, can: LinkAccess, links: Links) -> None:
        """Check that a link can be signed.

        Raises:
            NotConfiguredError: it cannot (LI6 of link_signer.py).
        """
        if not self._is_open:
            now_s = time.time()
            self._signer.token(document, can, links, int(now_s * 1000), now_s)

    def link(self, info: DocumentInfo, can: LinkAccess, links: Links) -> Link | None:
        """The link of this kind; None if there is none."""
        created_ms = links.read_ms if can == "read" else links.edit_ms
        if created_ms is None:
            return None
        url = f"{self._pages_url}/{'b' if info.kind == 'board' else 'd'}/{quote(info.document, safe='')}"
        if not self._is_open:  # LI5
            url += f"#token={self._signer.token(info.document, can, links, created_ms, time.time())}"
        return Link(id=link_id(can, links), can=can, url=url, created_ms=created_ms)


async def link_view_of(request: Request, raffia: RaffiaDep, caller: CallerDep) -> LinkView:
    """The view for this request; its URLs use the Host that the caller used."""
    root = request.scope.get("root_path", "").rstrip("/")
    return LinkView(raffia, request.app.state.link_signer, f"{caller.scheme}://{caller.host}{root}")


LinkViewDep = Annotated[LinkView, Depends(link_view_of)]

router = APIRouter(prefix="/api", tags=["links"])


@router.get("/documents/{document}/links", responses=refusals())
async def list_links(raffia: RaffiaDep, caller: CallerDep, view: LinkViewDep, document: DocumentDep) -> list[Link]:
    """The existing links of a document."""
    await caller.sharer(document)
    info = await info_of(raffia.hub.journal, document)
    links = _valid(raffia, document, info.links)
    kinds: tuple[LinkAccess, ...] = ("read", "edit")
    found = [view.link(info, can, links) for can in kinds]
    return [link for link in found if link is not None]


@router.post("/documents/{document}/links", status_code=201, responses=refusals(413), openapi_extra=json_body(NewLink))
async def make_link(
    raffia: RaffiaDep,
    caller: CallerDep,
    view: LinkViewDep,
    document: DocumentDep,
    asked: Annotated[NewLink, Depends(json_of(NewLink))],
) -> Link:
    """Create a link, or get the existing one (LI1)."""
    await caller.sharer(document)
    journal = raffia.hub.journal
    info = await info_of(journal, document)
    view.check(document, asked.can, info.links)  # before anything is stored
    if _valid(raffia, document, info.links) != info.links:
        await journal.links.reset(document)  # or add_link would return the link that was revoked
    created_ms = max(time.time_ns() // 1_000_000, _revoked_before_ms(raffia, document) + 1)
    links = await journal.links.add(document, asked.can, created_ms)
    link = view.link(info, asked.can, links)
    assert link is not None
    return link


@router.delete("/documents/{document}/links", status_code=204, response_class=Response, responses=refusals())
async def reset_links(raffia: RaffiaDep, caller: CallerDep, document: DocumentDep) -> None:
    """Revoke all links of a document (LI3)."""
    await caller.sharer(document)
    await info_of(raffia.hub.journal, document)
    await raffia.revocations.revoke(Revoked.LINKS, document)
    await raffia.hub.journal.links.reset(document)


def _valid(raffia: Raffia, document: DocumentId, links: Links) -> Links:
    """The links without those that were revoked (LI3)."""
    before_ms = _revoked_before_ms(raffia, document)
    read_ms, edit_ms = (
        None if made_ms is None or made_ms <= before_ms else made_ms for made_ms in (links.read_ms, links.edit_ms)
    )
    return Links(links.generation, read_ms, edit_ms)


def _revoked_before_ms(raffia: Raffia, document: DocumentId) -> int:
    """Links made up to this Unix time in milliseconds were revoked; 0 if none were."""
    revoked = (one for one in raffia.revocations.all() if one.kind is Revoked.LINKS and one.subject == document)
    return max((one.before_ms for one in revoked), default=0)
