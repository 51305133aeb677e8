"""Who may ask what: AC1-AC4 of access.py, DO1 of listing.py, with hooks, open and with tokens; CORS; ids in paths."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from tests.support.tokens import SECRET, token
from tests.unit.api.rest import URL, Rest, rest

from raffia.api import listing
from raffia.auth.hooks import Handshake
from raffia.errors import JournalUnavailableError
from raffia.journal.search import Where
from raffia.types import Access, DocumentId, Edit, Grant, Revoked

EMPTY = b"\x00\x00"


async def fill(here: Rest, names: list[str]) -> None:
    for number, name in enumerate(names):
        await here.raffia.hub.journal.append(DocumentId(name), (Edit(None, number, EMPTY),))


async def cookies(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
    """A host app's hook: a cookie signs in, to what is one's own."""
    user = handshake.headers.get("cookie", "").partition("user=")[2]
    if handshake.origin is None and token is None:
        raise AssertionError("asked without an origin and a token")
    return Grant(Access.EDIT, user=user) if user and document.startswith(f"{user}/") else None


async def test_ac1_a_foreign_page_is_refused_before_anything_else_of_its_request_is_read(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        for origin, status in (("https://evil.example", 403), (URL, 400)):
            headers = {"origin": origin}
            await here("POST", "/documents", status, content=b"[", headers=headers)
            await here("PATCH", "/documents/a%00b", status, json={"title": "x"}, headers=headers)
            await here("GET", "/documents", status, params={"limit": 0}, headers=headers)


async def test_ac4_a_hook_decides_about_pages_of_its_own_by_cookie(tmp_path: Path) -> None:
    async with rest(cookies, data=tmp_path) as here:
        own = {"cookie": "user=ana"}
        made = await here(
            "POST", "/documents", 201, json={"kind": "board", "folder": "ana"}, headers=own | {"origin": URL}
        )
        assert made["id"].startswith("ana/")
        path = f"/documents/{made['id'].replace('/', '%2F')}"
        assert (await here("GET", path, headers=own))["can"] == "edit"
        await here("GET", path, 403, headers={"cookie": "user=bo"})
        await here("GET", path, 403, headers=own | {"origin": "https://evil.example"})
        # What changes something needs an Origin or a token.
        await here("PATCH", path, 401, json={"title": "x"}, headers=own)
        await here("PATCH", path, 403, json={"title": "x"}, headers=own | {"origin": "https://evil.example"})
        assert (await here("PATCH", path, json={"title": "x"}, headers=own | {"origin": URL}))["title"] == "x"
        reason = await here("POST", f"{path}/links", 503, json={"can": "read"}, headers=own | {"origin": URL})
        assert reason["error"]["reason"] == "not-configured"
        assert await here("GET", f"{path}/links", headers=own) == []


@pytest.mark.parametrize("order", ["name", "edited"])
async def test_do1_with_a_hook_a_page_asks_so_often(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    monkeypatch.setattr(listing, "MAX_ASKED", 20)
    asked: list[str] = []

    async def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        asked.append(document)
        return Grant(Access.READ) if document.endswith("7") else None

    async with rest(hook, data=tmp_path) as here:
        await fill(here, [f"d/{number:03}" for number in range(100)])
        found, pages, after = [], 0, ""
        while True:
            asked.clear()
            page = await here("GET", "/documents", params={"order": order, "after": after, "limit": 3})
            assert len(asked) <= 20
            assert page["total"] == len(page["documents"]) <= 3
            found += [one["id"] for one in page["documents"]]
            pages += 1
            if page["following"] is None:
                break
            after = page["following"]
            assert not page["documents"] or after.endswith(page["documents"][-1]["id"])
        assert sorted(found) == [f"d/{number:03}" for number in range(7, 100, 10)]
        assert len(found) == len(set(found))
        assert pages < 15


async def test_a_hook_that_fails_is_later_and_not_nothing(tmp_path: Path) -> None:
    def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        raise RuntimeError("out of order")

    async with rest(hook, data=tmp_path) as here:
        await fill(here, ["a"])
        for path in ("/documents", "/documents/a"):
            assert (await here("GET", path, 503))["error"]["reason"] == "auth-unavailable"


async def test_ac1_open_mode_serves_this_machine_by_its_names(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        for host in ("localhost:8000", "127.0.0.1", "[::1]:8000", "app.localhost"):
            await here("GET", "/documents", headers={"host": host})
        for host in ("evil.example", "127.0.0.1.evil.example", "", "localhost@evil.example"):
            assert (await here("GET", "/documents", 403, headers={"host": host}))["error"]["reason"] == "forbidden"
    async with rest(data=tmp_path, allowed_origins="http://raffia.test:8000") as here:
        await here("GET", "/documents", headers={"host": "raffia.test:8000"})
    async with rest(data=tmp_path, open_to_the_network=True) as here:
        await here("GET", "/documents", headers={"host": "raffia.example"})


@pytest.mark.parametrize(
    "said", ["https://app.example.com", "https://APP.example.com:443/", " https://app.example.com"]
)
async def test_cors_is_for_the_allowed_however_they_are_written(tmp_path: Path, said: str) -> None:
    async with rest(data=tmp_path, allowed_origins=(said, "http://other.example:8080")) as here:
        for origin, status in (("https://app.example.com", 200), ("https://evil.example", 400)):
            asked = {
                "origin": origin,
                "access-control-request-method": "PATCH",
                "access-control-request-headers": "authorization",
            }
            answer = await here.client.options("/api/documents/x", headers=asked)
            assert answer.status_code == status
            assert answer.headers.get("access-control-allow-origin") == (origin if status == 200 else None)


async def test_pa1_a_slash_in_an_id_ends_no_segment(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        await fill(here, ["a", "a/links", "a/b/restore"])
        assert (await here("GET", "/documents/a%2Flinks"))["id"] == "a/links"
        assert (await here("GET", "/documents/a%2flinks"))["id"] == "a/links"
        assert await here("GET", "/documents/a/links") == []
        assert (await here("POST", "/documents/a%2Fb%2Frestore/restore"))["id"] == "a/b/restore"
        await here("GET", "/documents/a%2Fb/restore", 405)
        for path in ("a%252Flinks", "..%2Fa", "a%2F", "%2Fa", "a%00", "a%0Ab", "a%2F%2Fb", "x" * 300):
            assert (await here("GET", f"/documents/{path}", 400))["error"]["reason"] == "malformed", path


async def test_do1_tokens_with_many_names(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    async with rest(data=tmp_path, auth_key_file=tmp_path / "secret") as here:
        await fill(here, [f"d/{number}" for number in range(9)])
        named = token(raffia={f"d/{number}": "read" for number in (1, 3, 5)} | {"d/7": "none"})
        headers = {"authorization": f"Bearer {named}"}
        first = await here("GET", "/documents", headers=headers, params={"limit": 2})
        assert ([one["id"] for one in first["documents"]], first["total"]) == (["d/5", "d/3"], 3)
        rest_ = await here("GET", "/documents", headers=headers, params={"limit": 2, "after": first["following"]})
        assert ([one["id"] for one in rest_["documents"]], rest_["following"]) == (["d/1"], None)
        everything = {"authorization": f"Bearer {token(raffia={'*': 'read'}, jti='t1')}"}
        assert (await here("GET", "/documents", headers=everything))["total"] == 9
        await here.raffia.revocations.revoke(Revoked.TOKEN, "t1")
        await here("GET", "/documents", 401, headers=everything)


async def test_do3_nothing_is_answered_that_is_not_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with rest(data=tmp_path) as here:
        made = await here("POST", "/documents", 201, json={"kind": "document"})
        monkeypatch.setattr(
            "raffia.rooms.editing.DURABLE_S", 0.05
        )  # only now: making it may take longer on a busy machine
        here.store.failing = "disk full"
        for method, path, asked in (
            ("POST", "/documents", {"kind": "document"}),
            ("PATCH", f"/documents/{made['id']}", {"title": "x"}),
            ("DELETE", f"/documents/{made['id']}", None),
            ("POST", f"/documents/{made['id']}/links", {"can": "read"}),
        ):
            options: dict[str, Any] = {} if asked is None else {"json": asked}
            answer = await here(method, path, 503, **options)
            assert answer["error"]["reason"] == JournalUnavailableError.reason
        here.store.failing = None
        assert (await here("GET", f"/documents/{made['id']}"))["deleted_ms"] is None


async def test_do1_with_a_hook_a_search_that_finds_nothing_ends_the_page_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing, "Where", partial(Where, most=20))

    async def hook(handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        return Grant(Access.READ)

    async with rest(hook, data=tmp_path) as here:
        await fill(here, [f"d/{number:03}" for number in range(100)])
        found, pages, after = [], 0, ""
        while True:
            page = await here(
                "GET", "/documents", params={"order": "name", "after": after, "limit": 3, "search": "d/09"}
            )
            found += [one["id"] for one in page["documents"]]
            pages += 1
            if page["following"] is None:
                break
            after = page["following"]
        assert found == [f"d/{number:03}" for number in range(90, 100)]
        assert pages >= 4 + 4, "each page examines at most 20 documents"
