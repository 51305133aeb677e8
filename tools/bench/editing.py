"""Work `type` and `point`: some clients of one document edit or move cursors, all receive it.

Latency is measured at sampled receivers, from sending a token to reading it. Acknowledgements are measured at the
writers: a Hocuspocus server sends one SyncStatus for each update, in order; a y-websocket server sends the
writer its own update back.
"""

from __future__ import annotations

import asyncio
import gc
import os
import random
import time
from dataclasses import dataclass, field

from tools.bench.client import Client
from tools.bench.frames import Typist, client_id, pointer_message, token, update_message
from tools.bench.usage import Usage
from tools.bench.work import Figures, Work, disconnect_all, open_all, quantile_ms

DRAIN_S = 30.0
ANSWERS_S = 5.0
WARM_S = 1.0  # the first second is sent but not measured: just-in-time compilers and caches warm up
ACK_SAMPLES = 10
NEAR_S = 0.0005  # sleeping is not more exact than this


Step = tuple[float, bytes, int, bytes]  # time in seconds, token, writer, message


@dataclass(slots=True)
class _Plan:
    """Messages to send, in order of time, which of them are measured, and when each token was sent."""

    steps: list[Step]
    measured: list[Step] = field(default_factory=list)
    sent: dict[bytes, float] = field(default_factory=dict)


def _plan(work: Work) -> _Plan:
    """Spread the edits evenly over time, with jitter, so that writers are not in step."""
    total = int(work.writers * work.rate * (work.seconds + WARM_S))
    gap_s = 1 / (work.writers * work.rate)
    jitter = random.Random(1)
    typists = [Typist(client_id(index)) for index in range(work.writers)]
    steps = []
    for number in range(total):
        writer, mark = number % work.writers, token(number)
        if work.kind == "type":
            message = update_message(typists[writer].type(mark))
        else:
            message = pointer_message(writer, number // work.writers + 1, mark)
        steps.append((number * gap_s + jitter.uniform(0, gap_s), mark, writer, message))
    # One writer's edits stay in their order: the jitter is smaller than the gap between two.
    return _Plan(sorted(steps))


async def edit(work: Work) -> Figures:
    """Run `type` or `point` and return its figures."""
    plan = _plan(work)
    step = max(1, work.clients // work.samples)
    samples = {*range(step - 1, work.clients, step), work.clients - 1}
    writers = set(range(min(work.writers, ACK_SAMPLES))) if work.kind == "type" else set()
    clients = await open_all(work, samples | writers)
    warm = int(work.writers * work.rate * WARM_S)
    receivers = {index: clients[index] for index in sorted(samples)}
    await _send(plan, plan.steps[:warm], clients)
    await _drain(work, plan.steps[:warm], receivers)
    await asyncio.sleep(WARM_S / 2)
    plan.measured = plan.steps[warm:]
    answered_before = [len(client.statuses) for client in clients]
    frames_before = sum(client.frames for client in clients)
    own = Usage(os.getpid())
    own_before_s, server_before_s = own.cpu_s(), work.usage.cpu_s()
    own_waited_s, server_waited_s = own.waited_s(), work.usage.waited_s()
    gc.disable()
    started = time.perf_counter()
    await _send(plan, plan.measured, clients)
    sent_s = time.perf_counter() - started
    missing = await _drain(work, plan.measured, receivers)
    all_s = time.perf_counter() - started
    used_s, own_s = work.usage.cpu_s() - server_before_s, own.cpu_s() - own_before_s
    deliveries = len(plan.measured) * (work.clients - 1)
    figures: Figures = {
        "cpu_us_per_delivery": round(used_s / deliveries * 1e6, 2),
        "server_cpu_pct": round(100 * used_s / all_s),
        "load_cpu_pct": round(100 * own_s / all_s),
        "server_waited_pct": round(100 * (work.usage.waited_s() - server_waited_s) / all_s, 1),
        "load_waited_pct": round(100 * (own.waited_s() - own_waited_s) / all_s, 1),
        "frames_per_delivery": round((sum(client.frames for client in clients) - frames_before) / deliveries, 3),
        "behind_s": round(max(0.0, all_s - max(sent_s, work.seconds)), 2),
        "missing": missing,
        "closed": sum(client.closed is not None for client in clients),
    }
    figures |= _latency(plan, receivers)
    if writers:
        answering = {index: clients[index] for index in writers}
        figures |= await _answered(work, plan, answering, answered_before)
    disconnect_all(clients)
    return figures


async def _send(plan: _Plan, steps: list[Step], clients: list[Client]) -> None:
    offset_s = time.perf_counter() - (steps[0][0] if steps else 0)
    for count, (due_s, mark, writer, message) in enumerate(steps):
        wait_s = offset_s + due_s - time.perf_counter()
        if wait_s > NEAR_S:
            await asyncio.sleep(wait_s)
        elif count % 20 == 0:
            await asyncio.sleep(0)  # behind: receiving must go on too
        plan.sent[mark] = time.perf_counter()
        clients[writer].send(message)


async def _drain(work: Work, steps: list[Step], receivers: dict[int, Client]) -> int:
    """Wait until the receivers have what was sent; returns how many tokens are missing.

    A server may drop presence that is superseded, so `point` waits for the last one alone.
    """
    wanted = steps if work.kind == "type" else steps[-1:]
    needs = [
        (client, {mark for _, mark, writer, _ in wanted if writer != index}) for index, client in receivers.items()
    ]
    deadline = time.perf_counter() + DRAIN_S
    while time.perf_counter() < deadline:
        if all(need <= client.seen.keys() for client, need in needs):
            return 0
        await asyncio.sleep(0.02)
    return sum(len(need - client.seen.keys()) for client, need in needs)


def _latency(plan: _Plan, samples: dict[int, Client]) -> Figures:
    author = {mark: writer for _, mark, writer, _ in plan.measured}
    times_s = [
        at - plan.sent[mark]
        for index, client in samples.items()
        for mark, at in client.seen.items()
        if mark in author and author[mark] != index
    ]
    if not times_s:
        return {}
    return {
        "p50_ms": quantile_ms(times_s, 0.5),
        "p99_ms": quantile_ms(times_s, 0.99),
        "max_ms": quantile_ms(times_s, 1),
    }


async def _answered(work: Work, plan: _Plan, writers: dict[int, Client], answered_before: list[int]) -> Figures:
    """The figures of acknowledgements, once all have arrived or the deadline has passed: readers get edits earlier."""
    deadline = time.perf_counter() + ANSWERS_S
    while True:
        figures = _acknowledgement(work, plan, writers, answered_before)
        if figures["unacknowledged"] == 0 or time.perf_counter() > deadline:
            return figures
        await asyncio.sleep(0.02)


def _acknowledgement(work: Work, plan: _Plan, writers: dict[int, Client], answered_before: list[int]) -> Figures:
    times_s: list[float] = []
    wanted = 0
    for index, client in writers.items():
        marks = [mark for _, mark, writer, _ in plan.measured if writer == index]
        wanted += len(marks)
        if work.target.dialect == "hp":
            answers = client.statuses[answered_before[index] :]
            times_s += [at - plan.sent[mark] for mark, at in zip(marks, answers, strict=False)]
        else:
            times_s += [client.seen[mark] - plan.sent[mark] for mark in marks if mark in client.seen]
    figures: Figures = {"unacknowledged": wanted - len(times_s), "refused": sum(c.refused for c in writers.values())}
    if times_s:
        figures |= {"ack_p50_ms": quantile_ms(times_s, 0.5), "ack_p99_ms": quantile_ms(times_s, 0.99)}
    return figures
