"""Who may connect and what they may do: origins of pages, tokens, and the question to the hook.

Rules (tests quote these ids):
    A1  With a hook or keys: pages of the same origin and of the allow-list may connect.
    A2  Open without the flag of A3: only clients on this machine; of them pages of any loopback origin and of the
        allow-list, and whoever sends no Origin (scripts, devices). "The same origin" does not count here: a page whose
        name was made to point at 127.0.0.1 (DNS rebinding) would be of the same origin as Raffia.
    A3  Open to the network, by flag: clients from everywhere; pages as in A2 and of the same origin.
    A4  With a hook or keys, a connection without an Origin needs a token: cookies alone could be anybody's page.
    A5  Open mode on an address that others reach does not start without the flag.
    A6  Everything that is refused before the upgrade is refused with an HTTP status.
    A7  The user of a grant is None or a text, UTF-8, of `MAX_USER` characters at most: it becomes the author of edits,
        and an author that cannot be stored would keep them from being saved. Otherwise the hook is at fault: that is
        logged, and answered with "later".
    A8  With keys and no hook a token decides: who has none, or one that is not good, has to sign in (401, 4401);
        a token that does not name the document is refused like a document that is not there (403, 4403).
    A9  With keys and a hook a token that comes is verified first; then the hook decides (K5 of hooks.py).
    A10 The end of a hook's grant is None or a number of seconds; one that lies in the past is no access. Anything else
        is the hook's fault, as in A7.
    A11 What was revoked opens nothing: that is looked at last (REV3 of revocation.py). With keys and a hook, what the
        token says of itself (`jti`, `iat`, `lnk`, its `sub`) stays with the hook's grant, so that it can be revoked.
    A12 REST in the mode of A2 asks for the name under which it was asked too: a page whose name was made to point here
        sends no Origin with a GET.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
import math
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
from raffia.settings import Settings, is_loopback
from raffia.types import MAX_USER, Access, DocumentId, Grant

log = get_logger("raffia.auth.authorizer")

TOKEN_CLAIMS = frozenset({"jti", "iat", "lnk"})  # what a token can be revoked by
_DEFAULT_PORTS = {"http": 80, "https": 443}


def normal_origin(origin: str) -> str | None:
    """`scheme://host:port` in lower case, with the scheme's port when none is said; None when it is no origin."""
    try:
        parts = urlsplit(origin.strip())
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return None
    if not parts.scheme or not parts.hostname:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}:{port}" if port else f"{parts.scheme}://{host}"


def browser_origin(origin: str) -> str:
    """An origin as browsers write it: in lower case, and without the scheme's own port."""
    scheme, mark, rest = (normal_origin(origin) or origin).partition("://")
    port = _DEFAULT_PORTS.get(scheme)
    return f"{scheme}{mark}{rest.removesuffix(f':{port}')}" if port else origin


def is_same_origin(origin: str, host: str, scheme: str) -> bool:
    """Whether a page of `origin` came from the server that was asked as `host` (its Host header).

    A request that arrived over plain `ws` may have been `wss` before a proxy ended TLS: then both match.
    """
    schemes = ("https",) if scheme in {"wss", "https"} else ("http", "https")
    page = normal_origin(origin)
    return page is not None and any(normal_origin(f"{each}://{host}") == page for each in schemes)


def is_open(settings: Settings, authorize: Authorize | None) -> bool:
    """Whether nobody is asked who they are: neither a hook nor keys."""
    return authorize is None and not settings.has_tokens


def check_open_mode(settings: Settings, authorize: Authorize | None) -> None:
    """Refuse to start when anybody on the network could edit and nobody said so (A5).

    Raises:
        SettingsError: open, not on loopback, and no flag.
    """
    if is_open(settings, authorize) and not settings.on_loopback and not settings.open_to_the_network:
        raise SettingsError(
            f"without keys or an authorize hook everybody who reaches {settings.host} could edit every document; set "
            "--auth-key-file or --authorize module:function, or listen on 127.0.0.1, or say --open-to-the-network "
            "(RAFFIA_OPEN_TO_THE_NETWORK=true) if that is what you want"
        )


