"""SF1-SF3 of single_flight.py."""

from __future__ import annotations

import asyncio

import pytest
from tests.unit.world import until

from raffia.runtime.single_flight import SingleFlight


class Work:
    """Work that ends when it is told."""

    def __init__(self) -> None:
        self.started: list[asyncio.Future[int]] = []

    async def __call__(self) -> int:
        end: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self.started.append(end)
        return await end


async def started(work: Work, count: int) -> None:
    await until(lambda: len(work.started) >= count)


async def test_sf1_all_who_ask_meanwhile_share_one_task_and_keys_do_not_share() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    asked = [asyncio.create_task(flight.run(key, work)) for key in ("a", "a", "b", "a")]
    await started(work, 2)
    assert "a" in flight
    assert "c" not in flight
    for number, end in enumerate(work.started):
        end.set_result(number)
    assert await asyncio.gather(*asked) == [0, 0, 1, 0]
    assert len(work.started) == 2
    assert flight.tasks == []


async def test_sf2_a_task_that_has_ended_is_not_handed_out_in_the_turn_in_which_it_ends() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    first = asyncio.create_task(flight.run("a", work))
    await started(work, 1)
    seen: list[bool] = []

    async def late() -> int:
        seen.append("a" in flight)
        return await flight.run("a", work)

    work.started[0].set_result(1)
    second = asyncio.create_task(late())  # runs in the turn in which the task ends, before its callbacks
    await started(work, 2)
    assert seen == [False]
    work.started[1].set_result(2)
    assert (await first, await second) == (1, 2)
    assert "a" not in flight


async def test_sf3_a_caller_that_leaves_does_not_end_the_work_of_others() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    leaving, staying = (asyncio.create_task(flight.run("a", work)) for _ in range(2))
    await started(work, 1)
    leaving.cancel()
    with pytest.raises(asyncio.CancelledError):
        await leaving
    work.started[0].set_result(7)
    assert await staying == 7


async def test_an_error_is_raised_to_all_and_the_next_one_tries_again() -> None:
    flight: SingleFlight[str, int] = SingleFlight()
    work = Work()
    asked = [asyncio.create_task(flight.run("a", work)) for _ in range(2)]
    await started(work, 1)
    work.started[0].set_exception(OSError("away"))
    found = await asyncio.gather(*asked, return_exceptions=True)
    assert [type(one) for one in found] == [OSError, OSError]
    again = asyncio.create_task(flight.run("a", work))
    await started(work, 2)
    work.started[1].set_result(3)
    assert await again == 3
