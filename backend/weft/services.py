"""What every room needs and none owns."""

from __future__ import annotations

from dataclasses import dataclass

from weft.bus import Bus
from weft.journal import Journal
from weft.metrics import Metrics
from weft.settings import Settings
from weft.workers import Workers


@dataclass(frozen=True, slots=True)
class Services:
    """The journal, the workers, the settings and the metrics of one hub, and its way to other replicas."""

    journal: Journal
    workers: Workers
    settings: Settings
    metrics: Metrics
    bus: Bus | None = None
