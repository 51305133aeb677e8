"""Raffia inside other apps: the examples under a real server, and the rules of embed.py."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from tests.support.client import HocuspocusClient, YClient
from tests.support.lib0 import insert
from tests.support.server import ROOT, RaffiaServer
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from raffia.app import create_app
from raffia.embed import Raffia
from raffia.errors import DataFolderInUseError, DrainingError, JournalUnavailableError, SettingsError
from raffia.journal.testing.memory import MemoryJournal
from raffia.settings import Settings
from raffia.types import Access, Grant

WORDS = "gemeinsam 😀"


class Example(RaffiaServer):
    """An example app under uvicorn, with our protocol or uvicorn's own."""

    def __init__(self, data: Path, module: str, *, ws: str, ready: str) -> None:
        command = [sys.executable, "-m", "uvicorn", "--app-dir", str(ROOT / "examples"), f"{module}:app"]
        super().__init__(data, command=[*command, "--port", "{port}", "--ws", ws], env={"RAFFIA_DATA": str(data)})
        self._ready = ready

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/collab/sync"

    def ready(self) -> bool:
        try:
            return httpx.get(self.http + self._ready).status_code == 200
        except httpx.HTTPError:
            return False


@pytest.fixture(params=["raffia.sockets.server.protocol:RaffiaWebSocketProtocol", "websockets-sansio"])
def ws(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fastapi_example(tmp_path: Path, ws: str) -> Iterator[RaffiaServer]:
    with Example(tmp_path / "data", "fastapi_app", ws=ws, ready="/") as server:
        yield server


@pytest.fixture
def starlette_example(tmp_path: Path, ws: str) -> Iterator[RaffiaServer]:
    with Example(tmp_path / "data", "starlette_app", ws=ws, ready="/ready") as server:
        yield server


async def test_the_fastapi_example(fastapi_example: RaffiaServer) -> None:
    server, document = fastapi_example, "notes-of-ana/today"
    async with YClient() as ana, HocuspocusClient(document, token="token-of-ana") as also:
        await ana.join(server.ws, document, headers={"Authorization": "Bearer token-of-ana"})
        await also.join(server.ws)
        ana.update(insert(7, 0, WORDS))
        await ana.until_stored()
        await also.until(lambda: also.holds(WORDS.encode()), "Ana's words")
        assert httpx.get(server.http).json() == {"open documents": 1}
        async with HocuspocusClient(document, token="token-of-josé") as other:
            await other.open(server.ws)
            other.authenticate()
            await other.until(lambda: other.denied, "a denial")
    for token, status in (("nobody", 401), ("token-of-jos%C3%A9", 403)):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{server.ws}/{document}?token={token}"):
                pass
        assert caught.value.response.status_code == status
    assert "token=nobody" not in server.log()
    server.restart()
    async with YClient() as again:
        await again.open(f"{server.ws}/{document}?token=token-of-ana")
        again.step1()
        await again.until_synced()
        assert again.holds(WORDS.encode())


async def test_the_starlette_example(starlette_example: RaffiaServer) -> None:
    server = starlette_example
    host = f"127.0.0.1:{server.port}"
    async with YClient() as person:
        await person.join(server.ws, "plan", headers={"Cookie": "session=s3cr3t", "Origin": f"http://{host}"})
        person.update(insert(7, 0, WORDS))
        await person.until_stored()
    for headers, status in (
        ({"Cookie": "session=s3cr3t", "Origin": "https://evil.example"}, 403),  # A1
        ({"Cookie": "session=s3cr3t"}, 401),  # A4
        ({"Cookie": "session=wrong", "Origin": f"http://{host}"}, 403),
    ):
        with pytest.raises(InvalidStatus) as caught:
            async with connect(f"{server.ws}/plan", additional_headers=headers):
                pass
        assert caught.value.response.status_code == status


def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path / "data")


async def everybody(*_: object) -> Grant:
    return Grant(Access.EDIT)


async def test_b1_one_lifecycle(tmp_path: Path) -> None:
    raffia = Raffia(authorize=everybody, settings=settings(tmp_path))
    with pytest.raises(DrainingError):
        _ = raffia.hub
    assert raffia.unready_reason() == "starting or stopped"
    async with raffia:
        assert raffia.unready_reason() is None
        with pytest.raises(SettingsError, match="already running"):
            await raffia.__aenter__()
        with pytest.raises(DataFolderInUseError):
            await Raffia(authorize=everybody, settings=settings(tmp_path)).__aenter__()
        await raffia.drain()
        assert raffia.unready_reason() == "stopping"
    assert raffia.unready_reason() == "starting or stopped"
    async with raffia:  # and again: the folder was given back
        assert raffia.unready_reason() is None


