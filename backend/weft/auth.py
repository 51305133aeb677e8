"""Who may connect and what they may do: origins of pages, and the question to the hook.

Rules (tests quote these ids):
    A1  With a hook: pages of the same origin and of the allow-list may connect.
    A2  Open without the flag of A3: only clients on this machine; of them pages of any loopback origin and of the
        allow-list, and whoever sends no Origin (scripts, devices). "The same origin" does not count here: a page whose
        name was made to point at 127.0.0.1 (DNS rebinding) would be of the same origin as Weft.
    A3  Open to the network, by flag: clients from everywhere; pages as in A2 and of the same origin.
    A4  With a hook, a connection without an Origin needs a token: cookies alone could be anybody's page.
    A5  Open mode on an address that others reach does not start without the flag.
    A6  Everything that is refused before the upgrade is refused with an HTTP status.
    A7  The user of a grant is None or a text, UTF-8, of `MAX_USER` characters at most: it becomes the author of edits,
        and an author that cannot be stored would keep them from being saved. Otherwise the hook is at fault: that is
        logged, and answered with "later".

Tokens that Weft checks by itself (JWT) belong into this file: as one more `Authorize`.
"""

from __future__ import annotations

import asyncio
import inspect
import ipaddress
from urllib.parse import urlsplit

from weft.errors import AuthUnavailableError, ForbiddenError, SettingsError, UnauthenticatedError, WeftError
from weft.hooks import Authorize, Handshake, open_to_all
from weft.logs import get_logger
from weft.settings import Settings, is_loopback
from weft.types import MAX_USER, DocumentId, Grant

log = get_logger("weft.auth")

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


def is_same_origin(origin: str, host: str, scheme: str) -> bool:
    """Whether a page of `origin` came from the server that was asked as `host` (its Host header).

    A request that arrived over plain `ws` may have been `wss` before a proxy ended TLS: then both match.
    """
    schemes = ("https",) if scheme in {"wss", "https"} else ("http", "https")
    page = normal_origin(origin)
    return page is not None and any(normal_origin(f"{each}://{host}") == page for each in schemes)


def check_open_mode(settings: Settings, authorize: Authorize | None) -> None:
    """Refuse to start when anybody on the network could edit and nobody said so (A5).

    Raises:
        SettingsError: open, not on loopback, and no flag.
    """
    if authorize is None and not settings.on_loopback and not settings.open_to_the_network:
        raise SettingsError(
            f"without an authorize hook everybody who reaches {settings.host} could edit every document; set "
            "--authorize module:function, or listen on 127.0.0.1, or say --open-to-the-network "
            "(WEFT_OPEN_TO_THE_NETWORK=true) if that is what you want"
        )


class Gate:
    """The door in front of every connection: origins, and the hook behind a deadline."""

    __slots__ = ("_allowed", "_any_origin", "_authorize", "_deadline_s", "_open", "_same_origin", "_this_machine")

    def __init__(self, settings: Settings, authorize: Authorize | None) -> None:
        self._open = authorize is None
        self._authorize: Authorize = authorize or open_to_all
        self._deadline_s = settings.preauth_s
        self._this_machine = self._open and not settings.open_to_the_network
        self._same_origin = not self._this_machine
        self._any_origin = "*" in settings.allowed_origins
        self._allowed = {normal_origin(origin) for origin in settings.allowed_origins if origin != "*"}
        if None in self._allowed:
            raise SettingsError(
                "--allowed-origins (WEFT_ALLOWED_ORIGINS): write origins as https://app.example.com, "
                f"not {', '.join(settings.allowed_origins)}"
            )

    def check_origin(self, handshake: Handshake, scheme: str) -> None:
        """Refuse clients and pages that may not connect (A1-A3); `scheme` is that of the request.

        Raises:
            ForbiddenError: open mode and another machine, or the page's origin is not among those that may.
        """
        if self._this_machine and _is_remote(handshake.address):
            raise ForbiddenError(
                f"this server is open to its own machine only and {handshake.address} is another; start it with an "
                "authorize hook, or with --open-to-the-network"
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
            "add the origin to WEFT_ALLOWED_ORIGINS"
        )

    async def grant(self, handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
        """Ask the hook (K1-K4).

        Raises:
            ForbiddenError: not this document, or there is none: the same answer.
            UnauthenticatedError: not signed in (A4).
            AuthUnavailableError: the hook failed, took too long, or named a user that cannot be stored (A7).
        """
        if not self._open and handshake.origin is None and not token:
            raise UnauthenticatedError("a connection without an Origin header needs a token")
        try:
            async with asyncio.timeout(self._deadline_s):
                answer = await _ask(self._authorize, handshake, token, document)
        except WeftError:
            raise
        except TimeoutError as error:
            log.warning("authorize hook too slow", document=document, deadline_s=self._deadline_s)
            raise AuthUnavailableError(f"nobody decided within {self._deadline_s:g} s; try again later") from error
        except Exception as error:
            log.exception("authorize hook failed", document=document)
            raise AuthUnavailableError("cannot decide about access at the moment; try again later") from error
        if isinstance(answer, Grant):
            wrong = _wrong_user(answer.user)
            if wrong:
                log.error("authorize hook returned a user that cannot be stored", document=document, user=wrong)
                raise AuthUnavailableError("cannot decide about access at the moment; try again later")
            return answer
        if answer is not None:
            log.error("authorize hook returned no Grant", document=document, got=type(answer).__name__)
        raise ForbiddenError("no access to this document")


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
