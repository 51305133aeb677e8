"""The whole server as a process: routes, doors, starting, stopping, and what it logs."""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from tests.support.client import HocuspocusClient, YClient, fresh_reader
from tests.support.lib0 import insert
from tests.support.ports import free_port
from tests.support.server import RaffiaServer
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

SECRET = "geheim-1234"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    with RaffiaServer(tmp_path_factory.mktemp("app") / "data", env={"RAFFIA_LOG_LEVEL": "debug"}) as running:
        yield running


def serve(*flags: str, cwd: Path, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run `raffia serve` where it is expected to end by itself."""
    command = [str(Path(sys.executable).with_name("raffia")), "serve", *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=cwd, env=env)


async def refused_with(url: str, **options: object) -> int:
    with pytest.raises(InvalidStatus) as caught:
        async with connect(url, **options):  # type: ignore[arg-type]
            pass
    return int(caught.value.response.status_code)


# -- routes


def test_health_and_readiness(server: RaffiaServer) -> None:
    assert httpx.get(f"{server.http}/healthz").json() == {"status": "ok"}
    ready = httpx.get(f"{server.http}/readyz")
    assert (ready.status_code, ready.json()) == (200, {"status": "ready"})
    assert ready.headers["cache-control"] == "no-store"


@pytest.mark.parametrize("path", ["/healthz", "/readyz"])
def test_hl3_monitors_may_ask_for_the_head_only(server: RaffiaServer, path: str) -> None:
    answer = httpx.head(server.http + path)
    assert (answer.status_code, answer.content) == (200, b"")


async def test_metrics_count_what_happens(server: RaffiaServer) -> None:
    before = server.metrics()
    writer = await YClient().join(server.ws, "metered")
    async with writer:
        writer.update(insert(7, 0, "gezählt 😀"))
        await writer.until_stored()
        during = server.metrics()
        assert during["raffia_connections"] == before["raffia_connections"] + 1
        assert during["raffia_rooms"] >= 1
        assert during["raffia_sessions"] == before["raffia_sessions"] + 1
    after = server.metrics()
    for name in ("updates_in_total", "frames_in_total", "frames_out_total", "bytes_in_total", "bytes_out_total"):
        assert after[f"raffia_{name}"] > before[f"raffia_{name}"], name
    assert after["raffia_ack_seconds_count"] > before["raffia_ack_seconds_count"]
    assert after["raffia_journal_append_seconds_count"] > before["raffia_journal_append_seconds_count"]
    assert after["process_resident_memory_bytes"] > 1e6


def test_metrics_behind_a_token_or_gone(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "guarded", env={"RAFFIA_METRICS_TOKEN": SECRET}) as guarded:
        url = f"{guarded.http}/metrics"
        assert httpx.get(url).status_code == 401
        assert httpx.get(url, headers={"authorization": b"Bearer wrong-\xe9"}).status_code == 401
        assert httpx.get(url, headers={"authorization": f"Bearer {SECRET}"}).text.startswith("# HELP raffia_rooms")
        assert SECRET not in guarded.log(1000)
    with RaffiaServer(tmp_path / "closed", env={"RAFFIA_METRICS": "false", "RAFFIA_PAGE": "false"}) as closed:
        assert httpx.get(f"{closed.http}/metrics").status_code == 404
        assert httpx.get(f"{closed.http}/").status_code == 404


def test_the_page_names_no_other_host(server: RaffiaServer) -> None:
    page = httpx.get(server.http)
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    linked = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(linked) >= 3
    for link in linked:
        assert "//" not in link
        assert httpx.get(f"{server.http}{link}").status_code == 200
    assert httpx.get(f"{server.http}/static/app/../../settings.py").status_code == 404


def test_documents_and_boards_have_the_same_page(server: RaffiaServer) -> None:
    home = httpx.get(server.http)
    for path in ("/d/notes", "/b/team%2Fsketch", "/d/team/notes"):
        page = httpx.get(server.http + path)
        assert (page.status_code, page.text, page.headers["cache-control"]) == (200, home.text, "no-cache")


def test_hashed_files_are_kept_for_ever_and_sent_compressed(server: RaffiaServer) -> None:
    script = next(link for link in re.findall(r'src="([^"]+)"', httpx.get(server.http).text) if link.endswith(".js"))
    packed = httpx.get(server.http + script, headers={"accept-encoding": "gzip"})
    plain = httpx.get(server.http + script, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 2
    for answer in (packed, plain):
        assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert answer.headers["vary"] == "accept-encoding"
        assert answer.headers["content-type"].startswith("text/javascript")
    assert httpx.get(f"{server.http}/static/app/icon.svg").headers["cache-control"] == "no-cache"
    assert httpx.get(f"{server.http}/static/app/assets/gone.js").status_code == 404


def test_the_offline_worker_stands_beside_the_pages_and_names_files_that_are_there(server: RaffiaServer) -> None:
    worker = httpx.get(f"{server.http}/sw.js")
    assert (worker.status_code, worker.headers["cache-control"]) == (200, "no-cache")
    assert worker.headers["content-type"].startswith("text/javascript")
    assert worker.headers["content-security-policy"] == "default-src 'none'; connect-src 'self'"
    assert "%" not in "".join(re.findall(r"^const (?:BUILD|ENTRY|FILES).*$", worker.text, re.MULTILINE))
    files = re.findall(r'"(assets/[^"]+)"', worker.text)
    assert len(files) > 5
    for name in files:
        assert httpx.head(f"{server.http}/static/app/{name}").status_code == 200
    entry = re.search(r'const ENTRY = "([^"]+)"', worker.text)
    assert entry is not None
    assert f"/static/app/{entry[1]}" in httpx.get(server.http).text


def test_behind_a_path_the_page_links_to_that_path(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_ROOT_PATH": "/team/raffia"}) as server:
        page = httpx.get(server.http).text
        assert '<html data-root="/team/raffia"' in page
        linked = re.findall(r'(?:src|href)="([^"]+)"', page)
        assert linked
        assert all(link.startswith("/team/raffia/static/app/") for link in linked)


def test_http_on_a_socket_path_says_what_to_do(server: RaffiaServer) -> None:
    for path in ("/sync", "/sync/team/notes"):
        answer = httpx.get(server.http + path)
        assert (answer.status_code, answer.headers["upgrade"]) == (426, "websocket")


# -- sockets


async def test_a_document_survives_a_restart(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "data") as server:
        async with YClient() as writer, HocuspocusClient("team/notes") as other:
            await writer.join(server.ws, "team/notes")
            await other.join(server.ws)
            writer.update(insert(7, 0, "über 😀 "))
            await other.until(lambda: other.holds("über 😀 ".encode()), "the other dialect's update")
            other.update(insert(8, 0, "zurück"))
            await other.until_stored()
            await writer.until_stored()
        server.restart()
        reader = await fresh_reader(server.ws, "team/notes")
        async with reader:
            assert reader.holds("über 😀 ".encode())
            assert reader.holds("zurück".encode())


async def test_handshake_as_browsers_make_it(server: RaffiaServer) -> None:
    async with connect(
        f"{server.ws}/shaken", origin="http://localhost:5173", subprotocols=["raffia", "other"]
    ) as socket:  # type: ignore[list-item]
        assert socket.response is not None
        assert socket.response.status_code == 101
        assert socket.subprotocol == "raffia"  # N2


@pytest.mark.parametrize("path", ["/sync", "/sync/shaken"])
@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"])
async def test_a2_pages_of_other_origins_are_refused_before_the_upgrade(
    server: RaffiaServer, path: str, origin: str
) -> None:
    before = server.metric('raffia_refusals_total{reason="forbidden"}') if "forbidden" in str(server.metrics()) else 0
    assert await refused_with(server.http.replace("http", "ws") + path, origin=origin) == 403
    assert server.metric('raffia_refusals_total{reason="forbidden"}') == before + 1


async def test_a2_a_rebound_name_is_refused(server: RaffiaServer) -> None:
    host = f"rebound.example:{server.port}"
    url = f"ws://{host}/sync/shaken"
    assert await refused_with(url, origin=f"http://{host}", host="127.0.0.1", port=server.port, proxy=None) == 403


@pytest.mark.parametrize("name", ["-x", "a//b", "a/../b", "%00", "*", "é", "x" * 257])
async def test_bad_names_are_refused_before_the_upgrade(server: RaffiaServer, name: str) -> None:
    assert await refused_with(f"{server.ws}/{name}") == 400


async def test_a_text_frame_gets_a_clear_refusal(server: RaffiaServer) -> None:
    async with connect(f"{server.ws}/shaken") as socket:
        await socket.send("hello, é")
        await asyncio.wait_for(socket.wait_closed(), 10)
    assert socket.close_code == 4400
    assert "binary" in (socket.close_reason or "")
    async with await fresh_reader(server.ws, "shaken"):
        pass  # the room is as well as before


async def test_more_connections_than_allowed_are_refused(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_MAX_CONNECTIONS": "1"}) as server:
        async with YClient() as one:
            await one.join(server.ws, "a")
            assert await refused_with(f"{server.ws}/a") == 503
        assert server.metric('raffia_refusals_total{reason="full"}') == 1


# -- starting and stopping


def test_a5_open_mode_on_the_network_does_not_start_unsaid(tmp_path: Path) -> None:
    done = serve("--host", "0.0.0.0", "--port", "0", cwd=tmp_path)
    assert done.returncode == 2
    assert re.fullmatch(r"raffia: .*--open-to-the-network.*\n", done.stderr)
    assert list(tmp_path.iterdir()) == []


async def test_a5_with_the_flag_it_starts_and_warns(tmp_path: Path) -> None:
    env = {"RAFFIA_HOST": "0.0.0.0", "RAFFIA_OPEN_TO_THE_NETWORK": "1"}
    command = [str(Path(sys.executable).with_name("raffia")), "serve", "--port", "{port}", "--data", "{data}"]
    with RaffiaServer(tmp_path / "data", env=env, command=command) as server:
        assert "anyone who can reach this address may edit" in server.log()


def test_cl1_a_folder_in_use_is_said_in_one_line(server: RaffiaServer, tmp_path: Path) -> None:
    done = serve("--port", "0", "--data", str(server.data), cwd=tmp_path)
    assert done.returncode == 2
    said = done.stderr.splitlines()[-1]
    assert said.startswith("raffia: ")
    assert "in use" in said
    assert "Traceback" not in done.stderr
    assert server.ready()


def test_cl1_a_port_in_use_is_said_in_one_line(server: RaffiaServer, tmp_path: Path) -> None:
    done = serve("--port", str(server.port), cwd=tmp_path)
    assert done.returncode == 2
    assert re.search(
        rf"^raffia: cannot listen on 127.0.0.1 port {server.port}: .*RAFFIA_PORT", done.stderr, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "many"], "--port (RAFFIA_PORT)"),
        (["--max-update-bytes", "0"], "--max-update-bytes"),
        (["--authorize", "nowhere:hook"], "cannot load 'nowhere:hook'"),
        (["--authorize", "nowhere"], "module:function"),
        (["--allowed-origins", "app.example"], "RAFFIA_ALLOWED_ORIGINS"),
        (["--tls-key", "key.pem"], "belong together"),
    ],
)
def test_cl1_wrong_settings_are_said_in_one_line(tmp_path: Path, flags: list[str], message: str) -> None:
    done = serve(*flags, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("raffia: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_c6_an_unknown_variable_is_a_warning(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_ROOM_IDEL_S": "3"}) as server:
        warned = [json.loads(line) for line in server.log().splitlines() if "not a setting" in line]
    assert [(line["variable"], line["meant"], line["level"]) for line in warned] == [
        ("RAFFIA_ROOM_IDEL_S", "RAFFIA_ROOM_IDLE_S", "warning")
    ]


async def test_sigterm_closes_with_1012_and_ends_with_0(tmp_path: Path) -> None:
    server = RaffiaServer(tmp_path / "data").start()
    async with YClient() as one, HocuspocusClient("b") as other:
        await one.join(server.ws, "a")
        await other.join(server.ws)
        one.update(insert(7, 0, "zuletzt 😀"))
        assert server.stop() == 0
        assert (await one.until_closed())[0] == 1012
        assert (await other.until_closed())[0] == 1012
    with server:
        reader = await fresh_reader(server.ws, "a")
        async with reader:
            assert reader.holds("zuletzt 😀".encode())


def test_port_0_is_logged(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("raffia")), "serve", "--port", "0", "--data", str(tmp_path / "data")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as process:
        assert process.stderr is not None
        try:
            line = next(line for line in process.stderr if "listening" in line)
            assert httpx.get(f"{json.loads(line)['url']}/healthz").status_code == 200
        finally:
            process.terminate()
        assert process.wait(20) == 0


# -- tokens, proxies, TLS


async def test_lg2_tokens_are_in_no_log_line(server: RaffiaServer) -> None:
    async with YClient() as client:
        await client.open(f"{server.ws}/logged?token={SECRET}")
        client.step1()
        await client.until_synced()
    assert await refused_with(f"{server.ws}/logged?access_token={SECRET}", origin="https://evil.example") == 403
    httpx.get(f"{server.http}/sync/logged", params={"token": SECRET})
    httpx.get(f"{server.http}/healthz", params={"token": SECRET})
    text = server.log_path.read_text()
    assert "/healthz?token=***" in text
    assert "connection refused" in text
    assert SECRET not in text
    for line in text.splitlines():
        json.loads(line)


HOOK = """
from raffia.errors import UnauthenticatedError
from raffia.types import Access, Grant

def authorize(handshake, token, document):
    if token == "broken":
        raise OSError("database away")
    if token not in ("ana", "guest"):
        raise UnauthenticatedError("sign in first")
    if document.startswith("private/") and token != "ana":
        return None
    print("asked", handshake.address, handshake.path, token, document, flush=True)
    return Grant(Access.EDIT if token == "ana" else Access.READ, user=token)
"""


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RaffiaServer]:
    folder = tmp_path_factory.mktemp("hooked")
    (folder / "my_hook.py").write_text(HOOK)
    with RaffiaServer(folder / "data", env={"RAFFIA_AUTHORIZE": "my_hook:authorize"}) as running:  # started in `folder`
        yield running


@pytest.mark.parametrize(
    ("url", "status"),
    [
        ("doc", 401),  # A4
        ("doc?token=wrong", 401),
        ("private/doc?token=guest", 403),
        ("doc?token=broken", 503),  # K3
    ],
)
async def test_n1_the_hooks_answer_is_an_http_status(hooked: RaffiaServer, url: str, status: int) -> None:
    assert await refused_with(f"{hooked.ws}/{url}") == status


async def test_the_hook_decides_in_both_dialects(hooked: RaffiaServer) -> None:
    async with YClient() as ana, HocuspocusClient("private/doc", token="ana") as also, YClient() as bearer:
        await ana.open(f"{hooked.ws}/private/doc?token=ana")
        ana.step1()
        await ana.until_synced()
        await also.join(hooked.ws)
        assert also.scope == "read-write"
        also.update(insert(9, 0, "nur Ana 😀"))
        await also.until_stored()
        await bearer.join(hooked.ws, "private/doc", headers={"Authorization": "Bearer ana"})
        assert bearer.holds("nur Ana 😀".encode())
    async with HocuspocusClient("private/doc", token="guest") as guest:
        await guest.open(hooked.ws)
        guest.authenticate()
        guest.step1()
        await guest.until(lambda: guest.denied, "a denial")
        assert not guest.holds("nur Ana 😀".encode())
    async with HocuspocusClient("doc", token="guest") as reader:
        await reader.join(hooked.ws)
        assert reader.scope == "readonly"


async def test_the_proxys_word_for_the_address_is_taken_from_believed_proxies(hooked: RaffiaServer) -> None:
    async with YClient() as client:
        headers = {"X-Forwarded-For": "203.0.113.9", "Authorization": "Bearer ana"}
        await client.join(hooked.ws, "proxied", headers=headers)
    assert "asked 203.0.113.9 /sync/proxied ana proxied" in hooked.log()


async def test_allowed_origins_may_connect_and_get_cors(tmp_path: Path) -> None:
    origin = "https://app.example"
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_ALLOWED_ORIGINS": origin}) as server:
        async with connect(f"{server.ws}/doc", origin=origin):  # type: ignore[arg-type]
            pass
        answer = httpx.get(f"{server.http}/healthz", headers={"origin": origin})
        assert answer.headers["access-control-allow-origin"] == origin
        other = httpx.get(f"{server.http}/healthz", headers={"origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_below_a_proxys_path(tmp_path: Path) -> None:
    """The proxy takes `/raffia` away; what the app makes of its own path still has it."""
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_ROOT_PATH": "/raffia"}) as server:
        assert httpx.get(server.http).status_code == 200
        assert httpx.get(f"{server.http}/static/app/icon.svg").status_code == 200
        async with await fresh_reader(server.ws, "doc"):
            assert server.metrics()["raffia_sessions"] == 1


def certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    cert = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    cert_path, key_path = folder / "cert.pem", folder / "key.pem"
    cert_path.write_bytes(cert.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_path, key_path


async def test_tls(tmp_path: Path) -> None:
    cert, key = certificate(tmp_path)
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("raffia")),
        "serve",
        "--port",
        str(port),
        "--data",
        str(tmp_path / "data"),
    ]
    trust = ssl.create_default_context(cafile=str(cert))
    with subprocess.Popen(
        [*command, "--tls-certificate", str(cert), "--tls-key", str(key)],
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    ) as process:
        assert process.stderr is not None
        try:
            assert "https://127.0.0.1" in next(line for line in process.stderr if "listening" in line)
            origin = f"https://localhost:{port}"
            async with connect(f"wss://localhost:{port}/sync/doc", ssl=trust, origin=origin) as socket:  # type: ignore[arg-type]
                await socket.send(b"\x00\x00\x01\x00")
                assert isinstance(await socket.recv(), bytes)
        finally:
            process.terminate()
        assert process.wait(20) == 0


# -- under another server


async def test_the_app_works_under_plain_uvicorn(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "uvicorn", "raffia.app:create_app", "--factory", "--port", "{port}"]
    with RaffiaServer(tmp_path / "data", env={"RAFFIA_DATA": str(tmp_path / "data")}, command=command) as server:
        async with YClient() as writer:
            await writer.open(f"{server.ws}/plain?token={SECRET}")
            writer.step1()
            await writer.until_synced()
            writer.update(insert(7, 0, "auch so 😀"))
            await writer.until_stored()
            reader = await fresh_reader(server.ws, "plain")
            async with reader:
                assert reader.holds("auch so 😀".encode())
        assert await refused_with(f"{server.ws}/plain", origin="https://evil.example") == 403
        assert "token=***" in server.log()
        assert SECRET not in server.log()