async def refused_by(raffia: Raffia, **without: None) -> list[dict[str, Any]]:
    """Open a connection that is refused; returns what was sent. Keys of the scope that are named are left out."""
    sent: list[dict[str, Any]] = []

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    scope = {
        "type": "websocket", "path": "/sync/doc", "root_path": "", "query_string": b"token=x", "scheme": "ws",
        "headers": [(b"host", b"a.example")], "subprotocols": [], "client": ("127.0.0.1", 1),
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    await raffia({key: value for key, value in scope.items() if key not in without}, receive, send)  # type: ignore[arg-type]
    return sent


async def test_b1_outside_of_the_lifespan_connections_are_refused(tmp_path: Path) -> None:
    raffia = Raffia(authorize=everybody, settings=settings(tmp_path))
    assert (await refused_by(raffia))[0]["status"] == 503
    assert raffia.metrics.refusals == {"draining": 1}
    assert raffia.metrics.connections == 0


async def test_b4_a_raffia_that_was_never_started_says_so_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    raffia = Raffia(authorize=everybody, settings=settings(tmp_path))
    for _ in range(3):
        assert (await refused_by(raffia))[0]["status"] == 503
    said = [record for record in caplog.records if "never started" in record.getMessage()]
    assert [record.levelname for record in said] == ["ERROR"]
    assert "raffia.lifespan" in said[0].getMessage()
    async with raffia:
        pass
    caplog.clear()
    await refused_by(raffia)
    assert not [record for record in caplog.records if "never started" in record.getMessage()]


async def test_b4_unknown_variables_are_a_warning_when_embedded_too(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAFFIA_ALOWED_ORIGINS", "*")
    raffia = Raffia(authorize=everybody, settings=settings(tmp_path))
    for _ in range(2):
        async with raffia:
            pass
    said = [record for record in caplog.records if "not a setting" in record.getMessage()]
    assert [vars(record)["meant"] for record in said] == ["RAFFIA_ALLOWED_ORIGINS"]


async def test_a_scope_without_scheme_is_served(tmp_path: Path) -> None:
    """`scheme` is optional in ASGI; Daphne leaves it out."""
    raffia = Raffia(authorize=lambda *_: None, settings=settings(tmp_path))
    async with raffia:
        assert (await refused_by(raffia, scheme=None))[0]["status"] == 403


async def test_b2_raffia_installs_nothing(tmp_path: Path) -> None:
    handlers = [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)]
    root = list(logging.getLogger().handlers)
    async with Raffia(authorize=everybody, settings=settings(tmp_path)):
        assert [signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)] == handlers
        assert logging.getLogger().handlers == root
    assert logging.getLogger("uvicorn.access").filters == []


async def test_b3_open_mode_has_to_be_said_and_follows_the_host(tmp_path: Path) -> None:
    with pytest.raises(TypeError):
        Raffia()  # type: ignore[call-arg]
    assert Raffia(authorize=None, settings=settings(tmp_path)).is_open
    with pytest.raises(SettingsError, match="open-to-the-network"):
        Raffia(authorize=None, settings=Settings(host="0.0.0.0"))


async def test_a_journal_of_ones_own_and_a_plain_lifespan(tmp_path: Path) -> None:
    raffia = Raffia(authorize=everybody, settings=settings(tmp_path), journal=MemoryJournal())
    app = FastAPI(lifespan=raffia.lifespan)
    app.mount("/collab", raffia)
    async with app.router.lifespan_context(app):
        assert raffia.unready_reason() is None
        assert raffia.read_metrics().journal_queue == 0
    assert not (tmp_path / "data").exists()


async def test_an_app_that_fails_inside_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        async with Raffia(authorize=everybody, settings=settings(tmp_path)):
            1 / 0  # noqa: B018 - the host's mistake
    assert [task for task in asyncio.all_tasks() if task is not asyncio.current_task()] == []
    async with Raffia(authorize=everybody, settings=settings(tmp_path)):
        pass


class FailingJournal(MemoryJournal):
    """One that says it is away while `away` is set."""

    away = False

    async def healthy(self) -> None:
        if self.away:
            raise JournalUnavailableError("no space left on device")


async def test_hl2_readyz_follows_the_journal(tmp_path: Path) -> None:
    journal = FailingJournal()
    app = create_app(Settings(data=tmp_path, ready_grace_s=0.2), journal=journal, authorize=everybody)

    async def until(status: int) -> str:
        deadline_s = asyncio.get_running_loop().time() + 15
        while (answer := await client.get("/readyz")).status_code != status:
            assert asyncio.get_running_loop().time() < deadline_s, answer.text
            await asyncio.sleep(0.02)
        return answer.text

    transport = httpx.ASGITransport(app)
    async with app.router.lifespan_context(app), httpx.AsyncClient(transport=transport, base_url="http://a") as client:
        await until(200)
        journal.away = True
        assert "the journal has been away for" in await until(503)
        assert (await client.get("/healthz")).status_code == 200
        journal.away = False
        await until(200)
        await app.state.raffia.drain()
        assert "stopping" in await until(503)
