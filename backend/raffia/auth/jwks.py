"""Keys published by an identity provider: fetched on demand, cached, and fetched again for tokens with an unknown key.

Rules (tests quote these ids):
    JW1  Only `https`, or `http` on this machine. Redirects are not followed, responses are bounded, and each fetch has
        a deadline. Nothing in a token determines where keys come from.
    JW2  Keys are used for `max_age_s` after they were fetched. After half of that they are refreshed in the background,
        so that a short outage of the provider goes unnoticed. Older keys are not used.
    JW3  An unknown `kid` triggers a fetch, at most one every `REFETCH_S` for all tokens together; callers wait for it.
        Only then is the token refused, because its key may be newer than the cached ones.
    JW4  Without keys, tokens are not refused: `AuthUnavailableError` tells clients to try again later. After a failed
        fetch, the next one waits for `RETRY_S`.
    JW5  There is one fetch at a time; a caller that stops waiting does not cancel it for the others.
"""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic
from urllib.parse import urlsplit

import httpx

from raffia.auth.keys import BadKeyError, Key, KeySet, read_jwk_set
from raffia.errors import AuthUnavailableError, SettingsError
from raffia.runtime.logs import get_logger
from raffia.settings import is_loopback

log = get_logger("raffia.auth.jwks")

FETCH_S = 5.0
REFETCH_S = 5.0
RETRY_S = 1.0
MAX_ANSWER_BYTES = 256 * 1024

_PLAIN = re.compile(r"[!-~]+")  # printable ASCII: spaces and line breaks do not belong in a URL

Fetch = Callable[[], Awaitable[bytes]]


class FetchError(Exception):
    """The keys could not be fetched; the message gives the reason."""


class PublishedKeys:
    """The keys published at a URL.

    Args:
        url: where the JWK set is (JW1).
        max_age_s: how long keys are used, in seconds (JW2).
        fetch: returns the bytes of the set; by default from the URL.
        clock: monotonic time in seconds.
        sleep: waits for a number of seconds.

    Raises:
        SettingsError: keys must not come from this URL.
    """

    def __init__(
        self,
        url: str,
        max_age_s: float,
        *,
        fetch: Fetch | None = None,
        clock: Callable[[], float] = monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        check_url(url)
        self._url = url
        self._max_age_s = max_age_s
        self._fetch = fetch or (lambda: fetch_url(url))
        self._clock = clock
        self._sleep = sleep
        self._keys = KeySet(())
        self._fetched_s: float | None = None
        self._failed_s: float | None = None  # when the latest fetch failed; None if it succeeded
        self._task: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Sequence[Key]:
        """The keys that may have signed a token with this `kid` and algorithm; empty if there are none (JW3).

        Raises:
            AuthUnavailableError: the keys cannot be fetched (JW4).
        """
        asked_s = self._clock()
        age_s = self._age_s()
        if age_s is None or age_s >= self._max_age_s:
            await self._renewed(0.0)
        elif age_s >= self._max_age_s / 2 and self._may_try():
            self._start(0.0)
        found = self._keys.find(kid, algorithm)
        if not found and kid is not None and self._fetched_s is not None and self._fetched_s < asked_s:
            await self._renewed(self._fetched_s + REFETCH_S - asked_s)
            found = self._keys.find(kid, algorithm)
        return found

    async def close(self) -> None:
        """Cancel the current fetch."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _age_s(self) -> float | None:
        return None if self._fetched_s is None else self._clock() - self._fetched_s

    async def _renewed(self, wait_s: float) -> None:
        """Wait for a fetch that starts after `wait_s`, or for the current one."""
        if not self._may_try():
            raise AuthUnavailableError("the identity provider could not be reached a moment ago; try again later")
        await asyncio.shield(self._start(wait_s))
        if self._failed_s is not None:
            raise AuthUnavailableError("the identity provider's keys cannot be fetched; try again later")

    def _may_try(self) -> bool:
        """Whether a fetch is running or may be started (JW4)."""
        return self._task is not None or self._failed_s is None or self._clock() >= self._failed_s + RETRY_S

    def _start(self, wait_s: float) -> asyncio.Task[None]:
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._refresh(wait_s))
            self._task.add_done_callback(self._done)
        return self._task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("fetching keys failed", url=self._url, detail=repr(error))

    async def _refresh(self, wait_s: float) -> None:
        if wait_s > 0:
            await self._sleep(wait_s)
        try:
            keys = _usable(await self._fetch())
        except (FetchError, BadKeyError) as error:
            self._failed_s = self._clock()
            log.warning("identity provider's keys not fetched", url=self._url, detail=str(error))
        else:
            self._failed_s = None
            self._keys = KeySet(keys)
            self._fetched_s = self._clock()


def _usable(content: bytes) -> list[Key]:
    keys = read_jwk_set(content, secrets_too=False)
    if not keys:
        raise FetchError("the set has no usable key")
    return keys


def check_url(url: str) -> None:
    """Refuse URLs from which keys must not be fetched (JW1).

    Raises:
        SettingsError: the message says what is allowed.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise SettingsError(f"--auth-jwks-url (RAFFIA_AUTH_JWKS_URL): {url!r} is not a URL: {error}") from error
    safe = parts.scheme == "https" or (parts.scheme == "http" and is_loopback(parts.hostname or ""))
    if not safe or not parts.hostname or parts.username is not None or not _PLAIN.fullmatch(url):
        raise SettingsError(
            "--auth-jwks-url (RAFFIA_AUTH_JWKS_URL): write https://… (http only on this machine), without a user"
        )


async def fetch_url(url: str, deadline_s: float = FETCH_S) -> bytes:
    """The body at a URL: one GET without redirects, with a bounded response (JW1).

    Proxy variables are ignored. Certificates are verified against the system's trust store.

    Raises:
        FetchError: anything but status 200 and a complete body of at most `MAX_ANSWER_BYTES` within `deadline_s`.
    """
    try:
        async with asyncio.timeout(deadline_s):
            return await _get(url)
    except TimeoutError as error:
        raise FetchError(f"no complete HTTP response within {deadline_s:g} s") from error
    except httpx.RemoteProtocolError as error:
        raise FetchError(f"no complete HTTP response: {error}") from error
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        raise FetchError(str(error) or type(error).__name__) from error


async def _get(url: str) -> bytes:
    # An httpx timeout applies to each read; the deadline of fetch_url applies to the whole response.
    client = httpx.AsyncClient(verify=ssl.create_default_context(), trust_env=False, timeout=None)  # noqa: S113
    headers = {"accept": "application/json", "accept-encoding": "identity", "user-agent": "raffia"}
    async with client, client.stream("GET", url, headers=headers, follow_redirects=False) as answer:
        if answer.status_code != 200:
            raise FetchError(f"status {answer.status_code}")
        body = bytearray()
        async for chunk in answer.aiter_raw():
            body += chunk
            if len(body) > MAX_ANSWER_BYTES:
                raise FetchError(f"the response has more than {MAX_ANSWER_BYTES} bytes")
        return bytes(body)
