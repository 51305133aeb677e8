"""REST on replicas around Redis: what one answers the other knows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

from tests.integration.api.test_rest import Api, at, content, fragment
from tests.support.client import HocuspocusClient, YClient
from tests.support.images import png
from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer
from tests.support.tokens import token

Replicas = tuple[RaffiaServer, RaffiaServer]


async def until(condition: Callable[[], bool], deadline_s: float = 10.0) -> float:
    """Poll with a deadline; returns how long it took."""
    begin_s = time.monotonic()
    while not condition():
        assert time.monotonic() - begin_s < deadline_s
        await asyncio.sleep(0.05)
    return time.monotonic() - begin_s


async def test_made_here_renamed_there_listed_everywhere(replicas: Replicas) -> None:
    owner = token(raffia={"team/*": "admin"}, sub="zoë")
    one, two = Api(replicas[0], owner), Api(replicas[1], owner)
    document = one.make(kind="board", template="kanban", title="früher")["id"]
    assert two("GET", at(document), 200)["updated_by"] == "zoë"
    async with YClient() as client:
        await client.join(replicas[0].ws, f"{document}?token={owner}")
        assert two("PATCH", at(document), 200, json={"title": "später 🦊"})["title"] == "später 🦊"
        await client.until(lambda: client.holds("später 🦊".encode()), "the title from the other replica")
    assert one("GET", at(document), 200)["title"] == "später 🦊"
    assert one.ids(search="SPÄTER") == two.ids(search="SPÄTER") == [document]
    newer = two.make(title="neuer")["id"]
    await until(lambda: one.ids()[:2] == [newer, document])
    copied = two("POST", at(document, "/duplicate"), 201)
    assert copied["title"] == "später 🦊 (copy)"
    assert (await content(replicas[0], copied["id"], owner))["elements"]


async def test_mi8_a_title_that_went_there_and_back_is_listed(replicas: Replicas) -> None:
    owner = token(raffia={"team/*": "admin"}, sub="zoë")
    one, two = Api(replicas[0], owner), Api(replicas[1], owner)
    document = one.make(kind="board", title="alt 🦊")["id"]
    async with YClient() as client:
        await client.join(replicas[0].ws, f"{document}?token={owner}")  # the room stays open here
        two("PATCH", at(document), 200, json={"title": "neu é"})
        await client.until(lambda: client.holds("neu é".encode()), "the title from the other replica")
        assert one("PATCH", at(document), 200, json={"title": "alt 🦊"})["title"] == "alt 🦊"
        assert two("GET", at(document), 200)["title"] == "alt 🦊"


async def test_deleted_here_ends_sessions_there(replicas: Replicas) -> None:
    owner = token(raffia={"team/*": "admin"}, sub="zoë")
    one, two = Api(replicas[0], owner), Api(replicas[1], owner)
    document = one.make(title="weg")["id"]
    async with YClient() as client:
        await client.join(replicas[1].ws, f"{document}?token={owner}")
        one("DELETE", at(document), 204)
        assert (await client.until_closed())[0] == 4404
    assert two("PATCH", at(document), 403, json={"title": "x"}) == "deleted"
    assert document not in two.ids()
    assert two.ids(deleted=True) == [document]
    assert two("POST", at(document, "/restore"), 200)["title"] == "weg"
    assert document in one.ids()


async def test_links_reset_here_end_there_within_five_seconds(replicas: Replicas) -> None:
    owner = token(raffia={"team/*": "edit"}, sub="zoë")
    one, two = Api(replicas[0], owner), Api(replicas[1], owner)
    document = one.make(title="geteilt")["id"]
    link = one("POST", at(document, "/links"), 201, json={"can": "edit"})
    # The same link from the other replica, but for its host.
    assert fragment(two("POST", at(document, "/links"), 201, json={"can": "edit"})) == fragment(link)
    holder = Api(replicas[1], fragment(link))
    async with HocuspocusClient(document, token=fragment(link)) as client:
        await client.join(replicas[1].ws)
        begin_s = time.monotonic()
        one("DELETE", at(document, "/links"), 204)
        await client.until(lambda: bool(client.denied), "the end of the session")
        await until(lambda: holder.ask("GET", at(document)).status_code == 401)
        assert time.monotonic() - begin_s < 5
    assert two("GET", at(document, "/links"), 200) == []
    again = two("POST", at(document, "/links"), 201, json={"can": "edit"})
    assert Api(replicas[0], fragment(again))("GET", at(document), 200)["can"] == "edit"


def test_files_are_shared(replicas: Replicas) -> None:
    owner = token(raffia={"team/*": "admin"}, sub="zoë")
    one, two = Api(replicas[0], owner), Api(replicas[1], owner)
    assert one("GET", "/config", 200)["uploads"] is True
    document = one.make()["id"]
    made = one("POST", at(document, "/files"), 201, content=png())
    assert two.ask("GET", made["url"].removeprefix("/api")).content == png()


def test_without_a_shared_place_uploads_say_what_to_set(redis: RedisServer, tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "alone", env={"RAFFIA_REDIS": redis.url, "RAFFIA_REDIS_PREFIX": "alone"}) as server:
        api = Api(server)
        assert api("GET", "/config", 200)["uploads"] is False
        document = api.make()["id"]
        answer = api.ask("POST", at(document, "/files"), content=png())
        assert (answer.status_code, answer.json()["error"]["reason"]) == (503, "not-configured")
        assert "RAFFIA_FILES" in answer.json()["error"]["message"]
        assert api("POST", at(document, "/duplicate"), 201)["title"] == "(copy)"