class Authorizer:
    """The door in front of every connection: origins, tokens, and the hook behind a deadline.

    Args:
        settings: says which origins, and which keys.
        authorize: the hook; None for none.
        clock: Unix time in seconds.
        revocations: what has been taken back; nothing when not given.
        addresses: who has been refused how often; of its own when not given.

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
            ForbiddenError: open mode and another machine, or the page's origin is not among those that may.
        """
        if self._this_machine and _is_remote(handshake.address):
            raise ForbiddenError(
                f"this server is open to its own machine only and {handshake.address} is another; start it with keys, "
                "with an authorize hook, or with --open-to-the-network"
            )
        origin = handshake.origin
        if origin is None or self._any_origin:
            return  # without an Origin it is no page; A4 is decided when the token is known
        page = normal_origin(origin)
        if page is not None:
            if page in self._allowed:
                return
            if self._open and is_loopback(urlsplit(page).hostname or ""):
                return
            if self._same_origin and is_same_origin(page, handshake.headers.get("host", ""), scheme):
                return
        raise ForbiddenError(
            f"pages of {origin} may not connect to {handshake.headers.get('host', 'this server')}; "
            "add the origin to RAFFIA_ALLOWED_ORIGINS"
        )

    def check_host(self, handshake: Handshake, scheme: str) -> None:
        """Refuse requests for a name that is not this machine's, where only this machine is served (A12).

        Raises:
            ForbiddenError: another name.
        """
        if not self._this_machine or self._any_origin:
            return
        host = handshake.headers.get("host", "")
        origin = normal_origin(f"{scheme}://{host}")
        name = urlsplit(origin).hostname if origin is not None else None
        if origin in self._allowed or (name is not None and is_loopback(name)):
            return
        raise ForbiddenError(f"{host or 'no host'} is not a name of this machine; ask for localhost")

    @property
    def is_open(self) -> bool:
        """Whether nobody is asked who they are."""
        return self._open

    @property
    def has_hook(self) -> bool:
        """Whether a hook decides."""
        return not self._open and self._authorize is not None

    @property
    def has_keys(self) -> bool:
        """Whether tokens are verified."""
        return self._verifier is not None

    async def claims(self, handshake: Handshake, token: str | None) -> Claims:
        """What a token says, whatever the document (A8).

        Raises:
            UnauthenticatedError: there is none, or it is not good or was revoked.
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
            raise AuthUnavailableError(f"nobody decided within {self._deadline_s:g} s; try again later") from error
        nowhere = DocumentId("-")  # no document is called so: what was taken back for one of them is looked at later
        self._revocations.check(Grant(Access.READ, claims.user, None, claims.kept, claims.issued_s), nowhere)
        return claims

    async def may(self, handshake: Handshake, token: str | None, document: DocumentId) -> Grant | None:
        """As `grant`, for one document of many that are listed: None instead of a refusal, and none is counted."""
        try:
            grant = await self._decide(handshake, token, document)
            self._revocations.check(grant, document)
        except (ForbiddenError, UnauthenticatedError):
            return None
        return grant

    def is_taken_back(self, claims: Claims, document: DocumentId) -> bool:
        """Whether what a token grants for a document was taken back (A11)."""
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
        """What a client may do with a document (A8, A9, A11, K1-K5).

        Raises:
            ForbiddenError: not this document, or there is none: the same answer.
            UnauthenticatedError: not signed in (A4), or with a token that is not good or was revoked.
            AuthUnavailableError: the hook failed or took too long, the keys cannot be fetched, or the hook granted
                what cannot be (A7, A10).
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
        """What the token or the hook says."""
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
            raise AuthUnavailableError(f"nobody decided within {self._deadline_s:g} s; try again later") from error
        except Exception as error:
            log.exception("authorize hook failed", document=document)
            raise AuthUnavailableError("cannot decide about access at the moment; try again later") from error
        return _issued(self._checked(answer, claims, document), claims, asked_s)

    def _checked(self, answer: object, claims: Claims | None, document: DocumentId) -> Grant:
        """A hook's answer as a grant, if it is one that can be (A7, A10)."""
        if not isinstance(answer, Grant):
            if answer is not None:
                log.error("authorize hook returned no Grant", document=document, got=type(answer).__name__)
            raise ForbiddenError("no access to this document")
        wrong = _wrong_user(answer.user)
        if wrong:
            log.error("authorize hook returned a user that cannot be stored", document=document, user=wrong)
            raise AuthUnavailableError("cannot decide about access at the moment; try again later")
        ends_s = answer.expires_s
        if ends_s is not None:
            if isinstance(ends_s, bool) or not isinstance(ends_s, int | float) or not math.isfinite(ends_s):
                log.error("authorize hook returned an end that is no time", document=document, got=repr(ends_s))
                raise AuthUnavailableError("cannot decide about access at the moment; try again later")
            if ends_s <= self._clock():
                raise UnauthenticatedError("access has ended; sign in again")
        if claims is not None and (ends_s is None or claims.expires_s < ends_s):
            return replace(answer, expires_s=claims.expires_s)
        return answer


def grant_of(claims: Claims, document: DocumentId) -> Grant:
    """What a verified token grants (A8).

    Raises:
        ForbiddenError: it does not name this document.
    """
    access = claims.access(document)
    if access is None:
        raise ForbiddenError("no access to this document")
    return Grant(access, claims.user, claims.expires_s, claims.kept, claims.issued_s)


def _issued(grant: Grant, claims: Claims | None, asked_s: float) -> Grant:
    """A hook's grant with the time from which on it counts, and what its token can be revoked by (A11)."""
    if claims is None:
        return replace(grant, issued_s=asked_s)
    own: dict[str, object] = {name: value for name, value in claims.kept.items() if name in TOKEN_CLAIMS}
    if claims.user is not None and claims.user != grant.user:
        own["sub"] = claims.user
    return replace(grant, issued_s=claims.issued_s, claims={**grant.claims, **own})


def _is_remote(address: str) -> bool:
    """Whether this is the address of another machine; Unix sockets and test clients have none."""
    try:
        ipaddress.ip_address(address)
    except ValueError:
        return False
    return not is_loopback(address)


def _wrong_user(user: object) -> str | None:
    """Why this cannot be the user of a grant (A7); None when it can."""
    if user is None:
        return None
    if not isinstance(user, str):
        return f"of type {type(user).__name__}; return a text or None"
    if len(user) > MAX_USER:
        return f"of {len(user)} characters; the limit is {MAX_USER}"
    try:
        user.encode()
    except UnicodeEncodeError as error:
        return f"that is not UTF-8 (character {error.start})"
    return None


async def _ask(hook: Authorize, handshake: Handshake, token: str | None, document: DocumentId) -> object:
    """The hook's answer, which is a `Grant` only if the hook is right."""
    if inspect.iscoroutinefunction(hook) or inspect.iscoroutinefunction(type(hook).__call__):
        answer = hook(handshake, token, document)
    else:
        answer = await asyncio.to_thread(hook, handshake, token, document)
    return await answer if inspect.isawaitable(answer) else answer
