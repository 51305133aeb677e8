"""Work `crowd`, `cycle` and `stream`: what has to stay flat while a server grows.

crowd   clients fill many rooms and stay until standard input ends, so that others can be measured meanwhile;
        figures are printed at once when all are synced
cycle   documents are created, closed and evicted, then twice opened, closed and evicted again: memory after each
        pass; a leak keeps growing, a heap that is not returned to the system does not
stream  one writer sends as fast as it is acknowledged: CPU per update between checkpoints
"""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
import urllib.request

from tools.bench.client import Client, open_client
from tools.bench.frames import Typist, client_id, update_message
from tools.bench.work import SYNC_S, Figures, Work, disconnect_all, settled, upload, warm_up

AT_ONCE = 100
CYCLE_BYTES = 10 * 1024
EVICTION_S = 120.0
ROOMS_METRIC = re.compile(r"^raffia_rooms(?:\{[^}]*\})? ([0-9.e+]+)$", re.MULTILINE)


async def crowd(work: Work) -> Figures:
    """Fill the rooms, report, and hold them until standard input ends."""
    await warm_up(work)
    memory_before_kb, cpu_before_s = work.usage.rss_kb(), work.usage.cpu_s()
    gate = asyncio.Semaphore(AT_ONCE)
    took_s: list[float] = []

    async def one(index: int) -> Client:
        async with gate:
            started = time.perf_counter()
            client = await open_client(work.target, work.document(index), index=index)
            took_s.append(await asyncio.wait_for(client.synced, SYNC_S) - started)
            return client

    started = time.perf_counter()
    clients = await asyncio.gather(*[one(index) for index in range(work.clients)])
    all_s = time.perf_counter() - started
    cpu_s = work.usage.cpu_s() - cpu_before_s
    await settled(work)
    memory_kb = work.usage.rss_kb() - memory_before_kb
    figures: Figures = {
        "all_synced_s": round(all_s, 2),
        "cpu_ms_per_join": round(cpu_s / work.clients * 1e3, 3),
        "join_p99_ms": round(sorted(took_s)[int(len(took_s) * 0.99)] * 1e3, 1),
        "memory_mb": round(memory_kb / 1024, 1),
        "kb_per_connection": round(memory_kb / work.clients, 2),
    }
    print(json.dumps(figures), flush=True)
    await asyncio.to_thread(sys.stdin.read)
    figures["closed"] = sum(client.closed is not None for client in clients)
    disconnect_all(clients)
    return figures


async def cycle(work: Work) -> Figures:
    """Create, then open, as many documents as there are clients, one by one; needs a Hocuspocus dialect."""
    content = Typist(client_id(1)).type(b"raffia " * (CYCLE_BYTES // 5))
    await _pass(work, "before", max(1, work.clients // 20), content)
    base_kb = await _evicted(work)
    started = time.perf_counter()
    await _pass(work, "cycle", work.clients, content)
    made_s = time.perf_counter() - started
    made_kb = await _evicted(work)
    started = time.perf_counter()
    await _pass(work, "cycle", work.clients, None)
    opened_s = time.perf_counter() - started
    opened_kb = await _evicted(work)
    await _pass(work, "cycle", work.clients, None)
    again_kb = await _evicted(work)
    return {
        "memory_before_mb": round(base_kb / 1024, 2),
        "memory_after_making_mb": round(made_kb / 1024, 2),
        "memory_after_opening_mb": round(opened_kb / 1024, 2),
        "memory_after_opening_again_mb": round(again_kb / 1024, 2),
        "growth_pct": round(100 * (max(made_kb, opened_kb, again_kb) / base_kb - 1), 2),
        "made_per_s": round(work.clients / made_s, 1),
        "opened_per_s": round(work.clients / opened_s, 1),
    }


async def _pass(work: Work, name: str, count: int, content: bytes | None) -> None:
    for index in range(count):
        client = await open_client(work.target, f"{name}-{index}", index=index)
        await asyncio.wait_for(client.synced, SYNC_S)
        answers = 1  # to the step 2 that answers the server's step 1
        if content is not None:
            client.send(update_message(content))
            answers = 2
        await asyncio.wait_for(client.answered(answers), SYNC_S)
        if content is None and client.bytes < CYCLE_BYTES:
            raise ConnectionError(f"{name}-{index} came back with {client.bytes} bytes instead of {CYCLE_BYTES}")
        client.disconnect()


async def _evicted(work: Work) -> float:
    """Wait until no room is open; returns the memory in KiB."""
    deadline = time.perf_counter() + EVICTION_S
    while (rooms := await asyncio.to_thread(_rooms, work.metrics_url)) > 0:
        if time.perf_counter() > deadline:
            raise TimeoutError(f"{rooms:.0f} rooms are still open {EVICTION_S:.0f} s after their last client left")
        await asyncio.sleep(0.25)
    await settled(work)
    return work.usage.rss_kb()


def _rooms(metrics_url: str) -> float:
    with urllib.request.urlopen(metrics_url, timeout=10) as answer:
        found = ROOMS_METRIC.search(answer.read().decode())
    if found is None:
        raise LookupError(f"{metrics_url} has no raffia_rooms")
    return float(found[1])


async def stream(work: Work) -> Figures:
    """One writer and one reader on a document of any size; needs a Hocuspocus dialect."""
    size = await upload(work)
    await settled(work, longest_s=60)
    writer, reader = [await open_client(work.target, work.name, index=index) for index in range(2)]
    await asyncio.wait_for(asyncio.gather(writer.synced, reader.synced), SYNC_S)
    await asyncio.wait_for(asyncio.gather(writer.answered(1), reader.answered(1)), SYNC_S)
    await settled(work)
    typist = Typist(client_id(7))
    figures: Figures = {"document_kb": round(size / 1024, 1)}
    done, cpu_before_s, started = 0, work.usage.cpu_s(), time.perf_counter()
    for checkpoint in work.checkpoints:
        segment, used_before_s = checkpoint - done, work.usage.cpu_s()
        while done < checkpoint:
            many = min(work.window, checkpoint - done)
            for _ in range(many):
                writer.send(update_message(typist.type(b"w")))
            done += many
            # Half a window stays in flight, so that the server never waits for us.
            await asyncio.wait_for(writer.answered(1 + done - work.window // 2), SYNC_S)
        await asyncio.wait_for(writer.answered(1 + done), SYNC_S)
        await settled(work, longest_s=60)  # folding the log is part of the cost
        figures[f"cpu_us_per_update_to_{checkpoint}"] = round((work.usage.cpu_s() - used_before_s) / segment * 1e6, 2)
    figures["cpu_us_per_update"] = round((work.usage.cpu_s() - cpu_before_s) / max(done, 1) * 1e6, 2)
    figures["seconds"] = round(time.perf_counter() - started, 1)
    figures["refused"] = writer.refused
    figures["memory_mb"] = round(work.usage.rss_kb() / 1024, 1)
    disconnect_all([writer, reader])
    return figures
