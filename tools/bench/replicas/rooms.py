"""Part `rooms`: the cost of open documents while no one edits, and of subscribing to all of them again.

Documents with some content are opened on one replica, one connection each, then two more each. Redis counts the
comparisons with the ends of the logs and the heartbeats. Then Redis drops the subscribing connection, and the time runs
until every channel is subscribed and every log has been read again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace

import uvloop

from tools.bench.client import Client, Target, open_client
from tools.bench.growth import raise_file_limit
from tools.bench.replicas.places import Place, started
from tools.bench.replicas.tally import Tally
from tools.bench.replicas.typists import OPEN_AT_ONCE, SYNC_S, Typing, gather_crowd
from tools.bench.usage import Usage
from tools.bench.work import Figures

ROOMS = 3000
MORE = 2  # connections to each document, after the first
IDLE_S = 15.0  # some of the comparisons and heartbeats, which happen every 5 s
DEADLINE_S = 60.0
SETTLE_S = 3.0
RECONNECTS = 3


def measure(quick: bool) -> Figures:
    """Memory, idle commands and CPU, reconnect."""
    rooms = 20 if quick else ROOMS
    raise_file_limit(rooms * (1 + MORE) * 2 + 1000)
    idle_s, settle_s = (5.0, 0.5) if quick else (IDLE_S, SETTLE_S)
    with started("raffia", 1) as place:
        uvloop.run(_make(place, rooms))
        (server,) = place.servers
        server.restart()  # a heap that has already held them would hide their cost
        place = replace(place, usages=[Usage(server.pid)])  # noqa: PLW2901 - the same one, started again
        return uvloop.run(_measure(place, rooms, idle_s=idle_s, settle_s=settle_s))


async def _make(place: Place, rooms: int) -> None:
    crowd = await gather_crowd(Typing(rooms, 1, 1000, 0), [place.target(0)], [0], name="room")
    await crowd.type(0, rooms / 1000)
    crowd.close()


async def _measure(place: Place, rooms: int, *, idle_s: float, settle_s: float) -> Figures:
    target, usage = place.target(0), place.usages[0]
    warm = await open_client(target, "room-0")  # what a server does once does not belong to a document
    await asyncio.wait_for(warm.synced, SYNC_S)
    start = Tally.take(place)
    await asyncio.sleep(idle_s)
    empty = Tally.take(place).since(start)
    memory_kb, redis_bytes = usage.rss_kb(), _redis_bytes(place)
    first = await _open(target, rooms)
    await asyncio.sleep(settle_s)
    room_kb, room_bytes = usage.rss_kb() - memory_kb, _redis_bytes(place) - redis_bytes
    more = [client for _ in range(MORE) for client in await _open(target, rooms)]
    await asyncio.sleep(settle_s)
    connection_kb = (usage.rss_kb() - memory_kb - room_kb) / (rooms * MORE)
    before = Tally.take(place)
    await asyncio.sleep(idle_s)
    used = Tally.take(place).since(before)
    extra = used.above(empty)
    calls = sum(count for name, count in extra.items() if name.startswith("calls_"))
    figures: Figures = {
        "kb_per_room": round(max(0.0, room_kb / rooms - connection_kb), 1),
        "kb_per_connection": round(max(0.0, connection_kb), 1),
        "redis_bytes_per_room": round(max(0, room_bytes) / rooms),
        "redis_commands_per_room_s": round(calls / rooms / used.at_s, 3),
        "redis_us_per_room_s": round(extra["redis_cpu_s"] / rooms / used.at_s * 1e6, 2),
        "replica_us_per_room_s": round(extra["cpu_s_0"] / rooms / used.at_s * 1e6, 2),
        "redis_commands_per_replica_s": round(sum(empty.calls.values()) / empty.at_s, 2),
    }
    figures |= await _reconnect(place, rooms)
    closed = sum(client.closed is not None for client in first + more)
    for client in [warm, *first, *more]:
        client.disconnect()
    return figures | {"closed": closed}


async def _open(target: Target, rooms: int) -> list[Client]:
    gate = asyncio.Semaphore(OPEN_AT_ONCE)

    async def one(room: int) -> Client:
        async with gate:
            client = await open_client(target, f"room-{room}")
            await asyncio.wait_for(client.synced, SYNC_S)
            return client

    return list(await asyncio.gather(*[one(room) for room in range(rooms)]))


async def _reconnect(place: Place, rooms: int) -> Figures:
    """The median over several losses of the subscribing connection."""
    times_s, replica_s, redis_s = [], [], []
    for _ in range(RECONNECTS):
        before, read = Tally.take(place), place.servers[0].metrics()["raffia_redis_resyncs_total"]
        began_s = time.perf_counter()
        assert place.redis.command("CLIENT", "KILL", "TYPE", "pubsub") >= 1
        await _until(lambda read=read: _has_read(place, read, rooms), "all logs are read again")  # type: ignore[misc]
        times_s.append(time.perf_counter() - began_s)
        used = Tally.take(place).since(before)
        replica_s.append(used.cpu_s[0])
        redis_s.append(used.redis_cpu_s)
        await asyncio.sleep(1)
    middle = RECONNECTS // 2
    return {
        "reconnect_s": round(sorted(times_s)[middle], 3),
        "reconnect_rooms_per_s": round(rooms / sorted(times_s)[middle]),
        "reconnect_replica_us_per_room": round(sorted(replica_s)[middle] / rooms * 1e6, 1),
        "reconnect_redis_us_per_room": round(sorted(redis_s)[middle] / rooms * 1e6, 1),
    }


def _has_read(place: Place, before: float, rooms: int) -> bool:
    return (
        place.servers[0].metrics()["raffia_redis_resyncs_total"] >= before + rooms
        and int(place.redis.info("stats")["pubsub_channels"]) > rooms
    )


def _redis_bytes(place: Place) -> int:
    # Subscriptions count as memory of the client that has them.
    return int(place.redis.info("memory")["used_memory"])


async def _until(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.perf_counter() + DEADLINE_S
    while not await asyncio.to_thread(condition):
        if time.perf_counter() > deadline_s:
            raise TimeoutError(f"not within {DEADLINE_S:.0f} s: {what}")
        await asyncio.sleep(0.02)
