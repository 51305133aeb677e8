"""What Raffia leans on in redis-py, and why some of it is ours.

The first half fails when a release of redis-py changes what is used of it beyond its documentation. The second half is
what its own pipelines, pub/sub and sentinels would have to do to take the place of `pipeline`, `client`, `topology` and
`subscriber`:
each test fails today, and one that passes says that code of ours can go.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import AsyncIterator, Iterator

import pytest
import redis.asyncio as redis_py
from redis.asyncio.cluster import ClusterNode, NodesManager
from redis.asyncio.cluster import RedisCluster as ClusterClient
from redis.asyncio.connection import (
    AbstractConnection,
    BlockingConnectionPool,
    Connection,
    DefaultParser,
    SSLConnection,
    UnixDomainSocketConnection,
    parse_url,
)
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import EqualJitterBackoff, NoBackoff
from redis.crc import key_slot
from redis.exceptions import AskError, ResponseError
from tests.support.hearing import until
from tests.support.redis import RedisCluster, RedisServer, obedient_sentinel

from raffia.journal.redis.pipeline import OPTIONS, aborting

# -- what is leaned on


@pytest.fixture(scope="module")
def server() -> Iterator[RedisServer]:
    with RedisServer() as server:
        yield server


@pytest.fixture
async def connection(server: RedisServer) -> AsyncIterator[Connection]:
    connection = Connection(host="127.0.0.1", port=server.port, **OPTIONS)
    await connection.connect()
    yield connection
    await connection.disconnect(nowait=True)
    server.resume()


def parameters(function: object) -> set[str]:
    return set(inspect.signature(function).parameters)  # type: ignore[arg-type]


def test_the_interfaces_that_are_used() -> None:
    assert {"retry", "redis_connect_func", "parser_class", "protocol", "socket_timeout", "driver_info"} <= parameters(
        AbstractConnection.__init__
    )
    for made in (Connection, SSLConnection, UnixDomainSocketConnection):
        assert issubclass(made, AbstractConnection)
    assert {"timeout", "disconnect_on_error"} <= parameters(AbstractConnection.read_response)
    assert "nowait" in parameters(AbstractConnection.disconnect)
    assert {"max_connections", "timeout", "connection_class"} <= parameters(BlockingConnectionPool.__init__)
    assert {"cap", "base"} <= parameters(EqualJitterBackoff.__init__)
    assert {"startup_nodes", "require_full_coverage", "connection_kwargs"} <= parameters(NodesManager.__init__)
    assert {"e"} <= parameters(NodesManager.move_slot)
    assert {"sentinels", "sentinel_kwargs"} <= parameters(Sentinel.__init__)
    assert "service_name" in parameters(Sentinel.discover_master)
    error = AskError("7000 host:6380")
    assert (error.slot_id, error.host, error.port) == (7000, "host", 6380)
    assert DefaultParser.EXCEPTION_CLASSES  # emptied in `pipeline`
    assert parse_url("redis://u:p%2F@[::1]:7/3") == {
        "username": "u",
        "password": "p/",
        "host": "::1",
        "port": 7,
        "db": 3,
    }


async def test_a_connection_has_a_writer_that_can_be_aborted(connection: Connection) -> None:
    writer = connection._writer
    assert writer is not None
    writer.transport.abort()
    with pytest.raises(redis_py.ConnectionError):
        await connection.read_response(timeout=math.inf)
    assert not connection.is_connected


async def test_a_read_that_is_cancelled_disconnects(server: RedisServer, connection: Connection) -> None:
    await connection.send_command("BLPOP", "nothing", 0)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await connection.read_response(timeout=math.inf)
    assert not connection.is_connected


async def test_whatever_ends_a_connection_disconnects_it(server: RedisServer) -> None:
    """So that `aborting` finds all of it: what was cancelled in its sign-in must not be used as if it were greeted."""
    connection = aborting(Connection)(host="127.0.0.1", port=server.port, **OPTIONS, password="secret")
    server.pause()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connection.connect()
        assert not connection.is_connected
    finally:
        server.resume()
    connection = aborting(Connection)(host="127.0.0.1", port=server.port, **OPTIONS)
    await connection.connect()
    transport = connection._writer.transport
    server.pause()
    try:
        connection._writer.write(b"x" * 30_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await connection.read_response(timeout=math.inf)
        await until(lambda: transport.get_write_buffer_size() == 0, "what was not sent is gone")
    finally:
        server.resume()


async def test_a_pool_waits_and_connects_again(server: RedisServer) -> None:
    pool = BlockingConnectionPool(1, timeout=None, host="127.0.0.1", port=server.port, **OPTIONS)
    first = await pool.get_connection()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await pool.get_connection()
    await first.disconnect()
    await pool.release(first)
    assert await pool.get_connection() is first
    assert first.is_connected
    await pool.release(first)
    await pool.disconnect()


async def test_an_error_keeps_its_code_and_the_connection(connection: Connection) -> None:
    await connection.send_command("EVAL", "return redis.error_reply('LOADING it')", 0)
    with pytest.raises(ResponseError, match=r"^LOADING it$"):
        await connection.read_response(timeout=math.inf)
    assert connection.is_connected


async def test_what_was_said_unasked_and_the_end_are_seen_before_use(
    server: RedisServer, connection: Connection
) -> None:
    assert not await connection.can_read()
    await connection.send_command("PING")
    await until(lambda: connection._reader is not None and connection._reader._buffer, "it came")  # type: ignore[attr-defined]
    assert await connection.can_read()
    assert await connection.read_response(timeout=math.inf) == b"PONG"
    assert not await connection.can_read()
    server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await until(lambda: connection._reader is not None and connection._reader.at_eof(), "it was told")
    assert await connection.can_read()


async def test_nothing_is_tried_again(server: RedisServer) -> None:
    before = server.info("stats")["total_connections_received"]
    connection = Connection(host="127.0.0.1", port=server.port, **OPTIONS, password="wrong")
    with pytest.raises(redis_py.RedisError):
        await connection.connect()
    assert int(server.info("stats")["total_connections_received"]) - int(before) == 2  # it and the question


# -- what it would have to do

ONCE = Retry(NoBackoff(), 0)


@pytest.mark.xfail(
    raises=redis_py.ConnectionError, reason="replies that came before the connection was lost are lost with it (E1)"
)
async def test_a_pipeline_keeps_what_was_answered() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b":1\r\n:2\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, redis_py.Redis(port=port, protocol=2, retry=ONCE, driver_info=None) as client:
        pipeline = client.pipeline(transaction=False)
        for _ in range(4):
            pipeline.incr("k")
        replies = await pipeline.execute(raise_on_error=False)
    assert replies[:2] == [1, 2]


@pytest.mark.xfail(raises=AssertionError, reason="a health check sends PING and does not look for the PONG (E5)")
async def test_pubsub_notices_a_server_that_stopped() -> None:
    with RedisServer() as server:
        client = redis_py.Redis(port=server.port, socket_timeout=0.2, health_check_interval=1, retry=ONCE)
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe("c")
            assert await pubsub.get_message(timeout=1) is not None
            server.pause()
            try:
                for _ in range(30):
                    await pubsub.get_message(timeout=0.1)
            except (redis_py.ConnectionError, redis_py.TimeoutError):
                return
            raise AssertionError("it has not noticed in 3 s")


@pytest.fixture(scope="module")
def cluster() -> Iterator[RedisCluster]:
    with RedisCluster() as cluster:
        yield cluster


def nodes(cluster: RedisCluster) -> list[ClusterNode]:
    return [ClusterNode("127.0.0.1", node.port) for node in cluster.masters]


@pytest.mark.xfail(raises=AssertionError, reason="one silent node after the other is waited for")
async def test_sharded_messages_do_not_wait_for_silent_nodes(cluster: RedisCluster) -> None:
    names = ["{a}", "{b}", "{c}"]  # on three nodes
    async with ClusterClient(startup_nodes=nodes(cluster)) as client:
        pubsub = client.pubsub()
        await pubsub.ssubscribe(*names)
        for _ in names:
            await pubsub.get_sharded_message(timeout=1)
        assert len(pubsub.node_pubsub_mapping) == 3
        loop = asyncio.get_running_loop()
        waits_s = []
        for _ in range(3):
            await client.spublish("{a}", "x")
            began_s = loop.time()
            while (await pubsub.get_sharded_message(timeout=0.3) or {}).get("type") != "smessage":
                pass
            waits_s.append(loop.time() - began_s)
        await pubsub.aclose()
    assert max(waits_s) < 0.2


@pytest.mark.xfail(raises=AssertionError, reason="what was refused is sent again behind what was executed (E2)")
async def test_a_cluster_pipeline_does_not_overtake_itself(cluster: RedisCluster) -> None:
    """While a slot moves, a script whose keys are not together is refused, and a command behind it is executed."""
    slot = key_slot(b"{log}")
    source = cluster.owner(slot)
    target = next(node for node in cluster.masters if node is not source)
    source.commands([("RPUSH", "{log}:log", "0"), ("SET", "{log}:count", "0")])
    async with ClusterClient(startup_nodes=nodes(cluster)) as client:
        cluster.begin_move(slot, target)
        cluster.move_keys(source, target, [b"{log}:count"])
        pipeline = client.pipeline()
        pipeline.eval("return redis.call('RPUSH', KEYS[1], ARGV[1])", 2, "{log}:log", "{log}:count", "1")
        pipeline.rpush("{log}:log", "2")
        executing = asyncio.create_task(pipeline.execute(raise_on_error=False))
        await until(lambda: source.command("LLEN", "{log}:log") == 2, "the second was executed")
        cluster.move_keys(source, target, [b"{log}:log"])
        cluster.end_move(slot, target)
        await executing
    assert target.command("LRANGE", "{log}:log", 0, -1) == [b"0", b"2"]  # and the first was not


@pytest.mark.xfail(raises=AssertionError, reason="sentinels are asked when it connects, and not again (RE5)")
async def test_a_client_leaves_a_primary_that_sentinels_replaced() -> None:
    with RedisServer() as one, RedisServer() as two:
        named = [one]
        one.command("SET", "k", "of the first")
        async with obedient_sentinel("main", lambda: named[0].port) as port:
            sentinel = Sentinel([("127.0.0.1", port)], sentinel_kwargs={"protocol": 2, "driver_info": None})
            async with sentinel, sentinel.master_for("main", health_check_interval=0.1) as client:
                assert await client.get("k") == b"of the first"
                named[0] = two
                await asyncio.sleep(0.3)
                assert await client.get("k") is None


@pytest.mark.xfail(raises=AssertionError, reason="what sentinels name is not asked whether it is a primary (RS1)")
async def test_a_client_refuses_a_replica_that_sentinels_name() -> None:
    with RedisServer() as one, RedisServer(replicaof=f"127.0.0.1 {one.port}") as two:
        async with obedient_sentinel("main", lambda: two.port) as port:
            sentinel = Sentinel([("127.0.0.1", port)], sentinel_kwargs={"protocol": 2, "driver_info": None})
            async with sentinel, sentinel.master_for("main", retry=ONCE) as client:
                try:
                    await client.get("k")
                except redis_py.RedisError:
                    return
                raise AssertionError("it reads from a replica")
