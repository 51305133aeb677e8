"""What docs/security.md shows is run, and what its tables say is compared with the code."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest

from raffia.auth.claims import KEPT, LEVELS, ClaimRules, is_pattern, read_claims
from raffia.types import Access, DocumentId
from tests.docs.test_docs import table
from tests.interop.install import install
from tests.support.client import HocuspocusClient, fresh_reader
from tests.support.lib0 import insert
from tests.support.server import ROOT, RaffiaServer
from tests.support.tokens import SECRET, token

TEXT = (ROOT / "docs/security.md").read_text()
SEEN_S = 40


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("security")
    (folder / "secret").write_text(SECRET)
    env = {"RAFFIA_AUTH_KEY_FILE": str(folder / "secret"), "RAFFIA_AUTH_LEEWAY_S": "0", "RAFFIA_LOG_LEVEL": "debug"}
    with RaffiaServer(folder / "data", env=env) as running:
        yield running


def test_the_shell_snippet_makes_a_token(tmp_path: Path) -> None:
    commands = snippets("sh")[0]
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", "-euc", commands], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        env={"PATH": path, "LC_ALL": "C.UTF-8"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    secret = (tmp_path / "raffia.key").read_text().strip()
    claims = jwt.decode(done.stdout.strip(), secret, algorithms=["HS256"])
    assert (claims["sub"], claims["raffia"]) == ("zoë", {"team/*": "edit"})


async def test_the_shell_snippets_revoke(server: RaffiaServer) -> None:
    async with HocuspocusClient("team/plan", token=token(raffia={"*": "edit"})) as editor:
        await editor.join(server.ws)
        editor.update(insert(7, 0, "the document whose links are revoked"))
        await editor.until_stored()
    _, revoke, post = snippets("sh")
    env = {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin", "LC_ALL": "C.UTF-8", "RAFFIA_PORT": str(server.port),
        "RAFFIA_AUTH_KEY_FILE": server.env["RAFFIA_AUTH_KEY_FILE"], "TOKEN": token(raffia={"*": "admin"}, sub="chef"),
    }  # fmt: skip
    for commands in (revoke, post.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}")):
        done = subprocess.run(
            ["sh", "-euc", commands], capture_output=True, text=True, env=env, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout == '{"kind":"user","subject":"zoë","ended":0}'


async def test_the_python_snippet_makes_tokens_that_are_taken(server: RaffiaServer) -> None:
    (code,) = snippets("python")
    names: dict[str, object] = {}
    exec(compile(code, "security.md", "exec"), names)
    made = names["token_for"]("zoë😀", SECRET)  # type: ignore[operator]
    async with HocuspocusClient("team/x", token=made) as editor, HocuspocusClient("team/plan", token=made) as reader:
        await editor.join(server.ws)
        await reader.join(server.ws)
        assert (editor.scope, reader.scope) == ("read-write", "readonly")


def run_in_node(client: str, server: RaffiaServer, tokens: list[str], then: str, document: str = "team/notes") -> str:
    """Run the snippet for a client as it stands, but for the port, and then more; what it prints last."""
    package = "@hocuspocus/provider" if client.startswith("hocuspocus") else "y-websocket"
    snippet = next(code for code in snippets("js") if f'"{package}"' in code)
    folder = ROOT / "tests/interop/clients" / client
    install(folder)
    snippet = snippet.replace("127.0.0.1:8000", f"127.0.0.1:{server.port}").replace("team/notes", document)
    imports, code = re.match(r"((?:import [^\n]*\n)*)(.*)", snippet, re.DOTALL).groups()  # type: ignore[union-attr]
    program = f"""
