"""Share links: LI3 of api/links.py, LI4 of api/link_signer.py, RA2 of api/revocations.py, with a clock that goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.support.tokens import SECRET, token
from tests.unit.api.rest import Rest, rest

from raffia.journal.testing.memory import MemoryJournal
from raffia.types import Revoked


def chief() -> dict[str, str]:
    return {"authorization": f"Bearer {token(raffia={'*': 'admin'}, sub='zoë')}"}


async def linked(here: Rest) -> tuple[str, dict[str, Any]]:
    made = await here("POST", "/documents", 201, json={"kind": "board"}, headers=chief())
    path = f"/documents/{made['id']}"
    return path, await here("POST", f"{path}/links", 201, json={"can": "read"}, headers=chief())


def holder(link: dict[str, Any]) -> dict[str, str]:
    return {"authorization": f"Bearer {link['url'].partition('#token=')[2]}"}


@pytest.mark.parametrize("way", ["rest", "elsewhere"])
async def test_li3_links_that_were_taken_back_are_not_given_again(tmp_path: Path, way: str) -> None:
    (tmp_path / "secret").write_text(SECRET)
    async with rest(data=tmp_path, auth_key_file=tmp_path / "secret", auth_leeway_s=1) as here:
        path, link = await linked(here)
        await here("GET", path, headers=holder(link))
        name = path.rpartition("/")[2]
        if way == "rest":
            said = await here("POST", "/revocations", 200, json={"links": name}, headers=chief())
            assert said == {"kind": "links", "subject": name, "ended": 0}
        else:  # another replica has said so, and has not come to the rest
            await here.raffia.revocations.revoke(Revoked.LINKS, name)
        assert (await here("GET", path, 401, headers=holder(link)))["error"]["reason"] == "revoked"
        assert await here("GET", f"{path}/links", headers=chief()) == []
        again = await here("POST", f"{path}/links", 201, json={"can": "read"}, headers=chief())
        assert again["id"] != link["id"]
        await here("GET", path, headers=holder(again))
        assert await here("GET", f"{path}/links", headers=chief()) == [again]


async def test_ra1_links_to_what_is_not_there_are_not_taken_back(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    async with rest(data=tmp_path, auth_key_file=tmp_path / "secret") as here:
        for number in range(3):
            await here("POST", "/revocations", 403, json={"links": f"nobody/{number}"}, headers=chief())
        assert here.raffia.revocations.all() == []
        path, _ = await linked(here)
        name = path.rpartition("/")[2]
        await here("DELETE", path, 204, headers=chief())
        await here("POST", "/revocations", 200, json={"links": name}, headers=chief())  # it can be restored
        assert [one.subject for one in here.raffia.revocations.all()] == [name]


async def test_rev4_links_are_taken_back_while_the_journal_is_away(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    journal = MemoryJournal()
    async with rest(data=tmp_path, auth_key_file=tmp_path / "secret", journal=journal) as here:
        path, link = await linked(here)
        name = path.rpartition("/")[2]
        journal.connection.is_cut = True
        await here("POST", "/revocations", 503, json={"links": name}, headers=chief())
        journal.connection.is_cut = False
        await here("GET", path, 401, headers=holder(link))


async def test_malformed_revocations(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(SECRET)
    async with rest(data=tmp_path, auth_key_file=tmp_path / "secret") as here:
        for body, status in (({"links": "../x"}, 400), ({}, 400), ({"user": "x" * 20_000}, 413)):
            answer = await here("POST", "/revocations", status, json=body, headers=chief())
            assert set(answer["error"]) == {"reason", "message"}


async def test_li4_a_link_outlives_the_longest_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "secret").write_text(SECRET)
    settings: dict[str, Any] = {"auth_key_file": tmp_path / "secret", "auth_max_lifetime_s": 600, "auth_leeway_s": 1}
    async with rest(data=tmp_path, **settings) as here:
        path, link = await linked(here)
        real = time.time
        for later_s in (1, 599, 601, 7200):
            admin = chief()
            monkeypatch.setattr(time, "time", lambda later_s=later_s: real() + later_s)
            (again,) = await here("GET", f"{path}/links", headers=admin)
            monkeypatch.undo()
            assert again["id"] == link["id"]
            if later_s <= 1:  # Raffia's own clock stands still
                await here("GET", path, headers=holder(again))
