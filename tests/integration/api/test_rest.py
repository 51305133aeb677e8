"""REST at a real server on SQLite, open and with tokens."""

from __future__ import annotations

import asyncio
import re
import time
from typing import Any
from urllib.parse import quote

import httpx
import pycrdt
import pytest
from tests.support.client import HocuspocusClient, YClient, fresh_reader
from tests.support.images import IMAGES, png
from tests.support.lib0 import insert
from tests.support.server import RaffiaServer
from tests.support.tokens import token

from raffia.crdt.merge import merge
from raffia.crdt.meta import set_meta
from raffia.crdt.view import View, edit


class Api:
    """A client of one server, with a token or without."""

    def __init__(self, server: RaffiaServer, made: str | None = None, **headers: str) -> None:
        if made is not None:
            headers["authorization"] = f"Bearer {made}"
        self.base = f"{server.http}/api"
        self.headers = headers

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {**self.headers, **options.pop("headers", {})}
        return httpx.request(method, self.base + path, headers=headers, timeout=30, **options)

    def __call__(self, method: str, path: str, status: int, **options: Any) -> Any:
        answer = self.ask(method, path, **options)
        assert answer.status_code == status, (answer.status_code, answer.text)
        if status >= 400:
            said = answer.json()["error"]
            assert set(said) == {"reason", "message"}
            return said["reason"]
        return answer.json() if answer.content else None

    def make(self, **asked: Any) -> dict[str, Any]:
        made: dict[str, Any] = self("POST", "/documents", 201, json={"kind": "document", **asked})
        return made

    def ids(self, **params: Any) -> list[str]:
        return [one["id"] for one in self("GET", "/documents", 200, params=params)["documents"]]


def at(document: str, rest: str = "") -> str:
    return f"/documents/{quote(document, safe='')}{rest}"


async def content(server: RaffiaServer, document: str, made: str | None = None) -> dict[str, Any]:
    where = document if made is None else f"{document}?token={made}"
    async with await fresh_reader(server.ws, where) as reader:
        return View(merge(reader.updates)).json()


# -- documents


def test_config_and_templates(server: RaffiaServer, guarded: RaffiaServer) -> None:
    config = Api(server)("GET", "/config", 200)
    assert config == {
        "auth": "open", "limits": {"max_file_bytes": 65536}, "version": config["version"], "uploads": True, "schema": 1,
    }  # fmt: skip
    assert Api(guarded)("GET", "/config", 200)["auth"] == "token"
    templates = Api(server)("GET", "/templates", 200)
    assert {one["kind"] for one in templates} == {"document", "board"}
    assert all(set(one) == {"id", "kind", "title", "description"} for one in templates)


async def test_every_template_is_seeded(server: RaffiaServer) -> None:
    api = Api(server)
    for template in api("GET", "/templates", 200):
        made = api.make(kind=template["kind"], template=template["id"])
        assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{15}", made["id"])
        assert (made["title"], made["kind"], made["can"]) == (template["title"], template["kind"], "admin")
        found = await content(server, made["id"])
        assert found["meta"] == {"title": template["title"], "kind": template["kind"], "schema": 1}
        if template["kind"] == "board":
            for element in found["elements"].values():
                assert set(element) <= {"g", "s", "t", "m"}
                assert element["m"]["isDeleted"] is False
        else:
            assert found["document-store"].startswith("<blockGroup><blockContainer id=")
    assert api("POST", "/documents", 400, json={"kind": "board", "template": "meeting"}) == "malformed"


async def test_a_blank_document_has_one_paragraph_and_a_board_nothing(server: RaffiaServer) -> None:
    api = Api(server)
    found = await content(server, api.make(title="  Über 🦊 ")["id"])
    assert found["meta"] == {"title": "Über 🦊", "kind": "document", "schema": 1}
    assert re.fullmatch(
        r'<blockGroup><blockContainer id="[0-9a-f-]{36}"><paragraph></paragraph></blockContainer></blockGroup>',
        found["document-store"],
    )
    assert set(await content(server, api.make(kind="board")["id"])) == {"meta"}


