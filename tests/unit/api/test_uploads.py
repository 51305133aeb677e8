"""Uploads that take long, break off, or come all at once: FI2 of api/files.py, FL3 of files.py; copies that fail."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.images import png
from tests.support.tokens import SECRET, token
from tests.unit.api.rest import Rest, rest

from raffia.api import files as api
from raffia.api.body import Pace
from raffia.api.turns import Turns
from raffia.auth.address_limits import counted
from raffia.auth.person import person_of
from raffia.errors import TooLargeError
from raffia.files.store import FolderFiles, name_of
from raffia.types import Access, DocumentId, Grant

LINK = Grant(Access.EDIT, claims={"jti": "l1", "lnk": True})


async def drip(end: asyncio.Event) -> AsyncIterator[bytes]:
    yield b"\x89PNG"
    await end.wait()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    (tmp_path / "secret").write_text(SECRET)
    return tmp_path / "secret"


def person(user: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token(raffia={'*': 'edit'}, sub=user)}"}


async def made_in(here: Rest, **options: Any) -> str:
    made = await here("POST", "/documents", 201, json={"kind": "board"}, **options)
    return f"/documents/{made['id']}"


async def test_fi2_who_sends_slowly_keeps_nobody_else_from_uploading(tmp_path: Path, secret: Path) -> None:
    async with rest(data=tmp_path, auth_key_file=secret) as here:
        path, end = await made_in(here, headers=person("zoë")), asyncio.Event()
        slow = [
            asyncio.create_task(here("POST", f"{path}/files", 415, content=drip(end), headers=person("mallory")))
            for _ in range(4 * api.AT_ONCE)
        ]
        async with asyncio.timeout(20):
            for _ in range(50):
                await asyncio.sleep(0)
            await here("POST", f"{path}/files", 201, content=png(), headers=person("zoë"))
        end.set()
        await asyncio.gather(*slow)


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ((Grant(Access.EDIT, "a"), "203.0.113.1"), (Grant(Access.EDIT, "a"), "203.0.113.2"), True),
        ((Grant(Access.EDIT, "a"), "203.0.113.1"), (Grant(Access.EDIT, "b"), "203.0.113.1"), False),
        ((LINK, "2001:db8::1"), (LINK, "2001:db8:7::1"), True),
        ((LINK, "2001:db8::1"), (Grant(Access.EDIT, claims={"jti": "l2"}), "2001:db8::1"), False),
        ((LINK, "2001:db8::1"), (Grant(Access.EDIT, "l1"), "2001:db8::1"), False),
        ((Grant(Access.EDIT), "2001:db8::1"), (Grant(Access.EDIT), "2001:db8::2"), True),
        ((Grant(Access.EDIT), "2001:db8::1"), (Grant(Access.EDIT), "2001:db8:0:1::1"), False),
        ((Grant(Access.EDIT), "127.0.0.1"), (Grant(Access.EDIT), ""), True),
    ],
)
def test_fi2_whom_an_upload_counts_for(first: tuple[Grant, str], second: tuple[Grant, str], same: bool) -> None:
    people = [person_of(grant, counted(address)) for grant, address in (first, second)]
    assert (people[0] == people[1]) is same


async def test_fi2_a_slow_upload_gives_its_place_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "PACE", Pace(1000, 0.5))
    async with rest(data=tmp_path) as here:
        path = await made_in(here)

        async def steady() -> AsyncIterator[bytes]:
            data, loop = png(filler=b"x" * 20_000), asyncio.get_running_loop()
            began_s = loop.time()
            while data:
                yield data[:2000]
                data = data[2000:]
                await asyncio.sleep(0.06)
            assert loop.time() - began_s > 0.5  # longer than `PACE` allows for the whole

        async with asyncio.timeout(20):
            end = asyncio.Event()
            slow = [
                asyncio.create_task(here("POST", f"{path}/files", 400, content=drip(end))) for _ in range(2 * api.EACH)
            ]
            for answer in await asyncio.gather(*slow):
                assert "send faster" in answer["error"]["message"]
            await here("POST", f"{path}/files", 201, content=steady())


async def test_fi2_none_takes_longer_than_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "WITHIN_S", 0.05)
    monkeypatch.setattr("raffia.api.body.JSON_S", 0.05)
    async with rest(data=tmp_path) as here:
        path = await made_in(here)
        for method, where in (("POST", f"{path}/files"), ("POST", "/documents"), ("PATCH", path)):
            answer = await here(method, where, 400, content=drip(asyncio.Event()))
            assert answer["error"]["reason"] == "malformed"
            assert "within 0.05 s" in answer["error"]["message"]


def scope_of(method: str, path: str) -> dict[str, Any]:
    return {
        "type": "http", "method": method, "path": path, "raw_path": path.encode(), "query_string": b"",
        "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "scheme": "http", "root_path": "",
        "asgi": {"version": "3.0"}, "http_version": "1.1", "server": ("localhost", 8000),
    }  # fmt: skip


async def test_a_body_that_ends_early_is_no_failure_of_ours(tmp_path: Path) -> None:
    async with rest(data=tmp_path) as here:
        path = await made_in(here)
        for method, where in (("POST", f"/api{path}/files"), ("PATCH", f"/api{path}"), ("POST", "/api/documents")):
            said: list[Any] = []
            came = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])

            async def receive(came: Any = came) -> Any:
                return next(came)

            async def send(message: Any, said: list[Any] = said) -> None:
                said.append(message)

            await here.app(scope_of(method, where), receive, send)  # an error that nobody expects would come through
            assert said[0]["status"] == 400


async def test_turns_are_given_back() -> None:
    turns, order = Turns(2, 1), []

    async def take(who: str) -> None:
        async with turns.of(who):
            order.append(who)
            await asyncio.sleep(0)

    task = asyncio.create_task(take("cancelled"))
    await asyncio.sleep(0)
    task.cancel()
    async with asyncio.timeout(5):
        await asyncio.gather(*(take(who) for who in "aabbccaa"))
    assert sorted(order[1:]) == sorted("aabbccaa")
    assert turns._people == {}


async def test_fl3_uploads_at_the_same_time_are_counted(tmp_path: Path) -> None:
    store, document = FolderFiles(tmp_path, 1000), DocumentId("a")
    puts = [store.put(document, name_of(bytes([n]) * 300, "png"), bytes([n]) * 300) for n in range(10)]
    results = await asyncio.gather(*puts, return_exceptions=True)
    assert sum(isinstance(one, TooLargeError) for one in results) == 7
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.png")) == 900


@pytest.mark.parametrize("failing", ["read", "write"])
async def test_a_copy_that_fails_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str) -> None:
    async with rest(data=tmp_path) as here:
        path = await made_in(here)
        await here("POST", f"{path}/files", 201, content=png())

        async def fail(*_: Any, **__: Any) -> Any:
            raise TooLargeError("no")

        monkeypatch.setattr("raffia.rooms.editing." + {"read": "copy_of", "write": "change"}[failing], fail)
        for _ in range(3):
            await here("POST", f"{path}/duplicate", 413)
        assert len(list((tmp_path / "files").iterdir())) == 1


async def test_fl7_who_reads_slowly_takes_no_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raffia.files.store.PART_BYTES", 1000)
    data = png(filler=b"x" * 50_000)
    async with rest(data=tmp_path) as here:
        url = (await here("POST", f"{await made_in(here)}/files", 201, content=data))["url"]
        read: list[int] = []
        real = FolderFiles._part

        async def part(self: FolderFiles, *which: Any) -> bytes | None:
            read.append(which[2])
            return await real(self, *which)

        monkeypatch.setattr(FolderFiles, "_part", part)
        began, go_on, body = asyncio.Event(), asyncio.Event(), bytearray()

        async def send(message: Any) -> None:
            body.extend(message.get("body", b""))
            if body:
                began.set()
                await go_on.wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        reading = asyncio.create_task(here.app(scope_of("GET", url), receive, send))
        await began.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        assert read == [0]
        go_on.set()
        await reading
        assert (bytes(body), len(read)) == (data, -(-len(data) // 1000))
