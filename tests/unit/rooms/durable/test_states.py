"""States for clients that have a part of the document: L5, L7 of the compactor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.rooms.durable.test_compactor import received, typed
from tests.unit.world import DOCUMENT, Author, World, text_of, until, world

from raffia.crdt.merge import merge
from raffia.crdt.update import read_update, write_state_vector
from raffia.rooms.durable import compactor, diff_budget
from raffia.runtime.jobs import Job
from raffia.wire.lib0 import write_buf

SIZE = 100_000


class Counted:
    """Counts the jobs by name."""

    def __init__(self, w: World, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.documents: list[str | None] = []
        self._run = w.hub.workers.run_job
        monkeypatch.setattr(w.hub.workers, "run_job", self.run_job)

    async def run_job(self, job: Job, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        self.documents.append(job.document)
        self.names.append(getattr(work, "__name__", None) or work.func.__name__)  # type: ignore[attr-defined]
        return await self._run(job, work, *args, **kwargs)


async def asked(w: World, clocks: dict[int, int]) -> list[bytes]:
    """What a newcomer with this state vector is sent."""
    client = await w.yws(synced=False)
    client.transport.take()
    client.send(b"\x00\x00" + write_buf(write_state_vector(clocks)))
    answers: list[bytes] = []

    def is_answered() -> bool:
        answers.extend(received(client))
        return bool(answers)

    await until(is_answered)
    client.connection.closed(1000)
    return answers


async def test_l7_who_has_everything_is_sent_no_structs_and_no_worker_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        author = Author(1)
        ana = await typed(w, author, SIZE)
        ana.update(author.delete(0, 3))
        await w.flushed()
        clocks = dict(w.hub.rooms[DOCUMENT].document.clocks)
        jobs = Counted(w, monkeypatch)
        for beyond in ({}, {77: 5}, {1: SIZE + 9}):
            (answer,) = await asked(w, clocks | beyond)
            facts = read_update(answer)
            assert (facts.sections, facts.deletes) == ([], [(1, [(0, 3)])])
        assert jobs.names == []


async def test_l7_a_stranger_gets_everything_and_no_worker_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        author = Author(1)
        await typed(w, author, SIZE)
        jobs = Counted(w, monkeypatch)
        for clock in range(1, 20):
            (answer,) = await asked(w, {1: clock, 99: clock})
            assert text_of(answer) == str(author.text)
        assert jobs.names == []


async def test_l7_one_that_lacks_a_little_gets_a_diff_from_a_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    async with world() as w:
        author = Author(1)
        await typed(w, author, SIZE)
        jobs = Counted(w, monkeypatch)
        have = str(author.text)[: SIZE - 10]
        answers = await asked(w, {1: SIZE - 10})
        assert sum(map(len, answers)) < 100
        assert "run_state" in jobs.names
        mine = Author(1)
        assert text_of(merge([mine.type(have), *answers])) == str(author.text)


async def test_l3_the_first_step_2_is_whole_for_many_clients_too_and_its_job_names_the_document(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(compactor, "MANY_CLIENTS", 0)
    async with world() as w:
        author = Author(1)
        ana = await typed(w, author, SIZE)
        await asked(w, {})  # folds
        ana.update(author.type("acknowledged before"))
        await w.flushed()
        jobs = Counted(w, monkeypatch)
        first, *_ = await asked(w, {})
        assert text_of(first) == str(author.text)
        assert (jobs.names, jobs.documents) == (["run_state"], [DOCUMENT])


async def test_l7_beyond_the_budget_everything_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diff_budget, "SHARE", 0.0)
    monkeypatch.setattr(diff_budget, "S_PER_BYTE", 0.3 / SIZE)
    async with world() as w:
        author = Author(1)
        await typed(w, author, SIZE)
        jobs = Counted(w, monkeypatch)
        sizes = [sum(map(len, await asked(w, {1: SIZE - number}))) for number in range(1, 20)]
        assert jobs.names.count("run_state") == 4
        assert all(size < 1000 for size in sizes[:4])
        assert all(size >= SIZE for size in sizes[4:])
