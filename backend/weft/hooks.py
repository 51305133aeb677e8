"""Hooks: what an operator or a host app plugs into Weft. A hook returns a value; nothing is passed to be changed.

Rules (tests quote these ids):
    K1  `authorize` is asked once for every document a connection wants, and again when a token is renewed; its
        answer, a `Grant`, holds for that document and that session alone.
    K2  Closed by default: `None` is "forbidden"; so is a `ForbiddenError`. `UnauthenticatedError` asks to sign in.
    K3  Anything else that a hook raises, and an answer that takes longer than `preauth_s`, means that the one who
        decides cannot be asked: the client is told to try again later (1013), never that it is signed out.
    K4  A hook may be `async`. One that is not runs on a thread, so that it may block.
"""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from weft.errors import SettingsError
from weft.types import Access, DocumentId, Grant


@dataclass(frozen=True, slots=True)
class Handshake:
    """The HTTP request with which a connection came.

    Attributes:
        address: the client's address, after the proxies that are believed; empty when unknown.
        path: path that was asked for, decoded, without a query.
        headers: by lower-case name; a repeated one is joined with ", ".
        query: parameters of the URL; of a repeated one the last.
        origin: the page that opened the connection, as the browser says; None for everything but browsers.
    """

    address: str = ""
    path: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    query: Mapping[str, str] = field(default_factory=dict)
    origin: str | None = None

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
        """What the client signs in with before the upgrade: `?token=`, or `Authorization: Bearer`."""
        if token := self.query.get("token"):
            return token
        scheme, _, value = self.headers.get("authorization", "").partition(" ")
        return value.strip() or None if scheme.lower() == "bearer" else None


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
        raise SettingsError(f"--authorize (WEFT_AUTHORIZE): {name!r} is not of the form module:function")
    try:
        hook = getattr(importlib.import_module(module_name), attribute)
    except (ImportError, AttributeError) as error:
        raise SettingsError(f"--authorize (WEFT_AUTHORIZE): cannot load {name!r}: {error}") from error
    if not callable(hook):
        raise SettingsError(f"--authorize (WEFT_AUTHORIZE): {name!r} is a {type(hook).__name__}, not a function")
    authorize: Authorize = hook
    return authorize
