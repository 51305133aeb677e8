"""Remembers quarantined documents, so that they are not logged on every attempt of every client."""

from __future__ import annotations

from time import monotonic

from raffia.runtime.logs import get_logger
from raffia.runtime.metrics import Metrics
from raffia.types import DocumentId

log = get_logger("raffia.rooms.quarantine")

AGAIN_S = 3600.0  # one that stays damaged is logged again after this long
MAX_DOCUMENTS = 10_000


class Quarantine:
    """The quarantined documents of one process."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._logged_s: dict[DocumentId, float] = {}

    def add(self, document: DocumentId, error: Exception) -> None:
        """Count a document that could not be read, and log it unless that was done recently (HU3)."""
        self._metrics.quarantined += 1
        now_s = monotonic()
        if now_s - self._logged_s.get(document, -AGAIN_S) < AGAIN_S:
            return
        if len(self._logged_s) >= MAX_DOCUMENTS:
            self._logged_s.clear()
        self._logged_s[document] = now_s
        log.error(
            "document quarantined: its stored bytes are damaged or cannot be read; see `raffia check`",
            document=document,
            detail=str(error),
        )
