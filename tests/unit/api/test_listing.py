"""Pages of the listing (DO1, JS2), who is told to sign in, and what one document may put into it."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.tokens import SECRET, token
from tests.unit.api.rest import Rest, rest
from tests.unit.api.test_access import fill

from raffia.auth.hooks import Handshake
from raffia.crdt.meta import set_meta
from raffia.rooms import editing
from raffia.types import Access, DocumentId, Edit, Grant


async def touch(here: Rest, name: str, time_ms: int) -> None:
    await here.raffia.hub.journal.append(DocumentId(name), (Edit(None, time_ms, b"\x00\x00"),))


@pytest.mark.parametrize("order", ["name", "edited"])
async def test_js2_named_documents_that_move_while_one_pages(tmp_path: Path, order: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    async with rest(data=tmp_path, auth_key_file=tmp_path / "secret") as here:
        names = [f"d/{number}" for number in range(6)]
        await fill(here, names)
        headers = {"authorization": f"Bearer {token(raffia=dict.fromkeys(names, 'admin'))}"}
        ask = partial(here, "GET", "/documents", headers=headers)
        page = await ask(params={"order": order, "limit": 2})
        first = [one["id"] for one in page["documents"]]
        # The one with which the page ended is edited, and another one is deleted.
        await touch(here, first[1], 1000)
        await here("DELETE", f"/documents/{first[0].replace('/', '%2F')}", 204, headers=headers)
        seen = list(first)
        while page["following"] is not None:
            page = await ask(params={"order": order, "limit": 2, "after": page["following"]})
            seen += [one["id"] for one in page["documents"]]
        assert sorted(seen) == names
        if order == "edited":
            for after in ("x", "~", "9" * 16 + "~a", "-1~a", "é~a"):
                answer = await ask(status=400, params={"after": after})
                assert answer["error"]["reason"] == "malformed"


async def test_a_token_that_is_not_good_is_told_so_with_a_hook_too(tmp_path: Path) -> None:
    async def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        return Grant(Access.READ)

    (tmp_path / "secret").write_text(SECRET)
    async with rest(hook, data=tmp_path, auth_key_file=tmp_path / "secret") as here:
        await fill(here, ["a"])
        for made in (token(lifetime_s=-60), "x.y.z"):
            headers = {"authorization": f"Bearer {made}"}
            for path in ("/documents", "/documents/a"):
                assert (await here("GET", path, 401, headers=headers))["error"]["reason"] == "unauthenticated"
        headers = {"authorization": f"Bearer {token()}"}
        assert (await here("GET", "/documents", headers=headers))["total"] == 1


async def test_ad4_tokens_are_not_guessed_at_the_listing(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    settings: dict[str, Any] = {"auth_key_file": tmp_path / "secret", "max_failures_per_address_per_s": 1}
    async with rest(data=tmp_path, address="192.0.2.7", **settings) as here:
        asked = [
            (await here.client.request(method, "/api/documents", json={}, headers={"authorization": "Bearer x.y.z"}))
            for method in ("GET", "POST") * 8
        ]
        assert [answer.status_code for answer in asked[:10]] == [401] * 10
        assert asked[-1].status_code == 503
        assert asked[-1].json()["error"]["reason"] == "too-fast"


async def test_mi7_one_document_does_not_make_the_listing_large(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        made = await here("POST", "/documents", 201, json={"kind": "board", "title": "é"})
        says: list[dict[str, Any]] = [
            {"title": "🦊" * 100_000, "kind": "k" * 100_000},
            *({"schema": schema} for schema in (2**53 - 1, -1, 1e300)),
        ]
        for said in says:
            await editing.change(here.raffia.hub, made["id"], partial(set_meta, fields=said), author=None)
        info = await here.raffia.hub.journal.directory.info(made["id"])
        assert (info.title, info.kind, info.schema) == ("🦊" * 300, None, None)
        copied = await here("POST", f"/documents/{made['id']}/duplicate", 201)
        assert copied["title"] == "🦊" * 293 + " (copy)"


async def test_a_document_with_a_long_name_can_be_copied(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        name = "/".join(("a" * 120, "b" * 120, "c" * 14))
        await fill(here, [name])
        made = await here("POST", f"/documents/{name.replace('/', '%2F')}/duplicate", 201)
        assert len(made["id"]) == 16
