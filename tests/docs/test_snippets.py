"""The code in README.md runs: Python here, JavaScript in Node with the real clients; what shells get exists."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI

from raffia.auth.hooks import Handshake
from raffia.settings import Settings
from raffia.types import Access, DocumentId
from tests.interop.install import install
from tests.support.client import HocuspocusClient, YClient
from tests.support.lib0 import insert
from tests.support.server import ROOT, RaffiaServer

README = (ROOT / "README.md").read_text()
CLIENTS = {"y-websocket": "y-websocket-3.1.0", "@hocuspocus/provider": "hocuspocus-provider-4.8.0"}


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    with RaffiaServer(tmp_path_factory.mktemp("readme") / "data") as running:
        yield running


async def test_python_snippets_run_in_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAFFIA_DATA", str(tmp_path / "data"))
    names: dict[str, object] = {}
    hook, mount = snippets("python")
    exec(compile(hook, "README.md", "exec"), names)
    authorize: object = names["authorize"]
    assert callable(authorize)
    grant = await authorize(Handshake(), "token-of-ana", DocumentId("a"))
    assert (grant.access, grant.user) == (Access.EDIT, "ana")
    assert await authorize(Handshake(), None, DocumentId("a")) is None
    exec(compile(mount, "README.md", "exec"), names)
    app = names["app"]
    assert isinstance(app, FastAPI)
    async with app.router.lifespan_context(app):
        assert (tmp_path / "data").is_dir()


def test_shell_snippets_are_make_targets_or_flags_of_raffia_serve() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    commands = [line.split("#")[0].split() for snippet in snippets("sh") for line in snippet.splitlines()]
    assert commands
    flags = {f"--{name.replace('_', '-')}" for name in Settings.model_fields}
    for command in commands:
        if command[:2] == ["raffia", "serve"]:
            assert {word for word in command[2:] if word.startswith("--")} <= flags
        else:
            assert command[0] == "make"
            assert set(command[1:]) <= targets


def run_in_node(snippet: str, server: RaffiaServer) -> str:
    """Run a snippet as it stands, but for the port, until it has what we wrote; what it prints."""
    package = next(name for name in CLIENTS if f'"{name}"' in snippet)
    folder = ROOT / "tests/interop/clients" / CLIENTS[package]
    install(folder)
    code = snippet.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")
    program = f"""
import {{ WebSocket }} from "ws";
globalThis.WebSocket = WebSocket;
{code}
const text = doc.getText("t");
const began = Date.now();
while (!text.toString().includes("Hallo 😀")) {{
  if (Date.now() - began > 15000) {{ console.error("nothing came"); process.exit(1); }}
  await new Promise((done) => setTimeout(done, 20));
}}
text.insert(0, "gelesen: ");
while (provider.unsyncedChanges > 0) await new Promise((done) => setTimeout(done, 20));
await new Promise((done) => setTimeout(done, 100));
console.log(JSON.stringify(text.toString()));
process.exit(0);
"""
    done = subprocess.run(
        ["node", "--input-type=module"],
        input=program,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("snippet", snippets("js"), ids=["y-websocket", "hocuspocus"])
async def test_javascript_snippets_run_in_node(server: RaffiaServer, snippet: str) -> None:
    async with YClient() as writer:
        await writer.join(server.ws, "team/notes")
        writer.update(insert(7, 0, "Hallo 😀"))
        await writer.until_stored()
    output = run_in_node(snippet, server)
    assert "gelesen: " in json.loads(output.splitlines()[-1])
    if "unsyncedChanges" in snippet:
        assert "saved" in output.splitlines()
    async with HocuspocusClient("team/notes") as reader:
        await reader.join(server.ws)
        await reader.until(lambda: reader.holds(b"gelesen: "), "what Node wrote")
