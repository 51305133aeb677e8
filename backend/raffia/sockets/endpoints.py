"""The two WebSocket endpoints, as plain ASGI callables.

They admit or refuse a connection and hand it to a listener; after that no frame passes through this file. They are
plain callables because a framework's WebSocket object costs 12 KB for each idle connection.

Rules (tests quote these ids):
    N1  Everything that can be checked before the upgrade is checked there, and refused with an HTTP status: the
        document's name, the host, the origin, the number of connections (of the process and of the address:
        address_limits.py), and for `/sync/{document}` the grant.
    N2  The first offered subprotocol without a token is selected; one with a token only if there is no other,
        because browsers fail the socket when none of theirs is selected.
    N3  An idle connection on `/sync/{document}` keeps nothing of its request. One on `/sync`, where the hook is asked
        for each document, keeps one packed copy, and what the host's middleware has put into the scope.
    N4  Each refusal is counted by its reason and logged with the document, never with the token.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic

from starlette.types import Receive, Scope, Send

from raffia.auth.address_limits import AddressLimits, counted
from raffia.auth.authorizer import Authorizer
from raffia.auth.hooks import Handshake, choose_subprotocol
from raffia.errors import MalformedError, RaffiaError, RoomFullError, TooLargeError
from raffia.rooms.hub import Hub
from raffia.runtime.logs import get_logger
from raffia.runtime.metrics import Metrics
from raffia.settings import Settings
from raffia.sockets.asgi import refuse, serve
from raffia.sockets.byte_budget import ByteBudget, ByteShare
from raffia.sockets.connection import Connection, Dialect
from raffia.sockets.expiry import Expiry
from raffia.sockets.hocuspocus import HocuspocusDialect
from raffia.sockets.ywebsocket import YWebsocketDialect
from raffia.types import DocumentId, Grant, document_id
from raffia.wire.transport import Limits

log = get_logger("raffia.sockets.endpoints")

SERVERS = frozenset(
    {
        *("type", "asgi", "http_version", "scheme", "path", "raw_path", "query_string", "root_path", "headers"),
        *("client", "server", "subprotocols", "extensions"),
        *("app", "app_root_path", "router", "endpoint", "path_params", "route", "starlette.exception_handlers"),
    }
)
"""What servers and routers put into a scope. The rest comes from the host's middleware."""


@dataclass(frozen=True, slots=True)
class EndpointServices:
    """The parts of Raffia that both endpoints use.

    Attributes:
        settings: limits of a connection.
        metrics: counters.
        addresses: limits by address.
        authorizer: decides who may connect and what they may do.
        expiry: ends sessions when their grants expire.
        preauth: limits the bytes of connections that have not signed in.
        received: limits the bytes of unfinished messages of those that have.
        hub: returns the open documents; raises `DrainingError` while the server is starting or stopping.
    """

    settings: Settings
    metrics: Metrics
    addresses: AddressLimits
    authorizer: Authorizer
    expiry: Expiry
    preauth: ByteBudget
    received: ByteBudget
    hub: Callable[[], Hub]


