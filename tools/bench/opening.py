"""Work `idle`, `join` and `storm`: the cost of connections while no one edits."""

from __future__ import annotations

import asyncio
import time

from tools.bench.client import Client, open_client
from tools.bench.work import SYNC_S, Figures, Work, disconnect_all, open_all, quantile_ms, upload, warm_up

STORM_AT_ONCE = 200


async def idle(work: Work) -> Figures:
    """Idle clients: the memory of each, and the CPU time of all."""
    await warm_up(work)
    memory_before_kb = work.usage.rss_kb()
    clients = await open_all(work, set())
    await asyncio.sleep(1)
    memory_kb = work.usage.rss_kb() - memory_before_kb
    cpu_before_s = work.usage.cpu_s()
    await asyncio.sleep(work.seconds)
    cpu_s = work.usage.cpu_s() - cpu_before_s
    figures: Figures = {
        "kb_per_connection": round(memory_kb / work.clients, 2),
        "memory_kb": round(memory_kb),
        "idle_cpu_pct": round(100 * cpu_s / work.seconds, 2),
        "closed": sum(client.closed is not None for client in clients),
    }
    disconnect_all(clients)
    return figures


async def join(work: Work) -> Figures:
    """Clients open one document, one by one, while its author stays."""
    await warm_up(work)
    resident = await open_client(work.target, work.name)
    await asyncio.wait_for(resident.synced, SYNC_S)
    size = await upload(work)
    cpu_before_s = work.usage.cpu_s()
    times_s, received = [], 0
    for _ in range(work.clients):
        started = time.perf_counter()
        client = await open_client(work.target, work.name)
        times_s.append(await asyncio.wait_for(client.synced, SYNC_S) - started)
        received = client.bytes
        client.disconnect()
    cpu_s = work.usage.cpu_s() - cpu_before_s
    resident.disconnect()
    return {
        "cpu_ms_per_join": round(cpu_s / work.clients * 1e3, 3),
        "p50_ms": quantile_ms(times_s, 0.5),
        "p99_ms": quantile_ms(times_s, 0.99),
        "document_kb": round(size / 1024, 1),
        "received_kb": round(received / 1024, 1),
    }


async def storm(work: Work) -> Figures:
    """All clients connect at once, as after a restart."""
    await warm_up(work)
    gate = asyncio.Semaphore(STORM_AT_ONCE)

    async def one(index: int) -> Client:
        async with gate:
            client = await open_client(work.target, work.document(index), index=index)
        await asyncio.wait_for(client.synced, SYNC_S)
        return client

    cpu_before_s, started = work.usage.cpu_s(), time.perf_counter()
    clients = await asyncio.gather(*[one(index) for index in range(work.clients)])
    all_s = time.perf_counter() - started
    cpu_s = work.usage.cpu_s() - cpu_before_s
    disconnect_all(clients)
    return {"cpu_ms_per_join": round(cpu_s / work.clients * 1e3, 4), "all_synced_s": round(all_s, 3)}
