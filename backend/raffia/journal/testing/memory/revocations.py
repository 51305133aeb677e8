"""The revocations of a memory journal."""

from __future__ import annotations

from collections.abc import Callable

from raffia.journal.protocol import Revocations, RevocationStore, too_many_revocations
from raffia.journal.testing.memory.store import StoreConnection
from raffia.types import MAX_REVOCATIONS, Revocation


class MemoryRevocations(RevocationStore):
    """The revocations in a store."""

    def __init__(self, connection: StoreConnection) -> None:
        self._connection = connection
        self._store = connection.store

    async def add(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        self._connection.check()
        kept, key = self._store.revocations, (revocation.kind, revocation.subject)
        if key in kept:
            revocation = revocation.merged(kept[key])
        else:
            count = sum(kind is revocation.kind for kind, _ in kept)
            if count >= MAX_REVOCATIONS[revocation.kind]:
                raise too_many_revocations(revocation.kind, count)
        kept[key] = revocation
        self._store.revoked += 1
        for connection in self._store.connections:
            if connection is not self._connection and not connection.is_cut and connection.on_revoked is not None:
                connection.on_revoked()

    async def read(self, mark: bytes | None = None) -> Revocations | None:
        """Read all that are kept."""
        self._connection.check_open()
        now = str(self._store.revoked).encode()
        return None if mark == now else Revocations(now, list(self._store.revocations.values()))

    def on_added(self, heard: Callable[[], None]) -> None:
        """Set the callback for revocations that other journals on the store add."""
        self._connection.on_revoked = heard

    def prune(self) -> None:
        """Drop those that have expired."""
        kept, clock = self._store.revocations, self._connection.passed_time
        times = (clock.passed_ms(), clock.now_ms())
        for key in [key for key, one in kept.items() if one.is_over(*times)]:
            del kept[key]