async def test_rename_is_told_to_everybody_and_a_title_typed_is_listed(server: RaffiaServer) -> None:
    api = Api(server)
    document = api.make(title="früher")["id"]
    async with YClient() as client:
        await client.join(server.ws, document)
        assert api("PATCH", at(document), 200, json={"title": "später 🦊"})["title"] == "später 🦊"
        await client.until(lambda: client.holds("später 🦊".encode()), "the new title")
        # Now in the editor, which knows the entry that it replaces.
        made = View(merge(client.updates))
        assert made.json()["meta"]["title"] == "später 🦊"
        client.update(set_meta(client.updates, {"title": "im Editor"}))
        await client.until_stored()
    deadline_s = time.monotonic() + 10
    while api("GET", at(document), 200)["title"] != "im Editor":
        assert time.monotonic() < deadline_s
        await asyncio.sleep(0.05)
    assert document in api.ids(search="IM EDI")
    assert document not in api.ids(search="später")


def test_listing_pages_newest_first(server: RaffiaServer) -> None:
    api = Api(server)
    made = [api.make(title=f"Seite {number} ẞ")["id"] for number in range(5)]
    found: list[str] = []
    after = ""
    while True:
        page = api("GET", "/documents", 200, params={"search": "seite", "limit": 2, "after": after})
        assert page["total"] == 5
        found += [one["id"] for one in page["documents"]]
        if page["following"] is None:
            break
        after = page["following"]
    assert found == made[::-1]
    assert api.ids(search="SEITE 3 SS") == [made[3]]
    assert set(api.ids(order="name", limit=200)) >= set(made)
    assert api("GET", "/documents", 400, params={"after": "x"}) == "malformed"
    assert api("GET", "/documents", 400, params={"limit": 0}) == "malformed"


async def test_delete_ends_sessions_and_restore_brings_everything_back(server: RaffiaServer) -> None:
    api = Api(server)
    document = api.make(title="weg")["id"]
    async with YClient() as client, HocuspocusClient(document) as other:
        await client.join(server.ws, document)
        await other.join(server.ws)
        client.update(insert(7, 0, "bleibt 😀"))
        await client.until_stored()
        api("DELETE", at(document), 204)
        assert (await client.until_closed())[0] == 4404
        await other.until(lambda: bool(other.closes), "the end of the other")
    assert document not in api.ids(search="weg")
    assert api.ids(search="weg", deleted=True) == [document]
    assert api("GET", at(document), 200)["deleted_ms"] is not None
    for method, path in (("PATCH", ""), ("POST", "/duplicate"), ("POST", "/links"), ("GET", "/links")):
        assert (
            api(method, at(document, path), 403, json={"title": "x"} if method == "PATCH" else {"can": "read"})
            == "deleted"
        )
    api("DELETE", at(document), 204)
    restored = api("POST", at(document, "/restore"), 200)
    assert (restored["deleted_ms"], restored["title"]) == (None, "weg")
    async with await fresh_reader(server.ws, document) as reader:
        assert reader.holds("bleibt 😀".encode())


async def test_a_copy_has_a_title_of_its_own_and_its_files(server: RaffiaServer) -> None:
    api = Api(server)
    document = api.make(kind="board", title="é" * 300, template="flow")["id"]
    file = api("POST", at(document, "/files"), 201, content=png())
    async with YClient() as client:
        await client.join(server.ws, document)
        state = merge(client.updates)

        def add(doc: Any) -> None:
            doc.get("files", type=pycrdt.Map)["f"] = {"url": file["url"], "mimeType": "image/png"}

        client.update(edit(state, add))
        await client.until_stored()
    copied = api("POST", at(document, "/duplicate"), 201)
    assert copied["id"] != document
    assert copied["title"] == "é" * 293 + " (copy)"
    one, two = await content(server, document), await content(server, copied["id"])
    assert one["elements"] == two["elements"]
    assert one["files"]["f"]["url"] == file["url"]
    url = two["files"]["f"]["url"]
    assert url == file["url"].replace(document, copied["id"])
    assert httpx.get(f"{server.http}{url}").content == png()


