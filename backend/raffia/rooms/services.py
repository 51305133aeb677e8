"""What all rooms of a process share."""

from __future__ import annotations

from dataclasses import dataclass

from raffia.journal import Journal
from raffia.journal.bus import Bus
from raffia.rooms.turns import Turns
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """The journal, workers, settings, metrics and turns of one hub, and its bus to other replicas, if there are any."""

    journal: Journal
    workers: Workers
    settings: Settings
    metrics: Metrics
    turns: Turns
    bus: Bus | None = None
