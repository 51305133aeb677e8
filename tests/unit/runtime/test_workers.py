"""Workers: processes for long work (Y1-Y7, WO1, WO2)."""

from __future__ import annotations

import asyncio
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from tests.unit.world import until

from raffia import errors
from raffia.crdt.merge import merge
from raffia.crdt.update import read_update
from raffia.errors import InternalError, RaffiaError, TooCostlyError, UpdateError
from raffia.runtime import jobs
from raffia.runtime import workers as workers_module
from raffia.runtime.jobs import FORGET_S, Job
from raffia.runtime.workers import Workers

OTHERS: set[psutil.Process] = set()


def children() -> list[psutil.Process]:
    return [child for child in psutil.Process().children() if child not in OTHERS and not is_gone(child.pid)]


@pytest.fixture(autouse=True)
def _others() -> None:
    """Servers that other tests of this process keep for each other are none of ours."""
    OTHERS.clear()
    OTHERS.update(children())


async def test_y2_no_process_is_started_before_there_is_work_and_none_is_left() -> None:
    async with Workers(2) as workers:
        assert children() == []
        assert await workers.run(merge, [b"\x00\x00", b"\x00\x00"]) == b"\x00\x00"
        assert len(children()) == 1
        assert await workers.run(os.getpid) == children()[0].pid  # the same one works again
    assert children() == []


async def test_y2_no_more_processes_than_chosen() -> None:
    async with Workers(2) as workers:
        pids = await asyncio.gather(*(workers.run(os.getpid) for _ in range(10)))
        assert len(set(pids)) <= 2
        assert os.getpid() not in pids
        assert len(children()) <= 2


async def test_y2_leaving_ends_what_still_runs() -> None:
    async with Workers(1) as workers:
        task = asyncio.create_task(workers.run(time.sleep, 600))
        await until(lambda: len(children()) == 1)
    assert children() == []
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_y1_the_work_of_a_worker_that_dies_is_done_again() -> None:
    async with Workers(1) as workers:
        first = await workers.run(os.getpid)
        task = asyncio.create_task(workers.run(time.sleep, 0.3))
        await asyncio.sleep(0)
        await until(lambda: psutil.Process(first).is_running())
        os.kill(first, signal.SIGKILL)
        await task
        assert await workers.run(os.getpid) != first


async def test_y1_a_worker_that_died_idle_is_replaced() -> None:
    async with Workers(1) as workers:
        first = await workers.run(os.getpid)
        os.kill(first, signal.SIGKILL)
        await until(lambda: first not in {child.pid for child in children()})
        await asyncio.sleep(0.05)  # the loop has noticed: its transports are closed
        assert await workers.run(os.getpid) != first


async def test_y1_once_and_no_more() -> None:
    async with Workers(1) as workers:
        with pytest.raises(InternalError, match="two worker processes died while running _exit"):
            await workers.run(os._exit, 3)
        assert await workers.run(abs, -2) == 2


async def test_exceptions_come_back_as_they_were() -> None:
    async with Workers(1) as workers:
        with pytest.raises(UpdateError) as caught:
            await workers.run(read_update, b"\xff\xff\xff\x7a")
        with pytest.raises(UpdateError) as here:
            read_update(b"\xff\xff\xff\x7a")
        assert str(caught.value) == str(here.value)
        with pytest.raises(ZeroDivisionError):
            await workers.run(divmod, 1, 0)


@pytest.mark.parametrize(
    "kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RaffiaError)]
)
def test_every_error_survives_the_way(kind: type[RaffiaError]) -> None:
    error = pickle.loads(pickle.dumps(kind("é")))
    assert type(error) is kind
    assert str(error) == "é"


async def test_y3_a_cancelled_wait_does_not_disturb_the_others() -> None:
    async with Workers(1) as workers:
        first = await workers.run(os.getpid)
        given_up = asyncio.create_task(workers.run(time.sleep, 0.2))
        others = [asyncio.create_task(workers.run(abs, -number)) for number in range(5)]
        await asyncio.sleep(0.05)
        given_up.cancel()
        assert await asyncio.gather(*others) == list(range(5))
        assert given_up.cancelled()
        assert await workers.run(os.getpid) == first


async def test_what_work_prints_does_not_get_between_the_results() -> None:
    async with Workers(1) as workers:
        await workers.run(print, "é" * 1000)
        assert await workers.run(abs, -1) == 1


def run_script(tmp_path: Path, text: str) -> str:
    script = tmp_path / "embedder.py"
    script.write_text(text)
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


def test_a_script_without_a_main_guard_works(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
import asyncio
from raffia.crdt.merge import merge
from raffia.runtime.workers import Workers
print("imported")
async def main():
    async with Workers(1) as workers:
        print(await workers.run(merge, [b"\\x00\\x00"]))
asyncio.run(main())
""",
    )
    assert out == "imported\nb'\\x00\\x00'\n"


def test_y1_on_uvloop_as_well(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
import asyncio, os, signal, uvloop
from raffia.runtime.workers import Workers
async def main():
    async with Workers(1) as workers:
        first = await workers.run(os.getpid)
        os.kill(first, signal.SIGKILL)  # while idle, and not noticed yet
        second = await workers.run(os.getpid)
        os.kill(second, signal.SIGKILL)
        await asyncio.sleep(0.1)  # noticed: the transports are closed
        third = await workers.run(os.getpid)
        print(len({first, second, third}))
        waiting = asyncio.create_task(workers.run(abs, -1))
        await asyncio.sleep(0)
        os.kill(third, signal.SIGKILL)  # at work
        print(await waiting)
uvloop.run(main())
""",
    )
    assert out == "3\n1\n"


