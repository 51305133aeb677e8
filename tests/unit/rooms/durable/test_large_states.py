"""L5 of large_states.py: one job for each state vector, shared, and never waited for without yielding."""

from __future__ import annotations

import asyncio
from typing import cast

from tests.unit.world import DOCUMENT, until

from raffia.crdt.document import Document
from raffia.rooms.durable.large_states import LargeStates
from raffia.runtime.jobs import Job
from raffia.runtime.workers import Workers
from raffia.types import EMPTY_STATE_VECTOR

READS = 1_000  # of the base; a caller that goes round without yielding would read it for ever


class Changing:
    """A document whose base is replaced when it is told; counts how often it is read."""

    def __init__(self) -> None:
        self.now = b"first"
        self.tail: list[bytes] = [b"tail"]
        self.version = 1
        self.reads = 0

    @property
    def base(self) -> bytes:
        self.reads += 1
        if self.reads > READS:
            raise AssertionError("it goes round without yielding")
        return self.now


class Gate:
    """Workers whose jobs end when they are told."""

    def __init__(self) -> None:
        self.jobs: list[asyncio.Future[bytes]] = []

    async def run_job(self, _job: Job, work: object, *arguments: object) -> bytes:
        job: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self.jobs.append(job)
        return await job


async def test_l5_who_asks_in_the_very_turn_in_which_a_job_ends_waits_for_the_next_one() -> None:
    document, workers = Changing(), Gate()
    states = LargeStates(DOCUMENT, cast(Document, document), cast(Workers, workers))
    first = asyncio.create_task(states.state(EMPTY_STATE_VECTOR))
    await until(lambda: len(workers.jobs) == 1)

    async def folded_meanwhile() -> bytes:
        document.now = b"second"  # so that what the first job has found is out of date
        return (await states.state(EMPTY_STATE_VECTOR)).step2

    workers.jobs[0].set_result(b"old")
    second = asyncio.create_task(folded_meanwhile())
    await until(lambda: len(workers.jobs) == 2)
    workers.jobs[1].set_result(b"new")
    assert await second == b"new"
    assert (await first).step2 == b"new"


async def test_l5_everyone_who_asks_meanwhile_shares_a_job() -> None:
    document, workers = Changing(), Gate()
    states = LargeStates(DOCUMENT, cast(Document, document), cast(Workers, workers))
    waiting = [asyncio.create_task(states.state(EMPTY_STATE_VECTOR)) for _ in range(10)]
    await until(lambda: len(workers.jobs) == 1)
    waiting[0].cancel()
    workers.jobs[0].set_result(b"one")
    found = await asyncio.gather(*waiting, return_exceptions=True)
    assert isinstance(found[0], asyncio.CancelledError)
    assert {state.step2 for state in found[1:] if not isinstance(state, BaseException)} == {b"one"}
    assert len(workers.jobs) == 1