def test_what_another_editor_made_is_there_too(server: RaffiaServer) -> None:
    async def write() -> None:
        async with YClient() as client:
            await client.join(server.ws, "team/links")
            client.update(insert(7, 0, "ü"))
            await client.until_stored()

    asyncio.run(write())
    api = Api(server)
    found = api("GET", at("team/links"), 200)
    assert (found["id"], found["title"], found["kind"], found["size_bytes"] > 0) == (
        "team/links",
        "team/links",
        None,
        True,
    )
    assert api("GET", at("team/links", "/links"), 200) == []  # and not the document `team`
    assert api("PATCH", at("team/links"), 200, json={"title": "neu"})["title"] == "neu"


@pytest.mark.parametrize(
    ("method", "path", "options", "wanted"),
    [
        ("GET", "/documents/nobody", {}, (403, "forbidden")),
        ("GET", "/documents/%2e%2e%2fetc", {}, (400, "malformed")),
        ("GET", "/documents/a%20b", {}, (400, "malformed")),
        ("PATCH", "/documents/nobody", {"json": {"title": "x"}}, (403, "forbidden")),
        ("PATCH", "/documents/nobody", {"json": {"title": "a\nb"}}, (400, "malformed")),
        ("PATCH", "/documents/nobody", {"content": b'{"title": "\\ud800"}'}, (400, "malformed")),
        ("PATCH", "/documents/nobody", {"json": {"title": 3}}, (400, "malformed")),
        ("PATCH", "/documents/nobody", {"json": {"title": "x", "more": 1}}, (400, "malformed")),
        ("PATCH", "/documents/nobody", {"content": b"{" * 100_000}, (413, "too-large")),
        ("DELETE", "/documents/nobody", {}, (403, "forbidden")),
        ("POST", "/documents/nobody/restore", {}, (403, "forbidden")),
        ("POST", "/documents/nobody/duplicate", {}, (403, "forbidden")),
        ("POST", "/documents/nobody/links", {"json": {"can": "admin"}}, (400, "malformed")),
        ("POST", "/documents/nobody/links", {"json": {"can": "read"}}, (403, "forbidden")),
        ("POST", "/documents/nobody/files", {"content": b"x"}, (403, "forbidden")),
        ("POST", "/documents", {"json": {"kind": "nothing"}}, (400, "malformed")),
        ("POST", "/documents", {"json": {"kind": "text", "folder": "../x"}}, (400, "malformed")),
        ("POST", "/documents", {"json": {"title": "x" * 301}}, (400, "malformed")),
        ("GET", "/nothing", {}, (404, "not-found")),
        ("PUT", "/documents", {}, (405, "method-not-allowed")),
    ],
)
def test_refusals(server: RaffiaServer, method: str, path: str, options: Any, wanted: tuple[int, str]) -> None:
    status, reason = wanted
    assert Api(server)(method, path, status, **options) == reason


# -- doors


def test_other_pages_may_not(server: RaffiaServer, guarded: RaffiaServer) -> None:
    good = token(raffia={"*": "admin"})
    for method, path in (("GET", "/documents"), ("POST", "/documents"), ("GET", "/config")):
        options: dict[str, Any] = {"json": {"kind": "board"}} if method == "POST" else {}
        assert Api(server, origin="https://evil.example")(method, path, 403, **options) == "forbidden"
        assert Api(guarded, good, origin="https://evil.example")(method, path, 403, **options) == "forbidden"
        # A page whose name was made to point here sends no Origin with a GET.
        assert Api(server, host="evil.example")(method, path, 403, **options) == "forbidden"
    Api(server, origin="http://localhost:5173")("POST", "/documents", 201, json={"kind": "board"})
    Api(guarded, good, origin=guarded.http)("POST", "/documents", 201, json={"kind": "board"})
    assert Api(guarded, origin=guarded.http)("POST", "/documents", 401, json={"kind": "board"}) == "unauthenticated"


