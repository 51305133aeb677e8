"""QU1, QU2, DO6: how much one person may make by short requests."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.unit.api.rest import rest

from raffia.api.quota import BURST_BYTES, BYTES_PER_S, LEAST_BYTES, MakingQuota
from raffia.errors import TooFastError
from raffia.rooms import editing


class Clock:
    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def test_qu1_a_budget_is_used_up_and_gains() -> None:
    clock = Clock()
    quota = MakingQuota(clock)
    for _ in range(BURST_BYTES // LEAST_BYTES):
        quota.charge("user zoe", 0)
    with pytest.raises(TooFastError, match="try again in 1 s"):
        quota.charge("user zoe", 0)
    quota.charge("user bo", 0)
    clock.now_s += LEAST_BYTES / BYTES_PER_S
    quota.charge("user zoe", 0)
    with pytest.raises(TooFastError, match="try again in 10 s"):
        quota.charge("user zoe", 10 * BYTES_PER_S)


def test_qu1_what_is_larger_than_the_budget_is_made_when_it_is_full() -> None:
    clock = Clock()
    quota = MakingQuota(clock)
    quota.charge("user zoe", 10 * BURST_BYTES)
    with pytest.raises(TooFastError):
        quota.charge("user zoe", 0)
    clock.now_s += BURST_BYTES / BYTES_PER_S
    quota.charge("user zoe", 10 * BURST_BYTES)


def test_qu2_clients_on_this_machine_are_not_counted() -> None:
    quota = MakingQuota(Clock())
    for _ in range(3):
        quota.charge(None, BURST_BYTES)


async def test_do6_one_copy_at_a_time_for_each_person(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = editing.copy_of
    at_once = most = 0

    async def counted(*args: object, **options: object) -> object:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        try:
            await asyncio.sleep(0)
            return await real(*args, **options)  # type: ignore[arg-type]
        finally:
            at_once -= 1

    monkeypatch.setattr(editing, "copy_of", counted)
    async with rest(data=tmp_path) as here:
        made = await here("POST", "/documents", 201, json={"kind": "document"})
        await asyncio.gather(*(here("POST", f"/documents/{made['id']}/duplicate", 201) for _ in range(6)))
    assert most == 1


async def test_do6_new_documents_and_copies_are_charged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    charged: list[tuple[str, int]] = []
    monkeypatch.setattr(MakingQuota, "charge", lambda _self, who, size_bytes: charged.append((who, size_bytes)))
    async with rest(data=tmp_path) as here:
        made = await here("POST", "/documents", 201, json={"kind": "document"})
        await here("POST", f"/documents/{made['id']}/duplicate", 201)

        def refuse(_self: MakingQuota, _who: str, _size_bytes: int) -> None:
            raise TooFastError("later")

        monkeypatch.setattr(MakingQuota, "charge", refuse)
        for path in ("/documents", f"/documents/{made['id']}/duplicate"):
            answer = await here("POST", path, 503, json={"kind": "document"})
            assert answer["error"]["reason"] == "too-fast"
        assert len((await here("GET", "/documents", 200))["documents"]) == 2
    assert [who for who, _ in charged] == [None, None]
    assert charged[0][1] == 0 < charged[1][1]
