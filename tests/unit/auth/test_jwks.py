"""Published keys: JW1-JW5 of jwks.py, with a clock and a fetch of the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence

import pytest
from tests.support.tokens import ec_key, jwk

from raffia.auth.jwks import REFETCH_S, RETRY_S, FetchError, PublishedKeys, check_url
from raffia.auth.keys import Key
from raffia.errors import AuthUnavailableError, SettingsError

URL = "https://id.example/keys"


def published(*kids: str) -> bytes:
    return json.dumps({"keys": [jwk(ec_key(), kid) for kid in kids]}).encode()


class World:
    """A provider whose answers the test gives, and a clock that only the test moves."""

    def __init__(self, max_age_s: float = 600) -> None:
        self.now_s = 1000.0
        self.answer: bytes | Exception = published("a")
        self.fetches = 0
        self.hold: asyncio.Event | None = None
        self.slept: list[float] = []
        self.keys = PublishedKeys(URL, max_age_s, fetch=self.fetch, clock=lambda: self.now_s, sleep=self.sleep)

    async def fetch(self) -> bytes:
        self.fetches += 1
        if self.hold is not None:
            await self.hold.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)

    async def find(self, kid: str | None = "a", algorithm: str = "ES256") -> list[str | None]:
        found: Sequence[Key] = await self.keys.find(kid, algorithm)
        return [key.kid for key in found]

    async def settled(self) -> None:
        for _ in range(5):
            await asyncio.sleep(0)


async def test_jw2_keys_are_fetched_once_and_kept() -> None:
    w = World()
    assert w.fetches == 0
    for _ in range(3):
        assert await w.find() == ["a"]
    assert await w.find(None) == ["a"]
    assert w.fetches == 1
    w.now_s += 1
    assert await w.find("a", "RS256") == []
    assert w.fetches == 2  # JW3


async def test_jw2_half_way_they_are_fetched_in_the_background() -> None:
    w = World()
    await w.find()
    w.now_s += 299
    await w.find()
    assert w.fetches == 1
    w.now_s += 1
    w.hold = asyncio.Event()
    w.answer = published("a", "b")
    assert await w.find() == ["a"]  # nobody waits
    await w.settled()
    assert w.fetches == 2
    w.hold.set()
    await w.settled()
    assert await w.find("b") == ["b"]
    assert w.fetches == 2


async def test_jw2_a_provider_that_is_away_for_a_while_is_not_noticed() -> None:
    w = World()
    await w.find()
    w.answer = FetchError("away")
    for _ in range(299):
        w.now_s += 1
        assert await w.find() == ["a"]
    for _ in range(300):
        w.now_s += 1
        assert await w.find() == ["a"]
        await w.settled()
    w.now_s += 1
    with pytest.raises(AuthUnavailableError):  # older ones are not used: they may have been withdrawn
        await w.find()
    w.answer = published("a")
    w.now_s += RETRY_S
    assert await w.find() == ["a"]


async def test_jw2_a_key_that_was_withdrawn_is_not_used_for_longer() -> None:
    w = World()
    await w.find()
    w.answer = published("b")
    w.now_s += 600
    assert await w.find("b") == ["b"]
    assert await w.find("a") == []


async def test_jw3_a_rotated_key_is_found_at_once() -> None:
    w = World()
    await w.find()
    w.answer = published("a", "b")
    w.now_s += REFETCH_S
    assert await w.find("b") == ["b"]
    assert w.fetches == 2
    assert w.slept == []


async def test_jw3_unknown_names_fetch_once_for_all_and_seldom() -> None:
    w = World()
    await w.find()
    w.now_s += 1
    found = await asyncio.gather(*(w.find(f"x{number}") for number in range(100)))
    assert found == [[]] * 100
    assert w.fetches == 2
    assert w.slept == [REFETCH_S - 1]
    for number in range(3):
        w.now_s += 1
        assert await w.find(f"y{number}") == []
    assert w.fetches == 5
    assert w.now_s == 1000 + 4 * REFETCH_S
    assert await w.find("a") == ["a"]


async def test_jw3_a_token_without_a_name_asks_for_nothing() -> None:
    w = World()
    await w.find()
    w.now_s += 100
    assert await w.find(None, "RS256") == []
    assert w.fetches == 1


async def test_jw3_the_first_fetch_is_the_answer() -> None:
    w = World()
    assert await w.find("unknown") == []
    assert w.fetches == 1


@pytest.mark.parametrize(
    "answer",
    [FetchError("refused"), b"", b"garbage", b"{}", b'{"keys": []}', b'{"keys": [{"kty": "oct", "k": "AAAA"}]}'],
)
async def test_jw4_without_keys_it_is_later(answer: bytes | Exception) -> None:
    w = World()
    w.answer = answer
    with pytest.raises(AuthUnavailableError):
        await w.find()
    with pytest.raises(AuthUnavailableError):
        await w.find()
    assert w.fetches == 1  # not again within RETRY_S
    w.now_s += RETRY_S
    w.answer = published("a")
    assert await w.find() == ["a"]


async def test_jw4_when_it_is_away_an_unknown_name_is_not_refused() -> None:
    w = World()
    await w.find()
    w.now_s += 10
    w.answer = FetchError("away")
    with pytest.raises(AuthUnavailableError):
        await w.find("b")
    assert await w.find("a") == ["a"]


async def test_jw5_one_fetch_for_all_and_nobody_ends_it_for_others() -> None:
    w = World()
    w.hold = asyncio.Event()
    asks = [asyncio.create_task(w.find()) for _ in range(10)]
    await w.settled()
    asks[0].cancel()
    await w.settled()
    assert asks[0].cancelled()
    w.hold.set()
    assert await asyncio.gather(*asks[1:]) == [["a"]] * 9
    assert w.fetches == 1


async def test_an_error_that_nobody_expects_is_raised_and_not_kept(caplog: pytest.LogCaptureFixture) -> None:
    w = World()
    w.answer = RuntimeError("a bug")
    with pytest.raises(RuntimeError):
        await w.find()
    await w.settled()
    assert "fetching keys failed" in caplog.text
    w.answer = published("a")
    assert await w.find() == ["a"]


async def test_closing_ends_what_is_under_way() -> None:
    w = World()
    w.hold = asyncio.Event()
    ask = asyncio.create_task(w.find())
    await w.settled()
    await w.keys.close()
    with pytest.raises(asyncio.CancelledError):
        await ask
    await w.keys.close()


@pytest.mark.parametrize(
    "url", ["https://id.example/keys", "https://id.example:8443/k?x=1", "http://127.0.0.1:1/k", "http://[::1]:1/",
            "http://localhost/k", "HTTPS://id.example"],
)  # fmt: skip
def test_jw1_urls_that_keys_may_come_from(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    "url", ["http://id.example/keys", "file:///etc/passwd", "ftp://id.example/", "id.example/keys", "", "https://",
            "https://u:p@id.example/", "https://id.example:99999/", "http://127.0.0.1.evil.example/", "https://é.example",
            "https://id.example/\r\nx: y", " https://id.example", "https://id.example/ x"],
)  # fmt: skip
def test_jw1_other_urls_are_refused_at_the_start(url: str) -> None:
    with pytest.raises(SettingsError, match="RAFFIA_AUTH_JWKS_URL"):
        check_url(url)
