"""What all rooms of a process share."""

from __future__ import annotations

from dataclasses import dataclass

from raffia.journal import Journal
from raffia.journal.bus import Bus
from raffia.rooms.quarantine import Quarantine
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What one hub gives its rooms; `bus` leads to other replicas, if there are any."""

    journal: Journal
    workers: Workers
    settings: Settings
    metrics: Metrics
    quarantine: Quarantine
    bus: Bus | None = None