class SyncEndpoint(ABC):
    """Base of both endpoints: counts, refuses and serves connections."""

    __slots__ = ("_limits", "_services")

    SKIPS_TOO_LARGE = False
    """Whether the dialect can refuse a message over the limit in band (O7 of transport.py)."""

    def __init__(self, services: EndpointServices) -> None:
        self._services = services
        settings = services.settings
        self._limits = Limits(
            message_bytes=settings.max_frame_bytes,
            high_bytes=settings.outbox_high_bytes,
            low_bytes=settings.outbox_low_bytes,
            max_bytes=settings.max_outbox_bytes,
            too_large_code=TooLargeError.close_code,  # after 1009 y-websocket would resend the message forever
            skips_too_large=self.SKIPS_TOO_LARGE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection until it is closed."""
        metrics, addresses = self._services.metrics, self._services.addresses
        metrics.connections += 1
        address: str | None = None
        try:
            try:
                client = scope.get("client")
                address = addresses.enter(client[0] if client else "", monotonic())
                listener = await self._admit(scope)
            except RaffiaError as error:
                await self._refuse(error, scope, send)
                return
            metrics.connections_opened += 1
            subprotocol = choose_subprotocol(scope.get("subprotocols") or ())
            await serve(
                scope, receive, send, listener, subprotocol=subprotocol, limits=self._limits, turn=listener.turn
            )
        finally:
            metrics.connections -= 1
            addresses.leave(address)

    @abstractmethod
    async def _listener(self, scope: Scope, handshake: Handshake) -> Connection:
        """Create the listener of a connection whose origin has been accepted."""

    def _connection(self, dialect: Dialect, handshake: Handshake) -> Connection:
        services, address = self._services, counted(handshake.address)
        return Connection(
            services.hub(),
            dialect,
            services.expiry,
            schema=schema_of(handshake),
            peer=address or handshake.address,
            address=address,
            received=services.received,
        )

    async def _admit(self, scope: Scope) -> Connection:
        limit = self._services.settings.max_connections
        if self._services.metrics.connections > limit:
            raise RoomFullError(f"this process has reached its limit of {limit} connections; try again later")
        handshake = Handshake.of(scope)
        scheme = scope.get("scheme", "ws")  # optional in ASGI, and missing in Daphne
        self._services.authorizer.check_host(handshake, scheme)
        self._services.authorizer.check_origin(handshake, scheme)
        return await self._listener(scope, handshake)

    async def _refuse(self, error: RaffiaError, scope: Scope, send: Send) -> None:
        self._services.metrics.refusals[error.reason] += 1
        client = scope.get("client")
        log.info(
            "connection refused",
            reason=error.reason,
            detail=str(error),
            document=scope["path_params"].get("document"),
            address=client[0] if client else None,
        )
        await refuse(send, error, scope)


class YWebsocketEndpoint(SyncEndpoint):
    """`WS /sync/{document}`: the y-websocket protocol, one document per socket."""

    __slots__ = ()

    async def _listener(self, scope: Scope, handshake: Handshake) -> Connection:
        document = document_id(scope["path_params"]["document"])
        grant = await self._services.authorizer.grant(handshake, handshake.token, document)
        return self._connection(YWebsocketDialect(document, grant), handshake)


class HocuspocusEndpoint(SyncEndpoint):
    """`WS /sync`: the Hocuspocus protocol, many documents on one socket with an in-band sign-in for each."""

    __slots__ = ()

    SKIPS_TOO_LARGE = True

    async def _listener(self, scope: Scope, handshake: Handshake) -> Connection:
        request = _Request(scope)

        async def authorize(token: str | None, document: DocumentId) -> Grant:
            asked = request.handshake()
            return await self._services.authorizer.grant(asked, token or asked.token, document)

        share = ByteShare(self._services.preauth, counted(handshake.address))
        return self._connection(HocuspocusDialect(authorize, self._services.settings, share), handshake)


def schema_of(handshake: Handshake) -> int | None:
    """The schema version in the query string (`?schema=`); None without it.

    Raises:
        MalformedError: it is not a version.
    """
    value = handshake.query.get("schema")
    if value is None:
        return None
    if not value.isascii() or not value.isdigit() or len(value) > 9:
        raise MalformedError(f"?schema={value[:20]!r} is not a version; use a whole number such as 1")
    return int(value)


class _Request:
    """A packed handshake: a few hundred bytes for the life of the connection instead of a few thousand (N3)."""

    __slots__ = ("_client", "_head", "_host", "_path", "_query")

    def __init__(self, scope: Scope) -> None:
        self._host = {
            name: value for name, value in scope.items() if name not in SERVERS and (name != "state" or value)
        } or None
        self._client = scope.get("client")
        self._path: str = scope["path"]
        self._query: bytes = scope.get("query_string", b"")
        self._head = b"\n".join(name + b":" + value for name, value in scope["headers"])

    def handshake(self) -> Handshake:
        lines = self._head.split(b"\n") if self._head else []
        headers = [(name, value) for name, _, value in (line.partition(b":") for line in lines)]
        return Handshake.of(
            {
                "type": "websocket",
                "client": self._client,
                "path": self._path,
                "query_string": self._query,
                "headers": headers,
                **(self._host or {}),
            }
        )