import {{ WebSocket }} from "ws";
{imports}
globalThis.WebSocket = WebSocket;
const tokens = {json.dumps(tokens)};
let given = 0;
async function freshToken() {{ return tokens[Math.min(given++, tokens.length - 1)]; }}
{code}
const text = doc.getText("t");
async function until(what, condition) {{
  const began = Date.now();
  while (!condition()) {{
    if (Date.now() - began > {SEEN_S * 1000}) {{ console.error("not seen: " + what); process.exit(1); }}
    await new Promise((done) => setTimeout(done, 20));
  }}
}}
{then}
console.log(JSON.stringify({{ given, text: text.toString() }}));
process.exit(0);
"""
    done = subprocess.run(
        ["node", "--input-type=module"], input=program, capture_output=True, text=True, cwd=folder, timeout=90,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


async def test_y_websocket_signs_in_by_subprotocol_and_renews(server: RaffiaServer) -> None:
    output = run_in_node(
        "y-websocket-3.1.0",
        server,
        [token(lifetime_s=600), token(lifetime_s=700)],
        """
        await until("synced", () => provider.synced);
        text.insert(0, "Hallo 😀");
        await renew();
        await until("disconnected", () => !provider.wsconnected);
        await until("synced again", () => provider.synced);
        text.insert(0, "erneut: ");
        await new Promise((done) => provider.ws.addEventListener("message", done));
        """,
    )
    assert json.loads(output) == {"given": 2, "text": "erneut: Hallo 😀"}
    async with await fresh_reader(server.ws, f"team/notes?token={token()}") as reader:
        assert reader.holds("Hallo 😀".encode())
    assert "raffia.token." not in server.log_path.read_text()


@pytest.mark.parametrize("client", ["hocuspocus-provider-3.4.4", "hocuspocus-provider-4.8.0"])
async def test_a_hocuspocus_provider_renews_by_itself(server: RaffiaServer, client: str) -> None:
    output = run_in_node(
        client,
        server,
        [token(raffia={"team/notes": "edit"}, lifetime_s=15), token(raffia={"team/notes": "edit"}, lifetime_s=600)],
        f"""
        await until("synced", () => provider.isSynced);
        await until("the question for a fresh token", () => given > 1);
        await until("the end of the first token", () => Date.now() > {(time.time() + 17) * 1000});
        text.insert(0, "länger: ");
        await until("saved", () => provider.unsyncedChanges === 0);
        """,
    )
    assert json.loads(output)["given"] == 2
    async with HocuspocusClient("team/notes", token=token()) as reader:
        await reader.join(server.ws)
        await reader.until(lambda: reader.holds("länger: ".encode()), "what came after the first token's end")
        reader.update(insert(91, 0, "x"))
        await reader.until_stored()


@pytest.mark.parametrize(
    "client", ["hocuspocus-provider-2.15.3", "hocuspocus-provider-3.4.4", "hocuspocus-provider-4.8.0"]
)
async def test_a_hocuspocus_provider_signs_in_again(server: RaffiaServer, client: str) -> None:
    old, document = token(lifetime_s=14), f"team/again-{client[-5:]}"
    again = "provider.connect()" if "-2." in client else "await signInAgain()"
    async with HocuspocusClient(document, token=token()) as other:
        await other.join(server.ws)
        output = run_in_node(
            client,
            server,
            [old] * (1 if "-2." in client else 2) + [token(lifetime_s=600)],
            f"""
            let failures = 0;
            provider.on("authenticationFailed", () => {{ failures += 1; }});
            await until("synced", () => provider.isSynced || provider.synced);
            text.insert(0, "vorher ");
            await until("saved", () => !provider.hasUnsyncedChanges);
            await until("the end", () => failures > 0);
            text.insert(0, "dazwischen ");
            {again};
            text.insert(0, "nachher ");
            await until("all saved", () => provider.isAuthenticated && !provider.hasUnsyncedChanges);
            """,
            document,
        )
        assert json.loads(output)["text"] == "nachher dazwischen vorher "
        for words in ("vorher ", "dazwischen ", "nachher "):
            await other.until(lambda words=words: other.holds(words.encode()), words)  # type: ignore[misc]


def test_levels_claims_and_patterns_are_those_of_the_code() -> None:
    (said,) = re.findall(r"^Levels: (.*)$", TEXT, re.MULTILINE)
    assert [level for level in re.findall(r"`(\w+)`", said) if level in LEVELS][:2] == ["none", "read"]
    assert set(re.findall(r"`(\w+)`", said)) == set(LEVELS)
    names = {name for row in table(TEXT, "Claims") for name in re.findall(r"`([\w]+)`", row[0])}
    assert names >= {"exp", "raffia", "sub", "nbf", "iat", "aud", "iss", *KEPT}
    patterns = re.findall(r"^\| `([^`]+)` \| (?:that|every)", TEXT, re.MULTILINE)
    assert len(patterns) == 3
    assert all(is_pattern(pattern) for pattern in patterns)
    claims = {"exp": 2_000_000_000, "raffia": {"team/*": "edit", "team/plan": "read"}}
    read = read_claims(json.dumps(claims).encode(), ClaimRules(), 1_900_000_000)
    opened = {name: read.access(DocumentId(name)) for name in ("team/a/b", "team", "teams/x", "team/plan")}
    assert opened == {"team/a/b": Access.EDIT, "team": None, "teams/x": None, "team/plan": Access.READ}
