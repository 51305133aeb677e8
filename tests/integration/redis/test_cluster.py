"""A real cluster: slots that move, nodes that fail, sharded channels (RE3-RE6, RSU5)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest
from redis.crc import key_slot
from redis.exceptions import ResponseError
from tests.support.hearing import Ears, until
from tests.support.redis import RedisCluster, RedisServer, fresh_port

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.address import read_url
from raffia.journal.redis.client import Engine, open_engine
from raffia.journal.redis.engine import Command, Lane, Reply
from raffia.journal.redis.replies import error_of
from raffia.journal.redis.scripts import make_script
from raffia.journal.redis.topology import Cluster, Place, Route, Topology

TIMEOUT_S = 1.2


def slot_of(key: str) -> int:
    return int(key_slot(key.encode()))


NAMES = [f"d{number}" for number in range(12)]  # they spread over all nodes
APPEND = make_script(
    "append",
    """redis.call('RPUSH', KEYS[1], ARGV[1])
    redis.call('SPUBLISH', ARGV[2], ARGV[1])
    return redis.call('INCR', KEYS[2])""",
)


@pytest.fixture(scope="module")
def shared() -> Iterator[RedisCluster]:
    with RedisCluster(replicas=1) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared: RedisCluster) -> RedisCluster:
    return shared


@pytest.fixture
def ears() -> Ears:
    return Ears()


@pytest.fixture
async def engine(cluster: RedisCluster, ears: Ears) -> AsyncIterator[Engine]:
    async with open_engine(cluster.url, timeout_s=TIMEOUT_S) as engine:
        assert engine.is_cluster
        engine.listener = ears
        yield engine
    for node in cluster.nodes:
        if node.running:
            node.resume()
            node.command("FLUSHALL")


def appends(name: str, texts: list[str]) -> list[tuple[object, list[str], list[str]]]:
    return [(APPEND, [f"{{{name}}}:log", f"{{{name}}}:count"], [text, f"{{{name}}}:channel"]) for text in texts]


async def append(engine: Engine, names: list[str], texts: list[str]) -> list[object]:
    calls = [call for name in names for call in appends(name, texts)]
    return await engine.run_scripts(calls, lane=Lane.APPEND)  # type: ignore[arg-type]


def elsewhere(cluster: RedisCluster, slot: int) -> RedisServer:
    owner = cluster.owner(slot)
    return next(node for node in cluster.masters if node is not owner)


async def test_re3_commands_go_to_the_owners(cluster: RedisCluster, engine: Engine, ears: Ears) -> None:
    for name in NAMES:
        engine.subscribe(f"{{{name}}}:channel")
    await until(lambda: len(ears.channels) == len(NAMES), "all are confirmed")
    assert all(node.command("PUBSUB", "SHARDCHANNELS") for node in cluster.masters)
    assert await append(engine, NAMES, ["a", "b"]) == [1, 2] * len(NAMES)
    await until(lambda: len(ears.messages) == 2 * len(NAMES), "all is heard")
    for name in NAMES:
        assert [text for channel, text in ears.messages if channel == f"{{{name}}}:channel"] == [b"a", b"b"]
    replies = await engine.run([Command(f"{{{name}}}", ("GET", f"{{{name}}}:count")) for name in NAMES])
    assert replies == [b"2"] * len(NAMES)
    assert len(await engine.warnings()) == 3  # one for each master
    for name in NAMES:
        engine.unsubscribe(f"{{{name}}}:channel")
    await until(
        lambda: all(node.command("PUBSUB", "SHARDCHANNELS") == [] for node in cluster.masters), "all are given up (RE6)"
    )


async def test_re3_re6_a_slot_that_has_moved(cluster: RedisCluster, engine: Engine, ears: Ears) -> None:
    channel = "{moved}:channel"
    engine.subscribe(channel)
    await ears.confirmation(channel)
    assert await append(engine, ["moved"], ["a", "b"]) == [1, 2]
    ears.told.clear()
    target = elsewhere(cluster, slot_of(channel))
    cluster.move_slot(slot_of(channel), target)
    assert await append(engine, ["moved", "other"], ["c", "d"]) == [3, 4, 1, 2]
    assert target.command("LRANGE", "{moved}:log", 0, -1) == [b"a", b"b", b"c", b"d"]
    assert await ears.confirmation(channel) < 1.5  # told by sunsubscribe (RSU5)
    ears.messages.clear()
    assert await append(engine, ["moved"], ["e"]) == [5]
    await until(lambda: ears.messages == [(channel, b"e")], "it is heard where it is now")


async def test_re3_a_slot_on_its_way(cluster: RedisCluster, engine: Engine) -> None:
    name = "way"
    slot = slot_of(f"{{{name}}}")
    source, target = cluster.owner(slot), elsewhere(cluster, slot)
    assert await append(engine, [name], ["a"]) == [1]
    cluster.begin_move(slot, target)
    assert await append(engine, [name], ["b"]) == [2]  # all keys are here still

    # A key that is not here: every command is sent on with ASK, in order.
    new = Command(f"{{{name}}}", ("RPUSH", f"{{{name}}}:new", "x"))
    assert await engine.run([new, new, Command("{other}", ("GET", "{other}")), new]) == [1, 2, None, 3]
    assert target.commands([("ASKING",), ("LLEN", f"{{{name}}}:new"), ("ASKING",), ("DEL", f"{{{name}}}:new")])[1] == 3

    # All keys have gone: so are scripts.
    cluster.move_keys(source, target, [f"{{{name}}}:log".encode(), f"{{{name}}}:count".encode()])
    for node in cluster.masters:
        node.command("SCRIPT", "FLUSH")
    assert await append(engine, [name, "other"], ["c", "d"]) == [3, 4, 1, 2]
    cluster.end_move(slot, target)

    # Some keys have gone and some have not: TRYAGAIN until they are together.
    source, target = target, source
    cluster.begin_move(slot, target)
    cluster.move_keys(source, target, [f"{{{name}}}:log".encode()])
    waiting = asyncio.create_task(append(engine, [name, "other"], ["e", "f"]))
    done, _ = await asyncio.wait([waiting], timeout=0.2)
    assert not done
    cluster.move_keys(source, target, [f"{{{name}}}:count".encode()])
    cluster.end_move(slot, target)
    assert await waiting == [5, 6, 3, 4]
    assert target.command("LRANGE", f"{{{name}}}:log", 0, -1) == [b"a", b"b", b"c", b"d", b"e", b"f"]

    # Never together within the deadline: not executed, and said so; other documents are not held back.
    source, target = target, source
    cluster.begin_move(slot, target)
    cluster.move_keys(source, target, [f"{{{name}}}:log".encode()])
    one, two, three = await append(engine, [name], ["g"]) + await append(engine, ["other"], ["x", "y"])
    assert isinstance(one, ResponseError)
    assert isinstance(error_of(one), JournalUnavailableError)
    assert "TRYAGAIN" in str(one)
    assert (two, three) == (5, 6)
    cluster.move_keys(source, target, [f"{{{name}}}:count".encode()])
    cluster.end_move(slot, target)
    assert await append(engine, [name], ["g"]) == [7]


async def test_e2_order_is_kept_while_slots_move_to_and_fro(cluster: RedisCluster, engine: Engine) -> None:
    """Calls of one key, many in a pipeline, while its slot moves: the log is in order, and holds all that was taken."""
    taken: list[str] = []
    ended = False

    async def write() -> None:
        number = 0
        while not ended:
            texts = [str(number + more) for more in range(20)]
            number += 20
            replies = await append(engine, ["fro"], texts)
            taken.extend(text for text, reply in zip(texts, replies, strict=True) if isinstance(reply, int))
            for reply in replies:
                if isinstance(reply, Exception):
                    assert isinstance(error_of(reply), JournalUnavailableError)
                else:
                    assert isinstance(reply, int)

    task = asyncio.create_task(write())
    slot = slot_of("{fro}")
    for _ in range(6):
        before = len(taken)
        await until(lambda before=before: len(taken) > before + 100 or task.done(), "it goes on")  # type: ignore[misc]
        await asyncio.to_thread(cluster.move_slot, slot, elsewhere(cluster, slot))
    ended = True
    await task
    log = [text.decode() for text in cluster.owner(slot).command("LRANGE", "{fro}:log", 0, -1)]
    numbers = [int(text) for text in log]
    assert numbers == sorted(numbers)
    assert set(taken) <= set(log)
    assert len(set(log)) == len(log)


class Redirections(Topology):
    """Keys are the numbers of their slots; a redirection leads to a port with that number."""

    is_cluster = True

    def __init__(self) -> None:
        self.places = {("a", 1)}
        self.seen: list[str] = []

    def slot(self, key: str) -> int:
        return int(key)

    async def redirect(self, refusal: str, slot: int) -> Route:
        self.seen.append(refusal)
        return ("b", slot), False


class Scripted(Engine):
    """Gives the replies that are listed, and then says what was executed where."""

    def __init__(self, topology: Topology, replies: list[Reply]) -> None:
        super().__init__(topology)
        self._replies = replies

    async def _ask(
        self, place: Place | None, asking: bool, commands: Sequence[Command], lane: Lane, deadline_s: float
    ) -> list[Reply]:
        if place == ("a", 1):
            return self._replies
        return [(place, *command.args) for command in commands]


async def test_re3_the_first_refused_command_decides_and_none_is_overtaken() -> None:
    replies: list[Reply] = [
        ResponseError("ASK 1 b:2"),
        ResponseError("TRYAGAIN later"),
        ResponseError("TRYAGAIN later"),
        5,  # a later command of the slot got through: the first is not sent again
        ResponseError("TRYAGAIN later"),
        JournalUnavailableError("lost"),  # a later one may have got through
        ResponseError("MOVED 4 c:3"),
        6,
        ResponseError("TRYAGAIN later"),  # nothing of the slot is behind it
    ]
    topology = Redirections()
    engine = Scripted(topology, list(replies))
    commands = [Command(slot, (number,)) for number, slot in enumerate("112233455")]
    told = await engine.run(commands)
    assert topology.seen == ["ASK 1 b:2", "MOVED 4 c:3", "TRYAGAIN later"]
    assert told[:2] == [(("b", 1), 0), (("b", 1), 1)]
    assert told[2:6] == replies[2:6]
    assert told[6:] == [(("b", 4), 6), 6, (("b", 5), 8)]


async def test_re3_where_refused_commands_go(cluster: RedisCluster) -> None:
    """An ASK leads elsewhere for once, a MOVED from now on; an empty host means the node that was asked."""
    topology = Cluster(read_url(cluster.url))
    await topology.read()
    before = topology.owner(1)
    assert await topology.redirect("TRYAGAIN later", 1) == (before, False)
    assert await topology.redirect("ASK 1 10.0.0.1:7", 1) == (("10.0.0.1", 7), True)
    assert topology.owner(1) == before
    assert await topology.redirect("MOVED 1 :7", 1) == (("127.0.0.1", 7), False)
    assert topology.owner(1) == ("127.0.0.1", 7)
    await topology.close()


async def test_rx5_scripts_on_nodes_that_do_not_know_them(cluster: RedisCluster, engine: Engine) -> None:
    assert await append(engine, NAMES, ["a"]) == [1] * len(NAMES)
    for node in cluster.masters:
        node.command("SCRIPT", "FLUSH")
    assert await append(engine, NAMES, ["b", "c"]) == [2, 3] * len(NAMES)


async def test_one_node_of_a_cluster_is_no_redis_to_use_alone(cluster: RedisCluster) -> None:
    async with open_engine(cluster.masters[0].url) as engine:
        assert any("redis+cluster://" in warning for warning in await engine.warnings())


async def test_a_cluster_that_cannot_be_found(ears: Ears) -> None:
    async with open_engine("redis+cluster://127.0.0.1:1", timeout_s=0.3) as engine:
        engine.listener = ears
        engine.subscribe("{a}")
        [error] = await engine.run([Command("{a}", ("GET", "{a}"))])
        assert isinstance(error, JournalUnavailableError)
        assert await engine.warnings() == []
    with RedisServer() as single:
        async with open_engine(f"redis+cluster://{single.place}", timeout_s=0.3) as engine:
            [error] = await engine.run([Command("{a}", ("GET", "{a}"))])
            assert isinstance(error, JournalUnavailableError)


async def test_re5_a_failure_of_its_own_does_not_end_the_reading(caplog: pytest.LogCaptureFixture) -> None:
    """A task that ended here would never see another server again."""

    class Failing(Topology):
        read_s = 0.01
        attempts = 0

        def __init__(self) -> None:
            self.places = set()

        async def read(self) -> None:
            self.attempts += 1
            if self.attempts < 3:
                raise RuntimeError("for once")
            self.places = {("a", 1)}

    topology = Failing()
    async with Engine(topology):
        await until(lambda: topology.places, "it is read again")
    assert sum("topology" in record.getMessage() for record in caplog.records) == 1


async def test_re5_a_cluster_that_is_made_later_is_found() -> None:
    """Its nodes run, as they do when everything is started together, but none of them has a slot yet."""
    options = {"cluster_enabled": "yes", "cluster_port": fresh_port(), "cluster_require_full_coverage": "no"}
    with RedisServer(**options) as node:
        async with open_engine(f"redis+cluster://{node.place}", timeout_s=0.3) as engine:
            [error] = await engine.run([Command("{a}", ("GET", "{a}"))])
            assert isinstance(error, JournalUnavailableError)
            node.command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            began_s = asyncio.get_running_loop().time()
            replies: list[object] = []
            while replies != [None]:
                assert asyncio.get_running_loop().time() < began_s + 10
                replies = await engine.run([Command("{a}", ("GET", "{a}"))])


async def test_re5_e5_a_master_that_fails_is_replaced_by_its_replica(
    cluster: RedisCluster, engine: Engine, ears: Ears
) -> None:
    """The first master has a replica. It stops; the others promote the replica; then it comes back."""
    master, [replica] = cluster.masters[0], cluster.replicas
    name = next(name for name in NAMES if cluster.owner(slot_of(f"{{{name}}}")) is master)
    other = next(name for name in NAMES if cluster.owner(slot_of(f"{{{name}}}")) is not master)
    for one in (name, other):
        engine.subscribe(f"{{{one}}}:channel")
    await until(lambda: len(ears.channels) == 2, "both are confirmed")
    assert await append(engine, [name, other], ["a"]) == [1, 1]
    await until(
        lambda: (
            replica.command("READONLY") == b"OK"
            and replica.info("replication")["slave_repl_offset"] == master.info("replication")["master_repl_offset"]
        ),
        "it is copied",
    )
    ears.told.clear()
    master.pause()
    loop = asyncio.get_running_loop()
    began_s = loop.time()
    waits = []
    while True:
        at_s = loop.time()
        mine, theirs = await append(engine, [name, other], ["b"])
        waits.append(loop.time() - at_s)
        if isinstance(mine, int):
            break
        assert isinstance(mine, Exception)
        assert isinstance(error_of(mine), JournalUnavailableError)
        assert isinstance(theirs, int) or "CLUSTERDOWN" in str(theirs)
        assert loop.time() - began_s < 12
        await asyncio.sleep(0.02)
    assert all(wait_s < TIMEOUT_S / 4 + 0.2 for wait_s in waits[1:])  # RE4
    await ears.confirmation(f"{{{name}}}:channel")
    ears.messages.clear()
    await append(engine, [name], ["c"])
    await until(lambda: (f"{{{name}}}:channel", b"c") in ears.messages, "it is heard at the replica")
    master.resume()
    await until(lambda: master.info("replication")["role"] == "slave", "the old master follows")
    assert isinstance((await append(engine, [name], ["d"]))[0], int)


async def test_the_end_leaves_nothing_behind(cluster: RedisCluster, ears: Ears) -> None:
    async with open_engine(cluster.url) as engine:
        engine.listener = ears
        engine.subscribe("{a}")
        await ears.confirmation("{a}")
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, "no task is left")
    for node in cluster.nodes:
        await until(lambda node=node: "name=raffia" not in node.command("CLIENT", "LIST").decode(), "all is closed")  # type: ignore[misc]
