"""Raffia inside another ASGI app.

    raffia = Raffia(authorize=authorize)
    app = FastAPI(lifespan=raffia.lifespan)
    app.mount("/collab", raffia)

serves `/collab/sync/{document}` and `/collab/sync`. See docs/embedding.md.

Rules (tests quote these ids):
    B1  There is one lifecycle: `async with raffia`. A host with its own lifespan enters it there; others pass
        `raffia.lifespan`. Outside it, every connection is refused with 503.
    B2  Raffia never ends its host's process, installs no signal handlers and does not configure logging.
    B3  `authorize` is a required argument. With None, tokens decide if the settings name keys; otherwise Raffia runs in
        open mode, which by default serves this machine only.
    B4  Mistakes that would otherwise show only as refused clients are logged once: a connection before Raffia was
        entered at all (an error), and `RAFFIA_*` variables that are not settings (warnings).
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from types import TracebackType
from typing import Any, Self

from starlette.routing import Router, WebSocketRoute
from starlette.types import Receive, Scope, Send

from raffia.auth.address_limits import AddressLimits
from raffia.auth.authorizer import Authorizer, check_open_mode, is_open
from raffia.auth.hooks import Authorize
from raffia.auth.revocation import HOOK_KEEP_MS, RevocationList
from raffia.documents.host_document import HostDocument
from raffia.documents.origins import Origins
from raffia.documents.seeding import OnLoad, Seeding
from raffia.errors import DrainingError, MalformedError, SettingsError
from raffia.journal import Clear, Journal
from raffia.journal.health import JournalHealth
from raffia.journal.history import INLINE_BYTES, fold, fold_now
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.rooms.hub import Hub
from raffia.runtime.logs import get_logger, redacted_server_logs
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings, load_settings, unknown_variables
from raffia.sockets.byte_budget import ByteBudget
from raffia.sockets.endpoints import EndpointServices, HocuspocusEndpoint, YWebsocketEndpoint
from raffia.sockets.expiry import Expiry
from raffia.sockets.received import received_budget
from raffia.types import Revoked, document_id

log = get_logger("raffia")

LARGEST_MESSAGE = (
    "a client may bring back a whole document in one WebSocket message; let the ASGI server accept that many bytes "
    "(uvicorn: --ws-max-size; Hypercorn: websocket_max_message_size)"
)


class Raffia:
    """One collaboration server, as an ASGI app to mount.

    Args:
        authorize: the hook that grants access; None for no hook (B3).
        settings: by default read from `RAFFIA_*` variables.
        journal: where documents are stored; by default Redis if `settings.redis` is set, otherwise SQLite in
            `settings.data`. Raffia enters and exits it.
        on_load: the hook that supplies the content of new documents (documents/seeding.py); None for none.

    Attributes:
        is_hosted: whether the ASGI server may be one other than ours, with unknown limits.
        clear: called when a document is purged, to delete what is stored elsewhere for it (J22); None if nothing is.

    Raises:
        SettingsError: the settings are invalid.
    """

    def __init__(
        self,
        *,
        authorize: Authorize | None,
        settings: Settings | None = None,
        journal: Journal | None = None,
        on_load: OnLoad | None = None,
    ) -> None:
        self._on_load = on_load
        self.settings = settings or load_settings()
        check_open_mode(self.settings, authorize)
        self.metrics = Metrics()
        self.is_open = is_open(self.settings, authorize)
        self.expiry = Expiry(self.settings.auth_refresh_s)
        self._journal = journal
        self.is_hosted = True
        self.clear: Clear | None = None
        self._origins = Origins()
        self._hub: Hub | None = None
        self._watch: JournalHealth | None = None
        self._stopping = False
        self._was_entered = self._was_missed = False  # B4
        self._stack = AsyncExitStack()
        self.revocations = RevocationList(_keep_ms(self.settings))
        self.addresses = AddressLimits(self.settings)
        self.authorizer = Authorizer(self.settings, authorize, revocations=self.revocations, addresses=self.addresses)
        services = EndpointServices(
            self.settings,
            self.metrics,
            self.addresses,
            self.authorizer,
            self.expiry,
            ByteBudget(),
            received_budget(self.settings.max_frame_bytes),
            lambda: self.hub,
        )
        self._router = Router(
            [
                WebSocketRoute("/sync/{document:path}", YWebsocketEndpoint(services), name="sync-document"),
                WebSocketRoute("/sync", HocuspocusEndpoint(services), name="sync"),
            ]
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request below the path where the host app mounted Raffia."""
        if not self._was_entered and not self._was_missed:
            self._was_missed = True
            log.error(
                "Raffia was never started, so every connection is refused: enter it in the host's lifespan "
                "(`async with raffia`), or pass `lifespan=raffia.lifespan`; the lifespan of a mounted app does not run"
            )
        await self._router(scope, receive, send)

    @property
    def hub(self) -> Hub:
        """The open documents.

        Raises:
            DrainingError: outside of `async with` (B1).
        """
        if self._hub is None:
            raise DrainingError("this server is starting or stopping; try again later")
        return self._hub

    async def __aenter__(self) -> Self:
        """Open the journal and the hub.

        Raises:
            SettingsError: it is running already, or the data folder is in use or was written by a newer Raffia.
            JournalUnavailableError: the journal cannot be opened.
            QuarantinedError: what is revoked cannot be read (REV9 of revocation.py).
        """
        if self._hub is not None:
            raise SettingsError("this Raffia is already running; enter it once, in one lifespan")
        if not self._was_entered:
            self._was_entered = True
            for variable, meant in unknown_variables(os.environ).items():
                log.warning("variable is not a setting", variable=variable, meant=meant)
        async with AsyncExitStack() as stack:
            stack.enter_context(redacted_server_logs())
            await stack.enter_async_context(self.expiry.running())
            workers = await stack.enter_async_context(Workers(self.settings.worker_processes))
            journal = await stack.enter_async_context(self._journal or _default_journal(self.settings, workers))
            if self.clear is not None:
                journal.directory.on_purged(self.clear)
            if self.is_hosted:
                log.info(LARGEST_MESSAGE, bytes=self.settings.max_frame_bytes)
            for warning in await journal.warnings():
                log.warning("the journal may lose documents", detail=warning)
            watch = await stack.enter_async_context(JournalHealth(journal))
            seed = None
            if self._on_load is not None:
                seed = Seeding(self._on_load, journal, workers, max_bytes=self.settings.max_document_bytes)
            hub = Hub(journal, workers, self.settings, self.metrics, self.revocations, seed=seed)
            await stack.enter_async_context(hub)
            await stack.enter_async_context(self.revocations.following(journal, lambda: hub.connections))
            self._watch, self._hub = watch, hub  # last: nothing is served before it is known what is revoked
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close every connection with 1012, make everything durable, close the journal."""
        try:
            await self.drain()
        finally:
            self._hub = None
            await self._stack.aclose()
            await self.authorizer.close()
            self._stopping = False

    async def drain(self) -> None:
        """Refuse new connections, make everything durable, then close all connections with 1012; at most `drain_s`."""
        self._stopping = True
        if self._hub is not None:  # None while it still waits for Redis
            await self._hub.drain(self.settings.drain_s)

    async def recheck(self, *, user: str | None = None, document: str | None = None) -> int:
        """Make live sessions of a user or a document sign in again, on all replicas: call it when a role has changed.

        Their sockets are closed with 1012, providers reconnect, and then the hook or the token decides.

        Args:
            user: the user whose sessions to end.
            document: the document whose sessions to end; give either this or `user`.

        Returns:
            How many sessions of this process were ended.

        Raises:
            MalformedError: neither or both are given, or the name is invalid.
            JournalUnavailableError: it took effect in this process; other replicas follow only if the journal is back
                within a minute.
        """
        if (user is None) == (document is None):
            raise MalformedError("name either a user or a document to recheck")
        if user is not None:
            return await self.revocations.revoke(Revoked.RECHECK_USER, user)
        return await self.revocations.revoke(Revoked.RECHECK_DOCUMENT, document or "")

    def unready_reason(self) -> str | None:
        """Why this process should not get new connections at the moment; None if it should."""
        if self._watch is None or self._hub is None:
            return "starting or stopped"
        if self._stopping:
            return "stopping"
        away_s = self._watch.away_s()
        return f"the journal has been away for {away_s:.0f} s" if away_s > self.settings.ready_grace_s else None

    def document(self, document: str) -> HostDocument:
        """One document for the host's own code: read it, edit it, follow its changes (docs/embedding.md).

        Raises:
            MalformedError: not a valid document id.
        """
        return HostDocument(document_id(document), lambda: self.hub, self._origins)

    def read_metrics(self) -> Metrics:
        """The metrics, updated with the values that other objects count."""
        if self._hub is not None:
            journal = self._hub.journal
            self.metrics.journal_queue = journal.stats.queued
            self.metrics.open_documents_bytes = self._hub.memory.used_bytes
            self.metrics.open_documents_limit_bytes = self._hub.memory.limit_bytes
            journal.export(self.metrics)
        return self.metrics

    @asynccontextmanager
    async def lifespan(self, _app: Any) -> AsyncIterator[None]:
        """A lifespan for hosts without one of their own: `FastAPI(lifespan=raffia.lifespan)`."""
        async with self:
            yield


def _keep_ms(settings: Settings) -> int | None:
    """How long revocations are kept (REV7 of revocation.py)."""
    if not settings.has_tokens:
        return HOOK_KEEP_MS
    if settings.auth_max_lifetime_s is None:
        return None
    return round((settings.auth_max_lifetime_s + 2 * settings.auth_leeway_s) * 1000)


def _default_journal(settings: Settings, workers: Workers) -> Journal:
    async def fold_away(updates: Sequence[bytes]) -> list[bytes]:
        if sum(map(len, updates)) <= INLINE_BYTES:
            return await fold(updates)
        return await workers.run(fold_now, list(updates))

    retention_ms = round(settings.history_s * 1000)
    if settings.redis is None:
        return SqliteJournal(settings.data, retention_ms=retention_ms, fold=fold_away)
    return RedisJournal(
        open_engine(settings.redis.get_secret_value(), timeout_s=settings.redis_timeout_s),
        prefix=settings.redis_prefix,
        retention_ms=retention_ms,
        fold=fold_away,
        check_s=settings.redis_check_s,
    )