def test_tokens_see_what_they_name(guarded: RaffiaServer) -> None:
    chief = Api(guarded, token(raffia={"*": "admin"}, sub="chef"))
    mine = chief.make(folder="team", title="Unseres")["id"]
    theirs = chief.make(folder="other", title="Anderes")["id"]
    assert (mine[:5], theirs[:6]) == ("team/", "other/")
    edit = Api(guarded, token(raffia={"team/*": "edit"}, sub="zoë"))
    assert edit.ids() == [mine]
    assert edit("GET", "/documents", 200)["total"] == 1
    found = edit("GET", at(mine), 200)
    assert (found["can"], found["updated_by"]) == ("edit", "chef")
    assert edit("PATCH", at(mine), 200, json={"title": "neu"})["updated_by"] == "zoë"
    # Missing and forbidden look the same.
    both = [edit.ask("GET", at(name)) for name in (theirs, "other/nobody", "team/nobody")]
    assert {answer.status_code for answer in both} == {403}
    assert len({answer.text for answer in both}) == 1
    assert edit("DELETE", at(mine), 403) == "forbidden"
    assert edit.make(title="x")["id"].startswith("team/")
    assert edit("POST", "/documents", 403, json={"kind": "text", "folder": "other"}) == "forbidden"
    one = Api(guarded, token(raffia={mine: "read", "team/none": "read"}))
    page = one("GET", "/documents", 200)
    assert ([d["id"] for d in page["documents"]], page["total"], page["following"]) == ([mine], 1, None)
    assert one("PATCH", at(mine), 403, json={"title": "x"}) == "forbidden"
    assert one("POST", at(mine, "/duplicate"), 403) == "forbidden"
    assert one("POST", "/documents", 403, json={"kind": "text"}) == "forbidden"
    several = Api(guarded, token(raffia={"team/*": "read", theirs: "edit", mine: "none"}))
    assert theirs in several.ids(order="name")
    assert mine not in several.ids()
    for path in ("/documents", at(mine)):
        assert Api(guarded)("GET", path, 401) == "unauthenticated"
        assert Api(guarded, token(lifetime_s=-5))("GET", path, 401) == "unauthenticated"
    assert guarded.log(2000).count("eyJ") == 0


# -- links


def fragment(link: dict[str, Any]) -> str:
    page, _, made = link["url"].partition("#token=")
    assert made
    assert "token" not in page
    return str(made)


async def test_links_open_one_document_until_they_are_reset(guarded: RaffiaServer) -> None:
    owner = Api(guarded, token(raffia={"team/*": "edit"}, sub="zoë"))
    document = owner.make(title="geteilt")["id"]
    other = owner.make(title="anderes")["id"]
    assert owner("GET", at(document, "/links"), 200) == []
    read = owner("POST", at(document, "/links"), 201, json={"can": "read"})
    edit = owner("POST", at(document, "/links"), 201, json={"can": "edit"})
    assert owner("POST", at(document, "/links"), 201, json={"can": "read"}) == read
    assert owner("GET", at(document, "/links"), 200) == [read, edit]
    assert read["url"].startswith(f"{guarded.http}/d/{quote(document, safe='')}#token=")
    reader, editor = Api(guarded, fragment(read)), Api(guarded, fragment(edit))
    assert reader("GET", at(document), 200)["can"] == "read"
    assert reader.ids() == [document]
    assert editor("PATCH", at(document), 200, json={"title": "über den Link"})["updated_by"] is None
    for api in (reader, editor):
        assert api("GET", at(other), 403) == "forbidden"
        assert api("DELETE", at(document), 403) == "forbidden"
        assert api("GET", at(document, "/links"), 403) == "forbidden"
        assert api("DELETE", at(document, "/links"), 403) == "forbidden"
        assert api("POST", "/documents", 403, json={"kind": "text"}) == "forbidden"
    async with HocuspocusClient(document, token=fragment(edit)) as holder, YClient() as watcher:
        await holder.join(guarded.ws)
        await watcher.join(guarded.ws, f"{document}?token={fragment(read)}")
        owner("DELETE", at(document, "/links"), 204)
        await holder.until(lambda: bool(holder.denied), "the end of the edit link")
        assert (await watcher.until_closed())[0] == 4401
    for api in (reader, editor):
        assert api("GET", at(document), 401) in {"unauthenticated", "revoked"}
        assert api.ids() == []
    assert owner("GET", at(document, "/links"), 200) == []
    again = owner("POST", at(document, "/links"), 201, json={"can": "read"})
    assert again["id"] != read["id"]
    assert Api(guarded, fragment(again))("GET", at(document), 200)["title"] == "über den Link"


