"""Every route of REST under every grant; names, other pages, other documents' files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import AsyncIterator
from typing import Any, NamedTuple
from urllib.parse import quote

import httpx
import pytest

from tests.attacks.canary import revoke
from tests.attacks.scene import BAD, Place, Victims, enter, new_document
from tests.attacks.test_doors import BAD_TOKENS, NAMES
from tests.support.lib0 import insert
from tests.support.tokens import token

TITLE = "geheimer-titel-é😀"


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


PNG = (
    b"\x89PNG\r\n\x1a\n"
    + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    + chunk(b"IDAT", zlib.compress(b"\0\0"))
    + chunk(b"IEND", b"")
)


class Route(NamedTuple):
    """One route for one document: what it asks, and the least grant that may."""

    method: str
    path: str
    least: str
    body: Any = None


ROUTES = [
    Route("GET", "/api/documents/{document}", "read"),
    Route("POST", "/api/documents/{document}/duplicate", "read beside edit"),
    Route("PATCH", "/api/documents/{document}", "edit", {"title": BAD}),
    Route("POST", "/api/documents/{document}/files", "edit", PNG),
    Route("GET", "/api/files/{document}/{file}", "read"),
    Route("GET", "/api/documents/{document}/links", "edit"),
    Route("POST", "/api/documents/{document}/links", "edit", {"can": "read"}),
    Route("DELETE", "/api/documents/{document}/links", "edit"),
    Route("POST", "/api/documents/{document}/restore", "admin"),
    Route("DELETE", "/api/documents/{document}", "admin"),
]
ELSEWHERE = {  # not for one document; tested by name below, or open to all
    ("GET", "/api/config"), ("GET", "/api/templates"), ("GET", "/api/documents"), ("POST", "/api/documents"),
    ("POST", "/api/revocations"), ("GET", "/healthz"), ("GET", "/readyz"), ("GET", "/metrics"),
}  # fmt: skip
LEVELS = ["none", "read", "comment", "edit", "admin"]


@pytest.fixture
async def rest(place: Place) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=place.attacker.http, timeout=20) as client:
        yield client


def bearer(made: str | None) -> dict[str, str]:
    return {} if made is None else {"Authorization": f"Bearer {made}"}


async def ask(
    rest: httpx.AsyncClient, route: Route, document: str, made: str | None, file: str = "x.png", **headers: str
) -> httpx.Response:
    path = route.path.format(document=quote(document, safe=""), file=file)
    body = {"content": PNG} if route.body is PNG else {"json": route.body} if route.body is not None else {}
    return await rest.request(route.method, path, headers={**bearer(made), **headers}, **body)  # type: ignore[arg-type]


async def made_for(rest: httpx.AsyncClient, place: Place, word: str) -> tuple[str, str]:
    """A document with a title that must not get out, and the name of a file of it."""
    document = new_document(word)
    async with await enter(place.attacker, document, "hocuspocus", user="ana") as writer:
        writer.update(insert(3, 0, "Inhalt"))
        await writer.settle()
    admin = token(sub="ana", raffia={document: "admin"})
    renamed = await ask(rest, Route("PATCH", ROUTES[0].path, "edit", {"title": TITLE}), document, admin)
    assert renamed.status_code == 200, renamed.text
    uploaded = await ask(rest, ROUTES[3], document, admin)
    assert uploaded.status_code == 201, uploaded.text
    return document, uploaded.json()["url"].rsplit("/", 1)[-1]


async def test_the_table_names_every_route(rest: httpx.AsyncClient) -> None:
    """A route that is added has to be added here."""
    said = (await rest.get("/openapi.json")).json()["paths"]
    there = {(method.upper(), path) for path, methods in said.items() for method in methods}
    named = {(route.method, route.path) for route in ROUTES} | ELSEWHERE
    assert there - named == set()


def outsiders(document: str) -> dict[str, tuple[str | None, int]]:
    """Who may nothing with a document, and how that is said."""
    return {
        "nobody": (None, 401),
        "over": (token(raffia={document: "admin"}, lifetime_s=-1), 401),
        "another key": (token("x" * 40, raffia={document: "admin"}), 401),
        "nonsense": ("nonsense", 401),
        "another document": (token(raffia={f"{document}/x": "admin", "other/*": "admin"}), 403),
        "taken out": (token(raffia={document: "none", "*": "admin"}), 403),
    }


async def test_every_route_under_every_grant(place: Place, rest: httpx.AsyncClient) -> None:
    """Who may not is refused by each route and learns nothing; who may, may."""
    document, file = await made_for(rest, place, "table")
    async with Victims(place, document=document + "-typed") as victims:
        for route in ROUTES:
            for who, (made, status) in outsiders(document).items():
                said = await ask(rest, route, document, made, file)
                assert said.status_code == status, (route, who, said.text)
                assert TITLE not in said.text
            for level in LEVELS[1:]:
                needed = route.least.partition(" ")[0]
                made = token(sub="mallory", raffia={document: level})
                if LEVELS.index(level) < LEVELS.index(needed):
                    said = await ask(rest, route, document, made, file)
                    assert (said.status_code, TITLE in said.text) == (403, False), (route, level)
                elif route.least == needed:
                    scratch, its_file = await made_for(rest, place, "scratch")
                    made = token(sub="mallory", raffia={scratch: level})
                    said = await ask(rest, route, scratch, made, its_file)
                    assert said.status_code in {200, 201, 204}, (route, level, said.text)
                else:  # a copy needs a place to be put
                    assert (await ask(rest, route, document, made, file)).status_code == 403
        left = await ask(rest, ROUTES[0], document, token(raffia={document: "read"}))
        assert (left.status_code, left.json()["title"]) == (200, TITLE)
        await victims.go_on()


async def test_missing_and_forbidden_look_the_same_over_rest(place: Place, rest: httpx.AsyncClient) -> None:
    document, file = await made_for(rest, place, "hidden")
    for made in (token(raffia={"own/*": "admin"}), None):
        for route in ROUTES:
            answers = set()
            for name in (document, new_document("nowhere"), "elsewhere/x"):
                said = await ask(rest, route, name, made, file)
                answers.add((said.status_code, said.content))
            assert len(answers) == 1, route


async def test_a_listing_shows_what_may_be_read_and_no_more(place: Place, rest: httpx.AsyncClient) -> None:
    document, _ = await made_for(rest, place, "listed")
    for made in (token(raffia={"own/*": "admin"}), token(raffia={document: "none", "own/*": "read"}), token(raffia={})):
        for query in ("", "?search=geheim", "?deleted=true", "?limit=1&search=titel"):
            said = await rest.get(f"/api/documents{query}", headers=bearer(made))
            assert document not in said.text
            assert TITLE not in said.text
    said = await rest.get("/api/documents?search=geheimer", headers=bearer(token(raffia={document: "read"})))
    assert [entry["id"] for entry in said.json()["documents"]] == [document]
    for made in (None, *(make(document) for name, make in BAD_TOKENS.items() if name in {"none", "over", "HS512"})):
        assert (await rest.get("/api/documents", headers=bearer(made))).status_code == 401


async def test_other_pages_change_and_read_nothing(place: Place, rest: httpx.AsyncClient) -> None:
    """With a token that is good, too: a page that has stolen one is still another page."""
    document, file = await made_for(rest, place, "pages")
    made = token(raffia={document: "admin"})
    for route in ROUTES:
        for origin in ("https://evil.example", "null", f"http://127.0.0.1.evil.example:{place.attacker.port}"):
            said = await ask(rest, route, document, made, file, origin=origin)
            assert (said.status_code, TITLE in said.text) == (403, False), (route, origin)
            assert "access-control-allow-origin" not in said.headers
        said = await ask(rest, route, document, None, file, cookie=f"token={made}; session={made}")
        assert said.status_code == 401


async def test_names_over_rest(place: Place, rest: httpx.AsyncClient) -> None:
    """Names that are none, and files of one document under the name of another."""
    made = token(sub="mallory", raffia={"*": "admin"})
    for name in NAMES:
        for route in (ROUTES[0], ROUTES[9]):
            said = await ask(rest, route, name, made)
            assert said.status_code in {400, 403, 404, 405, 307}, (name, said.status_code)
    document, file = await made_for(rest, place, "files")
    own, _ = await made_for(rest, place, "own")
    mine = token(raffia={own: "admin"})
    for spelt in (file, f"..%2F{document}%2F{file}", f"%2e%2e/{file}", "..%2f..%2f..%2fetc%2fpasswd", f"{file}%00.png"):
        said = await rest.get(f"/api/files/{quote(own, safe='')}/{spelt}", headers=bearer(mine))
        if spelt != file:  # the same picture is the same file, in each document that has it
            assert said.status_code in {400, 403, 404}, spelt
            assert said.content != PNG


async def test_uploads_are_pictures(place: Place, rest: httpx.AsyncClient) -> None:
    """What is served again runs nowhere."""
    document, file = await made_for(rest, place, "uploads")
    made = token(raffia={document: "edit"})
    script = b"<script>alert(1)</script>"
    for data in (
        b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>',
        b"<?xml version='1.0'?><svg/>",
        b"<!doctype html>" + script,
        script,
        b"%PDF-1.7",
        b"\x89PNG\r\n\x1a\n" + script,
        b"GIF89a",
        b"",
    ):
        path = f"/api/documents/{quote(document, safe='')}/files"
        for kind in ("image/png", "image/svg+xml", "text/html"):
            said = await rest.post(path, content=data, headers={**bearer(made), "content-type": kind})
            assert said.status_code == 415, data
    said = await rest.get(f"/api/files/{quote(document, safe='')}/{file}", headers=bearer(made))
    assert (said.status_code, said.headers["content-type"]) == (200, "image/png")
    assert said.headers["x-content-type-options"] == "nosniff"
    assert "sandbox" in said.headers["content-security-policy"]


async def test_who_was_revoked_asks_in_vain(place: Place, rest: httpx.AsyncClient) -> None:
    document, file = await made_for(rest, place, "revoked")
    made = token(sub="mallory", jti=f"rest {document}", raffia={document: "admin"})
    assert (await ask(rest, ROUTES[0], document, made)).status_code == 200
    revoke(place.attacker, {"token": f"rest {document}"})
    for route in ROUTES:
        assert (await ask(rest, route, document, made, file)).status_code == 401
