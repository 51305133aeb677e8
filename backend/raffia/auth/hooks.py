"""Hooks: what an operator or a host app plugs into Raffia. A hook returns a value; nothing is passed to be changed.

Rules (tests quote these ids):
    K1  `authorize` is asked once for every document a connection wants, and again when a token is renewed; its
        answer, a `Grant`, holds for that document and that session alone.
    K2  Closed by default: `None` is "forbidden"; so is a `ForbiddenError`. `UnauthenticatedError` asks to sign in.
    K3  Anything else that a hook raises, and an answer that takes longer than `preauth_s`, means that the one who
        decides cannot be asked: the client is told to try again later (1013), never that it is signed out.
    K4  A hook may be `async`. One that is not runs on a thread, so that it may block.
    K5  Where Raffia has keys too, a token is verified first: a bad one never gets to the hook, the claims of a good one
        are in `handshake.claims`. Then the hook alone decides, and its grant ends with the token at the latest.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from raffia.errors import SettingsError
from raffia.types import Access, DocumentId, Grant

TOKEN_SUBPROTOCOL = "raffia.token."  # noqa: S105 - what stands in front of a token


@dataclass(frozen=True, slots=True)
class Handshake:
    """The HTTP request with which a connection came.

    Attributes:
        address: the client's address, after the proxies that are believed; empty when unknown.
        path: path that was asked for, decoded, without a query.
        headers: by lower-case name; a repeated one is joined with ", ".
        query: parameters of the URL; of a repeated one the last.
        origin: the page that opened the connection, as the browser says; None for everything but browsers.
        claims: what stands in the token, once Raffia has verified it; None without a token, or when Raffia has no keys.
    """

    address: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    origin: str | None = None
    claims: Mapping[str, Any] | None = None

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> Handshake:
        """Read an ASGI scope. Made when it is needed and dropped: a connection keeps none."""
        headers: dict[str, str] = {}
        for raw_name, raw_value in scope["headers"]:
            name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        client = scope.get("client")
        return cls(
            address=client[0] if client else "",
            path=scope["path"],
            headers=headers,
            query=dict(parse_qsl(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)),
            origin=headers.get("origin"),
        )

    @property
    def token(self) -> str | None:
        """What a socket's client signs in with: `?token=`, `Authorization: Bearer`, or a subprotocol, in this order."""
        return self.query.get("token") or self.bearer or self._subprotocol_token()

    @property
    def bearer(self) -> str | None:
        """What a request signs in with: `Authorization: Bearer`. REST takes tokens from nowhere else."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value.strip() or None if scheme.lower() == "bearer" else None

    def _subprotocol_token(self) -> str | None:
        """The rest of an offered `raffia.token.…`: the one way in which a browser sends a token outside of the URL."""
        for offered in self.headers.get("sec-websocket-protocol", "").split(","):
            name = offered.strip()
            if name.startswith(TOKEN_SUBPROTOCOL):
                return name.removeprefix(TOKEN_SUBPROTOCOL) or None
        return None


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """The subprotocol that is answered: the first that holds no token; None when none is offered.

    A browser fails its socket when none of those it offered is answered, so a token that stands alone is sent back to
    the one who sent it.
    """
    return next((name for name in offered if not name.startswith(TOKEN_SUBPROTOCOL)), offered[0] if offered else None)


Authorize = Callable[[Handshake, str | None, DocumentId], Grant | Awaitable[Grant | None] | None]
"""`authorize(handshake, token, document) -> Grant`, async or not (K1-K4)."""


async def open_to_all(handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
    """The hook of open mode: everybody may edit, nobody has a name."""
    return Grant(Access.EDIT)


def load_hook(name: str) -> Authorize:
    """Import the hook that a setting names as `module:function`.

    Raises:
        SettingsError: there is no such module or function, with the reason.
    """
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise SettingsError(f"--authorize (RAFFIA_AUTHORIZE): {name!r} is not of the form module:function")
    try:
        hook = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"--authorize (RAFFIA_AUTHORIZE): cannot load {name!r}: {error}") from error
    if not callable(hook):
        raise SettingsError(f"--authorize (RAFFIA_AUTHORIZE): {name!r} is a {type(hook).__name__}, not a function")
    authorize: Authorize = hook
    return authorize
