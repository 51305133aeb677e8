"""Hooks: functions that the operator or host app supplies and Raffia calls. They do not modify arguments.

Rules (tests quote these ids):
    K1  `authorize` is called for every document that a connection opens, again when a token is renewed, and for REST
        requests; the `Grant` that it returns is for that document and that session or request only.
    K2  Closed by default: `None` means forbidden, as does a `ForbiddenError`. `UnauthenticatedError` asks the client to
        sign in.
    K3  If a hook raises an exception other than a `RaffiaError`, or takes longer than `preauth_s`, access cannot be
        decided at the moment: the client is told to try again later (1013), never that it is signed out.
    K4  A hook may be `async`. One that is not runs in a thread, so it may block.
    K5  If Raffia has keys as well, a token is verified first: an invalid one never reaches the hook, and the claims of
        a valid one are in `handshake.claims`. Then the hook alone decides, and its grant ends no later than the token.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from raffia.errors import SettingsError
from raffia.types import Access, DocumentId, Grant

TOKEN_SUBPROTOCOL = "raffia.token."  # noqa: S105 - the prefix of a token


@dataclass(frozen=True, slots=True)
class Handshake:
    """The HTTP request that opened a connection.

    Attributes:
        address: the client's address, even behind trusted proxies; empty if unknown.
        path: the requested path, decoded, without the query.
        headers: by lower-case name; repeated ones are joined with ", ".
        query: parameters of the URL; the last one if a parameter is repeated.
        origin: the origin of the page that opened the connection; None for clients other than browsers.
        scope: the ASGI scope of the request, with what the host's middleware has put there (`session`, `user`). On a
            Hocuspocus connection, which asks later, it has only those and what an ASGI server provides for any request:
            `type`, `client`, `path`, `query_string` and `headers`.
        claims: the token's claims, once Raffia has verified it; None without a token, or if Raffia has no keys.
    """

    address: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    origin: str | None = None
    claims: Mapping[str, Any] | None = None
    scope: Mapping[str, Any] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(cls, scope: MutableMapping[str, Any]) -> Handshake:
        """Read an ASGI scope. Connections do not keep it, to save memory."""
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
            scope=scope,
        )

    @property
    def token(self) -> str | None:
        """The token of a WebSocket client: `?token=`, `Authorization: Bearer`, or a subprotocol, in this order."""
        return self.query.get("token") or self.bearer or self._subprotocol_token()

    @property
    def bearer(self) -> str | None:
        """The token in `Authorization: Bearer`, the only place from which REST takes one."""
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value.strip() or None if scheme.lower() == "bearer" else None

    def _subprotocol_token(self) -> str | None:
        """The token in an offered `raffia.token.…`: the only way for a browser to send one outside the URL."""
        for offered in self.headers.get("sec-websocket-protocol", "").split(","):
            name = offered.strip()
            if name.startswith(TOKEN_SUBPROTOCOL):
                return name.removeprefix(TOKEN_SUBPROTOCOL) or None
        return None


def choose_subprotocol(offered: Sequence[str]) -> str | None:
    """The subprotocol to accept: the first offered one that is not a token; None if none is offered.

    A browser closes the connection if none of its offers is accepted, so if a token is the only one, it is sent back.
    """
    return next((name for name in offered if not name.startswith(TOKEN_SUBPROTOCOL)), offered[0] if offered else None)


Authorize = Callable[[Handshake, str | None, DocumentId], Grant | Awaitable[Grant | None] | None]
"""`authorize(handshake, token, document) -> Grant`, async or not (K1-K4)."""


async def open_to_all(handshake: Handshake, token: str | None, document: DocumentId) -> Grant:
    """The hook of open mode: everyone may edit, anonymously."""
    return Grant(Access.EDIT)


def load_hook(name: str) -> Authorize:
    """Import the hook that the setting `authorize` names as `module:function`.

    Raises:
        SettingsError: the module or function cannot be imported; the message gives the reason.
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
