"""What all rooms of a process share."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field

from raffia.journal import Journal
from raffia.journal.bus import Bus
from raffia.rooms.document_memory import DocumentMemory
from raffia.rooms.quarantine import Quarantine
from raffia.rooms.turns import Turns
from raffia.runtime.metrics import Metrics
from raffia.runtime.workers import Workers
from raffia.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What the parts of one hub share, and its bus to other replicas, if there are any."""

    journal: Journal
    workers: Workers
    settings: Settings
    metrics: Metrics
    quarantine: Quarantine
    turns: Turns
    bus: Bus | None = None
    memory: DocumentMemory = field(default_factory=lambda: DocumentMemory(sys.maxsize))