def test_links_in_open_mode_are_plain(server: RaffiaServer) -> None:
    api = Api(server)
    document = api.make(kind="board")["id"]
    link = api("POST", at(document, "/links"), 201, json={"can": "edit"})
    assert link["url"] == f"{server.http}/b/{document}"


# -- files


@pytest.mark.parametrize("kind", list(IMAGES))
def test_images_come_back_as_they_were(server: RaffiaServer, kind: str) -> None:
    api = Api(server)
    document = api.make(folder="team/a")["id"]
    data = IMAGES[kind](640, 480)
    # The name and the type that a client says mean nothing.
    made = api("POST", at(document, "/files"), 201, content=data, headers={"content-type": "text/html"})
    assert (made["width"], made["height"], made["size_bytes"]) == (640, 480, len(data))
    assert made["url"].startswith(f"/api/files/{quote(document, safe='')}/")
    assert api("POST", at(document, "/files"), 201, content=data) == made
    answer = httpx.get(f"{server.http}{made['url']}")
    assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, data, made["mime_type"])
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "immutable" in answer.headers["cache-control"]
    assert "sandbox" in answer.headers["content-security-policy"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b'<svg xmlns="http://www.w3.org/2000/svg" onload="alert(1)"/>', b"<html><script>", png()[:20],
        b"GIF89a", b"\xff\xd8\xff\xe0\xff\xff", png(0, 5), b"RIFF\x00\x00\x00\x00WEBPVP8 ", b"%PDF-1.7",
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(server: RaffiaServer, data: bytes) -> None:
    api = Api(server)
    document = api.make()["id"]
    answer = api("POST", at(document, "/files"), 415, content=data, headers={"content-type": "image/png"})
    assert answer == "unsupported-type"


def test_limits_of_files(server: RaffiaServer) -> None:
    api = Api(server)
    document = api.make()["id"]
    assert api("POST", at(document, "/files"), 413, content=png(filler=b"x" * 70_000)) == "too-large"

    def endless() -> Any:
        for _ in range(100):
            yield b"\x89PNG" + b"x" * 4096

    assert api("POST", at(document, "/files"), 413, content=endless()) == "too-large"
    flood = api("POST", at(document, "/files"), 201, content=png(2_000_000_000, 2_000_000_000))
    assert flood["width"] == 2_000_000_000
    for name in ("x" * 64 + ".png", "a" * 64 + ".svg", "..%2f..%2fraffia.sqlite", "a" * 64 + ".png"):
        assert api("GET", f"/files/{document}/{name}", 403) == "forbidden"


def test_files_follow_their_document(guarded: RaffiaServer) -> None:
    owner = Api(guarded, token(raffia={"team/*": "admin"}, sub="zoë"))
    document = owner.make()["id"]
    made = owner("POST", at(document, "/files"), 201, content=png())
    path = made["url"].removeprefix("/api")
    assert Api(guarded)("GET", path, 401) == "unauthenticated"
    assert Api(guarded, token(raffia={"other/*": "admin"}))("GET", path, 403) == "forbidden"
    reader = Api(guarded, token(raffia={document: "read"}))
    assert reader.ask("GET", path).content == png()
    assert reader("POST", at(document, "/files"), 403, content=png()) == "forbidden"
    owner("DELETE", at(document), 204)
    assert reader("GET", path, 403) == "deleted"


# -- schema


async def test_outdated_editors_are_sent_away_in_both_dialects(server: RaffiaServer) -> None:
    document = Api(server).make()["id"]
    for query in ("", "?schema=1", "?schema=2"):
        async with await fresh_reader(server.ws, f"{document}{query}"):
            pass
    async with YClient() as client:
        await client.open(f"{server.ws}/{document}?schema=0")
        assert (await client.until_closed())[0] == 4409
    async with HocuspocusClient(document) as old:
        await old.open(f"{server.ws}?schema=0")
        old.authenticate()
        await old.until(lambda: bool(old.denied), "a denial")
        assert old.denied[0].startswith("schema")
