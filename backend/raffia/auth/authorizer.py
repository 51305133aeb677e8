"""Decides who may connect and what they may do: checks origins, verifies tokens and calls the hook.

Rules (tests quote these ids):
    A1  With a hook or keys: pages of the same origin and of the allow-list may connect.
    A2  In open mode without the flag of A3: only clients on this machine, and of those only pages of loopback origins
        or of the allow-list, and clients that send no Origin (scripts, devices). "Same origin" is not enough here: a
        page whose host name was made to point at 127.0.0.1 (DNS rebinding) has the same origin as Raffia.
    A3  Open to the network, by flag: clients from anywhere; pages as in A2 and of the same origin.
    A4  With a hook or keys, a connection without an Origin needs a token: it could come from any page, with cookies.
    A5  Open mode on an address that is not loopback does not start without the flag.
    A6  Connections refused before the upgrade get an HTTP status.
    A7  The user of a grant is None or a string, valid UTF-8, of at most `MAX_USER` characters: it becomes the author
        of edits, and an author that cannot be stored would prevent saving them. Any other user is a bug in the hook:
        it is logged, and the client is told to try again later.
    A8  With keys and no hook the token decides: without a valid one the client has to sign in (401, 4401), and a token
        that does not name the document is refused like a missing document (403, 4403).
    A9  With keys and a hook, a token is verified first; then the hook decides (K5 of hooks.py).
    A10 The `expires_s` of a hook's grant is None or a Unix time in seconds; if it is past, access has ended. Anything
        else is a bug in the hook, as in A7.
    A11 Revoked grants are refused; this is checked last (REV3 of revocation.py). With keys and a hook, the token's
        `jti`, `iat`, `lnk` and `sub` stay with the hook's grant, so that it can be revoked by them.
    A12 In the mode of A2, REST also checks the Host: a page whose host name was made to point here sends no Origin
        with a GET.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import math
import re
import time
from collections.abc import Callable
from dataclasses import replace
from urllib.parse import urlsplit

from raffia.auth.address_limits import AddressLimits
from raffia.auth.claims import Claims
from raffia.auth.hooks import Authorize, Handshake, open_to_all
from raffia.auth.revocation import RevocationList
from raffia.auth.tokens import verifier_for
from raffia.errors import AuthUnavailableError, ForbiddenError, RaffiaError, SettingsError, UnauthenticatedError
from raffia.runtime.logs import get_logger
from raffia.runtime.short_cache import short_cache
from raffia.settings import Settings, is_loopback
from raffia.types import MAX_USER, Access, DocumentId, Grant

log = get_logger("raffia.auth.authorizer")

TOKEN_CLAIMS = frozenset({"jti", "iat", "lnk"})  # claims by which a token can be revoked
_DEFAULT_PORTS = {"http": 80, "https": 443}
_PAGES = {"ws": "http", "wss": "https"}  # the scheme of the page from which a WebSocket is opened
_ORIGIN = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(\[[0-9A-Fa-f:.]+\]|[^\s/?#@\\:\[\]]+)(:[0-9]{0,5})?/?")


@short_cache
def normal_origin(origin: str) -> str | None:
    """`scheme://host:port` in lower case, with the scheme's default port if there is none; None if not an origin."""
    origin = origin.strip()
    if _ORIGIN.fullmatch(origin) is None:
        return None  # user names, queries and backslashes, for which other readers find another host
    try:
        parts = urlsplit(origin)
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}" if port else f"{parts.scheme}://{host}"


def browser_origin(origin: str) -> str:
    """An origin as browsers write it: in lower case and without the scheme's default port."""
    scheme, mark, rest = (normal_origin(origin) or origin).partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}{mark}{rest.removesuffix(f':{port}')}" if port else origin


def is_same_origin(origin: str, host: str, scheme: str) -> bool:
    """Whether `origin` is the origin of the server that a request reached as `host` (its Host header).

    A request that arrived over `ws` or `http` may have been `wss` or `https` at a proxy that ends TLS: both match.
    """
    schemes = ("https",) if scheme in {"wss", "https"} else ("http", "https")
    page = normal_origin(origin)
    return page is not None and any(normal_origin(f"{each}://{host}") == page for each in schemes)


