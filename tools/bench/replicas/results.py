"""The results of the parts, stored as JSON beside the report: docs/benchmarks/replicas.json."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from pathlib import Path

from tools.bench.work import Figures


@dataclass(slots=True)
class Part:
    """One part: when and how it was measured, the figures of each round, and what went wrong.

    Attributes:
        setting: date, command and machine, from `tools.bench.report.machine`.
        others_pct: how busy the machine was just before each round, with nothing of ours running.
    """

    setting: dict[str, str] = field(default_factory=dict)
    rounds: list[Figures] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    others_pct: list[float] = field(default_factory=list)

    @property
    def median(self) -> Figures:
        """Median of each figure."""
        return {key: statistics.median(values) for key, values in self.values().items()}

    def values(self) -> dict[str, list[float]]:
        """All rounds of each figure."""
        keys = dict.fromkeys(key for figures in self.rounds for key in figures)
        return {key: [figures[key] for figures in self.rounds if key in figures] for key in keys}


@dataclass(slots=True)
class Results:
    """All parts by name."""

    parts: dict[str, Part] = field(default_factory=dict)

    @property
    def medians(self) -> dict[str, Figures]:
        """The medians of every part that has figures."""
        return {name: part.median for name, part in self.parts.items() if part.rounds}

    def save(self, path: Path) -> None:
        """Write everything."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def load(cls, path: Path) -> Results:
        """Read what `save` wrote; empty if the file does not exist."""
        if not path.exists():
            return cls()
        return cls({name: Part(**part) for name, part in json.loads(path.read_text())["parts"].items()})
