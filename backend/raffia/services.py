"""What every room needs and none owns."""

from __future__ import annotations

from dataclasses import dataclass

from raffia.bus import Bus
from raffia.journal import Journal
from raffia.metrics import Metrics
from raffia.settings import Settings
from raffia.workers import Workers


@dataclass(frozen=True, slots=True)
class Services:
    """The journal, the workers, the settings and the metrics of one hub, and its way to other replicas."""

    journal: Journal
    workers: Workers
    settings: Settings
    metrics: Metrics
    bus: Bus | None = None
