"""What every answer says beside its body (HE1, HE2, AE1), and the pages of the app (PG5)."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import httpx
import pytest
from tests.support.images import png
from tests.unit.api.rest import rest

from raffia.api import pages


async def test_he1_nothing_is_kept_but_files(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        made = await here("POST", "/documents", 201, json={"kind": "board"})
        file = await here("POST", f"/documents/{made['id']}/files", 201, content=png())
        for method, path in (
            ("GET", "/documents"), ("GET", f"/documents/{made['id']}"), ("GET", f"/documents/{made['id']}/links"),
            ("GET", "/config"), ("GET", "/documents/nobody"), ("GET", "/nothing"), ("PUT", "/documents"),
            ("POST", "/revocations"), ("DELETE", f"/documents/{made['id']}"), ("GET", "/documents/"),
            ("GET", f"/documents/{made['id']}/"), ("POST", "/documents/"), ("GET", "/documents/a/b/c"),
        ):  # fmt: skip
            if method == "DELETE":
                got = await here.client.get(file["url"])
                assert got.headers["cache-control"].startswith("private, max-age=31536000")
            answer = await here.client.request(method, f"/api{path}")
            said = answer.headers
            assert said["cache-control"] == "no-store", path
            assert (said["x-content-type-options"], said["cross-origin-resource-policy"]) == ("nosniff", "same-origin")
            assert not 300 <= answer.status_code < 400, path
            if answer.status_code >= 400:
                assert set(answer.json()["error"]) == {"reason", "message"}, path


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "app"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text('<html lang="en"><script src="./x.js"></script></html>')
    for name in ("assets/a-1.js", "plain.svg"):
        (folder / name).write_text("/* é */" * 50)
    (folder / "assets/a-1.js.gz").write_bytes(gzip.compress((folder / "assets/a-1.js").read_bytes()))
    (tmp_path / "secret.txt").write_text("secret")
    (folder / "assets/out.js").symlink_to(tmp_path / "secret.txt")
    monkeypatch.setattr(pages, "APP", folder)
    return folder


async def test_pg5_compressed_for_those_who_take_it(tmp_path: Path, built: Path) -> None:
    url = "/static/app/assets/a-1.js"
    async with rest(data=tmp_path) as here:
        for accepted in ("gzip", "br, GZIP;q=0.5", "x-gzip", "deflate,gzip ; q=1.0"):
            answer = await here.client.get(url, headers={"accept-encoding": accepted})
            assert answer.headers["content-encoding"] == "gzip", accepted
            assert answer.text.startswith("/* é */")
        for accepted in ("", "br", "gzip;q=0", "gzip; q=0.000, br", "gzipped", "identity;q=1, x-gzip;q=0"):
            plain = await here.client.get(url, headers={"accept-encoding": accepted})
            assert "content-encoding" not in plain.headers, accepted
            assert plain.text.startswith("/* é */")
        assert plain.headers["etag"] != answer.headers["etag"]
        for known, accepted, status in (
            (answer.headers["etag"], "gzip", 304), (plain.headers["etag"], "br", 304),
            (answer.headers["etag"], "br", 200), ('"other"', "gzip", 200),
        ):  # fmt: skip
            got = await here.client.get(url, headers={"accept-encoding": accepted, "if-none-match": known})
            assert (got.status_code, got.headers["vary"]) == (status, "accept-encoding"), (known, accepted)
            assert got.headers["cache-control"] == pages.FOR_EVER
        part = await here.client.get("/static/app/plain.svg", headers={"range": "bytes=0-1"})
        assert (part.status_code, part.content, part.headers["cache-control"]) == (206, b"/*", "no-cache")


async def test_pages_answer_head_and_give_nothing_else(tmp_path: Path, built: Path) -> None:
    async with rest(data=tmp_path) as here:
        for path in ("/", "/d/x", "/b/a%2Fb", "/static/app/plain.svg"):
            answers = [await here.client.request(method, path) for method in ("HEAD", "GET")]
            assert {answer.status_code for answer in answers} == {200}
            assert answers[0].content == b""
            assert answers[0].headers == answers[1].headers
        for path in (
            "%2e%2e/secret.txt", "..%2fsecret.txt", "assets/..%2f..%2f..%2fsecret.txt", "%00", "a%00.js", "x" * 300,
            "assets/", "assets", "", "assets/out.js", "%252e%252e/secret.txt", "..%5csecret.txt", "/etc/passwd",
        ):  # fmt: skip
            answer = await here.client.get(f"/static/app/{path}")
            assert (answer.status_code, "secret" in answer.text) == (404, False), path
        for method in ("POST", "PUT", "DELETE"):
            assert (await here.client.request(method, "/static/app/plain.svg")).status_code == 405


async def test_pg6_root_path_is_said_as_text(tmp_path: Path, built: Path) -> None:
    async with rest(data=tmp_path) as here:
        transport = httpx.ASGITransport(here.app, root_path='/w"><script>')
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            page = (await client.get('/w"><script>/')).text
        assert re.findall(r"<script[^>]*>", page) == ['<script src="/w&quot;&gt;&lt;script&gt;/static/app/x.js">']