def test_y2_our_own_death_ends_them(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
import asyncio, os, subprocess, sys
child = subprocess.run([sys.executable, "-c", '''
import asyncio, os
from raffia.runtime.workers import Workers
async def main():
    workers = Workers(1)
    print(await workers.run(os.getpid), flush=True)
    os._exit(9)
asyncio.run(main())
'''], capture_output=True, text=True)
print(child.stdout.strip())
""",
    )
    worker = int(out)
    deadline = time.monotonic() + 10
    while not is_gone(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_gone(worker)


class Tattletale:
    """Says when it is pickled."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        self._told.append("pickled")
        return str, ("é",)


async def test_y4_a_job_is_copied_when_its_turn_comes() -> None:
    told: list[str] = []
    async with Workers(1) as workers:
        assert await workers.run(len, "up") == 2
        first = asyncio.create_task(workers.run(time.sleep, 0.2))
        second = asyncio.create_task(workers.run(str, Tattletale(told)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert told == []
        await first
        assert await second == "é"
    assert told == ["pickled"]


def spin(seconds: float) -> str:
    """Use so much processor time."""
    until_s = time.process_time() + seconds
    while time.process_time() < until_s:
        pass
    return "spun"


async def test_y4_a_job_that_takes_too_long_is_ended_and_the_next_one_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FLOOR_S", 0.3)
    monkeypatch.setattr(workers_module, "SHORT_S", 0.1)
    async with Workers(2) as workers:
        with pytest.raises(TooCostlyError, match=r"longer than 0\.3 s of processor time"):
            await workers.run(pow, 3, 10**9)  # like pycrdt, it never lets another thread run
        assert await workers.run(len, "é") == 1


async def test_y4_a_job_that_waits_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    async with Workers(2) as workers:
        assert await workers.run(len, "up") == 2
        monkeypatch.setattr(workers_module, "START_S", 0.05)
        monkeypatch.setattr(workers_module, "PATIENCE", 0.01)
        with pytest.raises(TooCostlyError):
            await workers.run(time.sleep, 60)
        monkeypatch.undo()
        assert await workers.run(len, "é") == 1


async def test_y5_long_jobs_do_not_hold_up_short_ones() -> None:
    async with Workers(1) as workers:
        long = [asyncio.create_task(workers.run_job(Job(1 << 20), time.sleep, 600)) for _ in range(5)]
        await until(lambda: len(children()) == 1)
        assert await workers.run(abs, -1) == 1
        assert not any(task.done() for task in long)
    await asyncio.gather(*long, return_exceptions=True)


async def test_y5_a_short_job_that_takes_long_is_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers_module, "SHORT_S", 0.05)
    async with Workers(2) as workers:
        assert await workers.run(spin, 0.3) == "spun"


async def test_y6_a_person_has_one_job_at_a_time(tmp_path: Path) -> None:
    async with Workers(6) as workers:
        mine = [asyncio.create_task(workers.run_job(Job(9, person="eve"), time.sleep, 600)) for _ in range(6)]
        await until(lambda: len(children()) == 1)
        assert await workers.run_job(Job(9, person="ann"), abs, -1) == 1
        assert len(children()) == 2
    await asyncio.gather(*mine, return_exceptions=True)


async def test_y6_turns_are_given_back() -> None:
    async with Workers(2) as workers:
        for _ in range(3):
            with pytest.raises(ZeroDivisionError):
                await workers.run_job(Job(9, document="d", person="eve"), divmod, 1, 0)
        assert workers._short._turns == workers._long._turns == {}


async def test_y7_a_document_that_overran_is_refused_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "FLOOR_S", 0.2)
    monkeypatch.setattr(workers_module, "SHORT_S", 0.1)
    now_s = [100.0]
    async with Workers(2, clock=lambda: now_s[0]) as workers:
        slow = Job(1000, document="team/slow", person="eve")
        both = await asyncio.gather(*(workers.run_job(slow, spin, 60) for _ in range(2)), return_exceptions=True)
        assert [type(error) for error in both] == [TooCostlyError, TooCostlyError]
        assert len(workers.overruns) == 1
        before_s = time.process_time()
        with pytest.raises(TooCostlyError, match=r"spin on document team/slow took longer .* copy the content"):
            await workers.run_job(slow, spin, 60)
        assert time.process_time() - before_s < 0.1
        assert await workers.run_job(Job(1000, document="team/other"), abs, -1) == 1
        assert await workers.run_job(slow, abs, -1) == 1
        now_s[0] += FORGET_S + 1
        assert await workers.run_job(slow, spin, 0) == "spun"


def test_y2_our_own_death_ends_a_busy_one(tmp_path: Path) -> None:
    out = run_script(
        tmp_path,
        """
import subprocess, sys
child = subprocess.run([sys.executable, "-c", '''
import asyncio, os, signal
from raffia.runtime.jobs import Job
from raffia.runtime.workers import Workers
async def main():
    workers = Workers(1)
    print(await workers.run_job(Job(1 << 20), os.getpid), flush=True)
    busy = asyncio.create_task(workers.run_job(Job(1 << 30), pow, 3, 10**9))
    while workers._idle:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    os.kill(os.getpid(), signal.SIGKILL)
asyncio.run(main())
'''], stdout=subprocess.PIPE, text=True)
print(child.stdout.strip())
""",
    )
    deadline = time.monotonic() + 10
    worker = int(out)
    while not is_gone(worker) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert is_gone(worker)


def is_gone(worker: int) -> bool:
    try:
        return psutil.Process(worker).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is of Linux")
def test_wo2_a_parent_that_died_before_is_noticed() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "raffia.runtime.worker", "1"], input=b"", capture_output=True, timeout=30, check=False
    )
    assert done.returncode == 1
