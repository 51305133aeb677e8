"""One real Redis: replies, deadlines, lanes, scripts (E1-E3, RX1-RX5, RE1, RE2)."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from redis.exceptions import ResponseError
from tests.support.certificates import Authority
from tests.support.hearing import until
from tests.support.redis import RedisServer
from tests.support.server import free_port

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.client import Engine, open_engine
from raffia.journal.redis.engine import Command, Lane, Reply
from raffia.journal.redis.replies import error_of
from raffia.journal.redis.scripts import Script, make_script

TIMEOUT_S = 0.4
ADD = make_script("add", "return redis.call('INCRBY', KEYS[1], ARGV[1])")
PUSH = make_script("push", "return redis.call('RPUSH', KEYS[1], ARGV[1])")


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder = tmp_path_factory.mktemp("redis")
    with RedisServer(folder, appendonly="yes", appendfsync="always", unixsocket=str(folder / "s")) as server:
        yield server


@pytest.fixture
def server(shared: RedisServer) -> Iterator[RedisServer]:
    yield shared
    if not shared.running:
        shared.start()
    shared.resume()
    shared.command("FLUSHALL")
    shared.command("SCRIPT", "FLUSH")


@pytest.fixture
async def engine(server: RedisServer) -> AsyncIterator[Engine]:
    engine: Engine = open_engine(server.url, timeout_s=TIMEOUT_S)
    async with engine:
        yield engine


def run(*args: str | bytes | int) -> Command:
    return Command("k", args)


def unavailable(replies: list[Reply], count: int) -> bool:
    return len(replies) == count and all(isinstance(reply, JournalUnavailableError) for reply in replies)


def clients(server: RedisServer) -> list[str]:
    return [line for line in server.command("CLIENT", "LIST").decode().splitlines() if "name=raffia" in line]


async def script(engine: Engine, what: Script, args: list[int]) -> Reply:
    (reply,) = await engine.run_scripts([(what, ["k"], args)])
    return reply


# -- E1


async def test_e1_each_command_gets_its_reply_or_its_error(engine: Engine) -> None:
    replies = await engine.run(
        [run("SET", "k", b"\x00\xc3\xa9"), run("GET", "k"), run("INCR", "k"), run("GET", "none"), run("NOSUCH", "k")]
    )
    assert replies[:2] == [b"OK", b"\x00\xc3\xa9"]
    assert isinstance(replies[2], ResponseError)
    assert str(replies[2]).startswith("ERR value is not an integer")
    assert replies[3] is None
    assert str(replies[4]).startswith("ERR unknown command")
    assert await engine.run([]) == []


async def test_e1_a_redis_that_is_away_is_an_error_in_every_place(server: RedisServer, engine: Engine) -> None:
    assert await engine.run([run("PING")]) == [b"PONG"]
    server.kill()
    assert unavailable(await engine.run([run("PING"), run("PING")]), 2)
    [error] = await engine.run([run("PING")], lane=Lane.APPEND)
    assert server.place in str(error)
    assert "Connection refused" in str(error) or "Connect call failed" in str(error)
    reply = await script(engine, ADD, [1])
    assert isinstance(reply, JournalUnavailableError)
    server.start()
    assert await engine.run([run("PING")]) == [b"PONG"]


async def test_e1_nothing_is_sent_twice_when_redis_is_killed(server: RedisServer, engine: Engine) -> None:
    """`appendfsync always`: every INCR is in the log or was not executed; each was sent once at most."""
    sent = 0

    async def append() -> None:
        nonlocal sent
        while sent < 100_000:
            sent += 50
            if unavailable((await engine.run([run("INCR", "k")] * 50, lane=Lane.APPEND))[-1:], 1):
                return

    task = asyncio.create_task(append())
    await until(lambda: sent > 1000, "some were sent")
    server.kill()
    await task
    server.start()
    [value] = await engine.run([run("GET", "k")])
    assert isinstance(value, bytes)
    assert sent - 100 <= int(value) <= sent


async def test_re2_what_redis_does_not_take_now_is_unavailable(server: RedisServer, engine: Engine) -> None:
    server.command("CONFIG", "SET", "maxmemory", 1)
    try:
        [error] = await engine.run([run("SET", "k", "1")])
        script_error = await script(engine, ADD, [1])
    finally:
        server.command("CONFIG", "SET", "maxmemory", 0)
    for refused in (error, script_error):
        assert isinstance(refused, ResponseError)
        assert isinstance(error_of(refused), JournalUnavailableError)
        assert "OOM" in str(refused)
    with RedisServer(replicaof=f"127.0.0.1 {server.port}") as replica:
        async with open_engine(replica.url, timeout_s=TIMEOUT_S) as other:
            assert "READONLY" in str((await other.run([run("SET", "k", "1")]))[0])
            refused = await script(other, ADD, [1])
            assert isinstance(refused, ResponseError)
            assert isinstance(error_of(refused), JournalUnavailableError)
    assert server.command("GET", "k") is None


async def test_re2_a_script_s_own_error_keeps_its_code(engine: Engine) -> None:
    refuse = make_script("refuse", "return redis.error_reply('BEHIND the log is shorter')")
    error = await script(engine, refuse, [])
    assert isinstance(error, ResponseError)
    assert str(error) == "BEHIND the log is shorter"


# -- E2


async def test_e2_commands_are_executed_in_their_order(engine: Engine) -> None:
    replies = await engine.run([run("INCR", "k") for _ in range(2000)])
    assert replies == list(range(1, 2001))
    assert await engine.run_scripts([(ADD, ["k"], [1])] * 500, lane=Lane.APPEND) == list(range(2001, 2501))


# -- E3


@pytest.mark.parametrize("lane", Lane)
async def test_e3_a_late_reply_closes_the_connection(server: RedisServer, engine: Engine, lane: Lane) -> None:
    assert await engine.run([run("SET", "k", "late")], lane=lane) == [b"OK"]
    [before] = clients(server)
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    server.pause()
    assert unavailable(await engine.run([run("GET", "k"), run("GET", "k")], lane=lane), 2)
    assert loop.time() - began_s < TIMEOUT_S + 0.2
    assert unavailable(await engine.run([run("GET", "k")], lane=lane), 1)  # connects, but is not greeted
    server.resume()
    assert await engine.run([run("ECHO", "mine")], lane=lane) == [b"mine"]
    [after] = clients(server)
    assert after.split(" ")[0] != before.split(" ")[0]


async def test_e3_a_call_that_is_cancelled_closes_its_connection(server: RedisServer, engine: Engine) -> None:
    task = asyncio.create_task(engine.run([run("BLPOP", "k", 0)], lane=Lane.APPEND))
    await until(lambda: "blocked_clients:1" in server.command("INFO", "clients").decode(), "it blocks")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await engine.run([run("ECHO", "mine")], lane=Lane.APPEND) == [b"mine"]
    assert server.command("RPUSH", "k", "x") == 1
    assert server.command("LLEN", "k") == 1  # the call that went away takes nothing


async def test_rx4_what_was_not_sent_does_not_stay(server: RedisServer, engine: Engine) -> None:
    """Neither in memory, when a large append is tried again and again, nor until Redis goes on."""
    assert await engine.run([run("PING")], lane=Lane.APPEND) == [b"PONG"]
    server.pause()
    (pool,) = engine._pools.values()
    appending = asyncio.create_task(engine.run([run("APPEND", "k", b"x" * 30_000_000)], lane=Lane.APPEND))
    await until(lambda: pool._in_use_connections, "it is sent")
    [connection] = pool._in_use_connections
    transport = connection._writer.transport
    assert transport.get_write_buffer_size() > 10_000_000
    assert unavailable(await appending, 1)
    await until(lambda: transport.get_write_buffer_size() == 0, "what was not sent is gone")
    for _ in range(2):
        assert unavailable(await engine.run([run("APPEND", "k", b"x" * 30_000_000)], lane=Lane.APPEND), 1)
    server.resume()
    assert await engine.run([run("STRLEN", "k")]) == [0]


async def answer_and_close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, after: bytes) -> None:
    data = b""
    while b"SETNAME" not in data:
        data += await reader.read(1000)
    writer.write(b"+OK\r\n")
    await reader.read(1000)
    writer.write(after)
    await writer.drain()
    writer.close()


@pytest.mark.parametrize(
    ("sent", "told"),
    [(b":1\r\n:2\r\n$5\r\nhal", "Connection closed"), (b":1\r\n:2\r\nHTTP/1.1 400\r\n", "Protocol error")],
)
async def test_rx2_what_was_answered_before_the_end_keeps_its_reply(sent: bytes, told: str) -> None:
    server = await asyncio.start_server(lambda r, w: answer_and_close(r, w, sent), "127.0.0.1", 0)
    async with server, open_engine(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as engine:
        one, two, *rest = await engine.run([run("INCR", "k")] * 4)
        assert (one, two) == (1, 2)
        assert unavailable(rest, 2)
        assert told in str(rest[0])


async def test_rx1_replies_nobody_asked_for_close_the_connection() -> None:
    server = await asyncio.start_server(lambda r, w: answer_and_close(r, w, b":1\r\n:2\r\n"), "127.0.0.1", 0)
    async with server, open_engine(f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}") as engine:
        [reply] = await engine.run([run("INCR", "k")])
        assert reply == 1
        assert (await engine.run([run("INCR", "k")])) == [1]  # a new connection: not the 2


# -- RH1, RH2


async def test_rh2_passwords(shared: RedisServer) -> None:
    with RedisServer(requirepass="p@ss/é") as server:
        async with open_engine(f"redis://:p%40ss%2F%C3%A9@{server.place}") as right:
            assert await right.run([run("PING")]) == [b"PONG"]
        server.command("ACL", "SETUSER", "ann", "on", ">hers", "~*", "+@all", "-config", "-client")
        async with open_engine(f"redis://ann:hers@{server.place}/1") as ann:
            assert await ann.run([run("SET", "k", "v")]) == [b"OK"]
            assert len(await ann.warnings()) == 1  # no append-only file: then it does not matter how it is written
        assert server.commands([("SELECT", 1), ("GET", "k")])[-1] == b"v"
        for url, says in {
            f"redis://:wrong-one@{server.place}": "WRONGPASS",
            f"redis://{server.place}": "NOAUTH",
            f"redis://ann:hers@{server.place}/999": "DB index is out of range",
        }.items():
            async with open_engine(url) as engine:
                [error] = await engine.run([run("PING")])
                assert isinstance(error, JournalUnavailableError)
                assert says in str(error)
                assert "wrong-one" not in str(error)


async def test_why_a_server_takes_no_connection_is_said() -> None:
    with RedisServer(maxclients=1) as server:
        async with open_engine(server.url) as one, open_engine(server.url) as other:
            assert await one.run([run("PING")]) == [b"PONG"]
            [error] = await other.run([run("PING")])
            assert isinstance(error, JournalUnavailableError)
            assert "max number of clients reached" in str(error)


async def test_re4_a_single_server_that_is_slow_has_all_the_time(server: RedisServer, engine: Engine) -> None:
    """Also after it did not answer once: the short deadline is for nodes beside which there are others."""
    server.pause()
    assert unavailable(await engine.run([run("PING")]), 1)
    asking = asyncio.create_task(engine.run([run("PING")]))
    await asyncio.sleep(TIMEOUT_S / 2)
    server.resume()
    assert await asking == [b"PONG"]


async def test_rh2_a_unix_socket(server: RedisServer) -> None:
    async with open_engine(f"unix://{server.options['unixsocket']}?db=2") as engine:
        assert await engine.run([run("SET", "k", "v"), run("GET", "k")]) == [b"OK", b"v"]
    assert server.commands([("SELECT", 2), ("GET", "k")])[-1] == b"v"


async def test_rh2_tls(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    certificate, key = authority.issue("redis")
    port = free_port()
    with RedisServer(
        tls_port=port,
        tls_cert_file=str(certificate),
        tls_key_file=str(key),
        tls_ca_cert_file=str(authority.certificate),
        tls_auth_clients="no",
    ):
        async with open_engine(f"rediss://127.0.0.1:{port}?ssl_ca_certs={authority.certificate}") as engine:
            assert await engine.run([run("SET", "k", b"x" * 300_000), run("STRLEN", "k")]) == [b"OK", 300_000]
        async with open_engine(f"rediss://127.0.0.1:{port}") as stranger:
            [error] = await stranger.run([run("PING")])
            assert isinstance(error, JournalUnavailableError)
            assert "CERTIFICATE_VERIFY_FAILED" in str(error)


# -- RE1


async def test_re1_a_read_that_takes_long_holds_up_no_append(server: RedisServer, engine: Engine) -> None:
    reads = [asyncio.create_task(engine.run([run("BLPOP", "nothing", 0)])) for _ in range(4)]
    await until(lambda: "blocked_clients:4" in server.command("INFO", "clients").decode(), "four reads block")
    waiting = asyncio.create_task(engine.run([run("GET", "k")]))
    assert await engine.run([run("INCR", "k")], lane=Lane.APPEND) == [1]
    assert not waiting.done()
    assert unavailable([(await read)[0] for read in reads], 4)
    # The one that waited had its own deadline, and either got the connection that became free or was told.
    [reply] = await waiting
    assert reply == b"1" or isinstance(reply, JournalUnavailableError)
    assert await asyncio.gather(*(engine.run([run("GET", "k")]) for _ in range(50))) == [[b"1"]] * 50
    assert len(clients(server)) <= 5


async def test_tcp_keeps_an_idle_connection_alive(server: RedisServer, engine: Engine) -> None:
    """A firewall forgets one otherwise, without a word: the next call would wait for its deadline."""
    assert await engine.run([run("PING")]) == [b"PONG"]
    (pool,) = engine._pools.values()
    [connection] = pool._available_connections
    sock = connection._writer.get_extra_info("socket")
    assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
    assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) <= 60


# -- RX5


async def test_rx5_scripts_are_loaded_and_run_in_order(server: RedisServer, engine: Engine) -> None:
    assert await script(engine, ADD, [5]) == 5
    assert server.command("SCRIPT", "FLUSH") == b"OK"
    calls = [(PUSH, ["l"], [number]) for number in range(20)]
    assert await engine.run_scripts([*calls, (ADD, ["k"], [1])]) == [*range(1, 21), 6]
    assert server.command("SCRIPT", "FLUSH") == b"OK"
    assert await engine.run_scripts([(PUSH, ["l"], [number]) for number in range(20, 40)]) == list(range(21, 41))
    assert server.command("LRANGE", "l", 0, -1) == [str(number).encode() for number in range(40)]
    server.kill()
    server.start()
    await engine.run([run("PING")])
    assert await script(engine, ADD, [1]) == 7


async def test_rx5_a_script_that_cannot_be_compiled_is_an_error(engine: Engine) -> None:
    error = await script(engine, make_script("bad", "this is no Lua"), [])
    assert isinstance(error, ResponseError)
    assert "compiling script" in str(error)


async def test_warnings_of_a_real_server(server: RedisServer, engine: Engine) -> None:
    assert await engine.warnings() == []
    server.commands([("CONFIG", "SET", "maxmemory", "1gb"), ("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")])
    try:
        [warning] = await engine.warnings()
    finally:
        server.commands([("CONFIG", "SET", "maxmemory", 0), ("CONFIG", "SET", "maxmemory-policy", "noeviction")])
    assert "allkeys-lru" in warning
    server.kill()
    assert await engine.warnings() == []


async def test_nothing_is_left_behind(server: RedisServer) -> None:
    async with open_engine(server.url) as engine:
        await asyncio.gather(*(engine.run([run("PING")], lane=lane) for lane in Lane for _ in range(1)))
        assert len(clients(server)) == 2
    await until(lambda: not clients(server), "connections are closed")
    assert asyncio.all_tasks() == {asyncio.current_task()}