def is_open(settings: Settings, authorize: Authorize | None) -> bool:
    """Whether this is open mode: neither a hook nor keys decide about access."""
    return authorize is None and not settings.has_tokens


def check_open_mode(settings: Settings, authorize: Authorize | None) -> None:
    """Refuse to start if anyone on the network could edit and the flag for that is not set (A5).

    Raises:
        SettingsError: open mode, not on loopback, and no flag.
    """
    if is_open(settings, authorize) and not settings.on_loopback and not settings.open_to_the_network:
        raise SettingsError(
            f"without keys or an authorize hook, anyone who can reach {settings.host} could edit every document; set "
            "--auth-key-file or --authorize module:function, or listen on 127.0.0.1, or set --open-to-the-network "
            "(RAFFIA_OPEN_TO_THE_NETWORK=true) if that is what you want"
        )


class Authorizer:
    """Decides about every connection and request: origins, tokens, and the hook with a deadline.

    Args:
        settings: the allowed origins, the keys and the hook's deadline.
        authorize: the hook; None for no hook.
        clock: Unix time in seconds.
        revocations: what has been revoked; by default nothing.
        addresses: counts refusals per address; by default a new table.

    Raises:
        SettingsError: origins or keys that cannot be used.
    """

    __slots__ = (
        "_addresses",
        "_allowed",
        "_any_origin",
        "_authorize",
        "_clock",
        "_deadline_s",
        "_open",
        "_revocations",
        "_same_origin",
        "_this_machine",
        "_verifier",
    )

    def __init__(
        self,
        settings: Settings,
        authorize: Authorize | None,
        *,
        clock: Callable[[], float] = time.time,
        revocations: RevocationList | None = None,
        addresses: AddressLimits | None = None,
    ) -> None:
        self._open = is_open(settings, authorize)
        self._verifier = verifier_for(settings)
        self._authorize: Authorize | None = open_to_all if self._open else authorize
        self._clock = clock
        self._revocations = RevocationList() if revocations is None else revocations
        self._addresses = AddressLimits(settings) if addresses is None else addresses
        self._deadline_s = settings.preauth_s
        self._this_machine = self._open and not settings.open_to_the_network
        self._same_origin = not self._this_machine
        self._any_origin = "*" in settings.allowed_origins
        self._allowed = {normal_origin(origin) for origin in settings.allowed_origins if origin != "*"}
        if None in self._allowed:
            raise SettingsError(
                "--allowed-origins (RAFFIA_ALLOWED_ORIGINS): write origins as https://app.example.com, "
                f"not {', '.join(settings.allowed_origins)}"
            )

    def check_origin(self, handshake: Handshake, scheme: str) -> None:
        """Refuse clients and pages that may not connect (A1-A3); `scheme` is that of the request.

        Raises:
            ForbiddenError: a client on another machine in open mode, or a page whose origin is not allowed.
        """
        if self._this_machine and _is_remote(handshake.address):
            raise ForbiddenError(
                f"this server accepts connections from its own machine only, and {handshake.address} is another one; "
                "start it with keys, with an authorize hook, or with --open-to-the-network"
            )
        origin = handshake.origin
        if origin is None or self._any_origin:
            return  # not a page; A4 is checked once the token is known
        page = normal_origin(origin)
        if page is not None:
            if page in self._allowed:
                return
            if self._open and _is_this_machine(page):
                return
            if self._same_origin and is_same_origin(page, handshake.headers.get("host", ""), scheme):
                return
        raise ForbiddenError(
            f"pages of {origin} may not connect to {handshake.headers.get('host', 'this server')}; "
            "add the origin to RAFFIA_ALLOWED_ORIGINS"
        )

    def check_host(self, handshake: Handshake, scheme: str) -> None:
        """Refuse requests whose Host is not this machine, if only this machine is served (A12).

        Raises:
            ForbiddenError: the Host is another name.
        """
        if not self._this_machine or self._any_origin:
            return
        host = handshake.headers.get("host", "")
        origin = normal_origin(f"{_PAGES.get(scheme, scheme)}://{host}")
        if origin is not None and (origin in self._allowed or _is_this_machine(origin)):
            return
        raise ForbiddenError(f"{host or 'no host'} is not a name of this machine; use localhost")

    @property
    def is_open(self) -> bool:
        """Whether this is open mode: neither a hook nor keys decide about access."""
        return self._open

    @property
    def has_hook(self) -> bool:
        """Whether a hook decides about access."""
        return not self._open and self._authorize is not None

    @property
    def has_keys(self) -> bool:
        """Whether tokens are verified."""
        return self._verifier is not None

    async def claims(self, handshake: Handshake, token: str | None) -> Claims:
        """The claims of a token, independent of any document (A8).

        Raises:
            UnauthenticatedError: the token is missing, invalid or revoked.
            AuthUnavailableError: the keys cannot be fetched.
            TooFastError: as in `grant`.
        """
        self._addresses.check(handshake.address, time.monotonic())
        try:
            return await self._claims(token)
        except UnauthenticatedError:
            self._addresses.failed(handshake.address, time.monotonic())
            raise

    async def _claims(self, token: str | None) -> Claims:
        if self._verifier is None or not token:
            raise UnauthenticatedError("a token is needed to sign in")
        try:
            async with asyncio.timeout(self._deadline_s):
                claims = await self._verifier.verify(token, self._clock())
        except TimeoutError as error:
            raise AuthUnavailableError(
                f"no decision about access within {self._deadline_s:g} s; try again later"
            ) from error
        nowhere = DocumentId("-")  # not a valid id: revoked links are checked later, document by document
        self._revocations.check(Grant(Access.READ, claims.user, None, claims.kept, claims.issued_s), nowhere)
        return claims

    async def may(self, handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        """Like `grant`, for a listing: returns None if access is refused, without counting the refusal (AD4)."""
        try:
            grant = await self._decide(handshake, token, document)
            self._revocations.check(grant, document)
        except (ForbiddenError, UnauthenticatedError):
            return None
        return grant

    def is_taken_back(self, claims: Claims, document: DocumentId) -> bool:
        """Whether a token's grant for a document was revoked (A11)."""
        try:
            self._revocations.check(grant_of(claims, document), document)
        except RaffiaError:
            return True
        return False

    async def close(self) -> None:
        """Stop fetching keys."""
        if self._verifier is not None:
            await self._verifier.close()

    async def grant(self, handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
        """The grant of a client for a document (A8, A9, A11, K1-K5).

        Raises:
            ForbiddenError: no access to this document, whether it exists or not.
            UnauthenticatedError: not signed in (A4), or the token is invalid or revoked.
            AuthUnavailableError: the hook failed or took too long, the keys cannot be fetched, or the hook returned an
                invalid grant (A7, A10).
            TooFastError: this address was refused too often (AD4 of address_limits.py).
        """
        self._addresses.check(handshake.address, time.monotonic())
        try:
            grant = await self._decide(handshake, token, document)
            self._revocations.check(grant, document)
        except (UnauthenticatedError, ForbiddenError):
            self._addresses.failed(handshake.address, time.monotonic())
            raise
        return grant

    async def _decide(self, handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
        """What the token or the hook grants, before revocations are checked."""
        if not self._open and not token and (handshake.origin is None or self._authorize is None):
            raise UnauthenticatedError(
                "a connection without an Origin header needs a token"
                if self._authorize is not None
                else "a token is needed to sign in"
            )
        asked_s = self._clock()
        try:
            async with asyncio.timeout(self._deadline_s):
                claims = await self._verifier.verify(token, self._clock()) if self._verifier and token else None
                if self._authorize is None:
                    assert claims is not None  # there is a token, and without a hook there are keys
                    return grant_of(claims, document)
                if claims is not None:
                    handshake = replace(handshake, claims=claims.all)
                answer = await _ask(self._authorize, handshake, token, document)
        except RaffiaError:
            raise
        except TimeoutError as error:
            log.warning("access not decided in time", document=document, deadline_s=self._deadline_s)
            raise AuthUnavailableError(
                f"no decision about access within {self._deadline_s:g} s; try again later"
            ) from error
        except Exception as error:
            log.exception("authorize hook failed", document=document)
            raise AuthUnavailableError("access cannot be decided at the moment; try again later") from error
        return _issued(self._checked(answer, claims, document), claims, asked_s)

    def _checked(self, answer: object, claims: Claims | None, document: DocumentId) -> Grant:
        """Turn a hook's answer into a grant, if it is valid (A7, A10)."""
        if not isinstance(answer, Grant):
            if answer is not None:
                log.error("authorize hook did not return a Grant", document=document, got=type(answer).__name__)
            raise ForbiddenError("no access to this document")
        wrong = _wrong_user(answer.user)
        if wrong:
            log.error("authorize hook returned a user that cannot be stored", document=document, user=wrong)
            raise AuthUnavailableError("access cannot be decided at the moment; try again later")
        ends_s = answer.expires_s
        if ends_s is not None:
            if isinstance(ends_s, bool) or not isinstance(ends_s, int | float) or not math.isfinite(ends_s):
                log.error(
                    "authorize hook returned an expires_s that is not a time", document=document, got=repr(ends_s)
                )
                raise AuthUnavailableError("access cannot be decided at the moment; try again later")
            if ends_s <= self._clock():
                raise UnauthenticatedError("access has ended; sign in again")
        if claims is not None and (ends_s is None or claims.expires_s < ends_s):
            return replace(answer, expires_s=claims.expires_s)
        return answer


def grant_of(claims: Claims, document: DocumentId) -> Grant:
    """The grant of a verified token for a document (A8).

    Raises:
        ForbiddenError: the token does not name this document.
    """
    access = claims.access(document)
    if access is None:
        raise ForbiddenError("no access to this document")
    return Grant(access, claims.user, claims.expires_s, claims.kept, claims.issued_s)


def _issued(grant: Grant, claims: Claims | None, asked_s: float) -> Grant:
    """A hook's grant with the time at which it was issued and the claims by which it can be revoked (A11)."""
    if claims is None:
        return replace(grant, issued_s=asked_s)
    own: dict[str, object] = {name: value for name, value in claims.kept.items() if name in TOKEN_CLAIMS}
    if claims.user is not None and claims.user != grant.user:
        own["sub"] = claims.user
    return replace(grant, issued_s=claims.issued_s, claims={**grant.claims, **own})


@short_cache
def _is_this_machine(origin: str) -> bool:
    """Whether the host of a normal origin is this machine."""
    return is_loopback(urlsplit(origin).hostname or "")


@short_cache
def _is_remote(address: str) -> bool:
    """Whether this is the address of another machine; Unix sockets and test clients have no address."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return not is_loopback(address)


def _wrong_user(user: object) -> str | None:
    """What is wrong with the user of a grant (A7); None if it is valid."""
    if user is None:
        return None
    if not isinstance(user, str):
        return f"of type {type(user).__name__}; return a string or None"
    if len(user) > MAX_USER:
        return f"of {len(user)} characters; the limit is {MAX_USER}"
    try:
        user.encode()
    except UnicodeEncodeError as error:
        return f"that is not valid UTF-8 (character {error.start})"
    return None


async def _ask(hook: Authorize, handshake: Handshake, token: str | None, document: DocumentId) -> object:
    """Call the hook. What it returns is a `Grant` only if the hook is correct."""
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        answer = hook(handshake, token, document)
    else:
        answer = await asyncio.to_thread(hook, handshake, token, document)
    return await answer if inspect.isawaitable(answer) else answer
