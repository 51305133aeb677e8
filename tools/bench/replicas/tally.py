"""What Redis did between two moments, by its own counters, and its CPU time."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

from tools.bench.replicas.places import Place

OURS = ("info", "config|get")  # the cost of asking is not counted


@dataclass(frozen=True, slots=True)
class Tally:
    """Counters of Redis and clocks of all processes at one moment, or their growth between two.

    Attributes:
        at_s: when.
        calls: of each command, including those made by scripts.
        in_bytes, out_bytes: on its sockets.
        redis_cpu_s, cpu_s: CPU time of Redis, and of each server.
    """

    at_s: float
    calls: dict[str, int]
    in_bytes: int
    out_bytes: int
    redis_cpu_s: float
    cpu_s: tuple[float, ...]

    @classmethod
    def take(cls, place: Place) -> Self:
        """Read all counters now."""
        lines = place.redis.info("commandstats")
        calls = {
            name.removeprefix("cmdstat_"): int(text.split(",")[0].partition("=")[2]) for name, text in lines.items()
        }
        stats = place.redis.info("stats")
        return cls(
            time.perf_counter(),
            {name: count for name, count in calls.items() if name not in OURS},
            int(stats["total_net_input_bytes"]),
            int(stats["total_net_output_bytes"]),
            place.redis_usage.cpu_s(),
            tuple(usage.cpu_s() for usage in place.usages),
        )

    def since(self, before: Tally) -> Tally:
        """The growth from an earlier moment to this one."""
        calls = {name: count - before.calls.get(name, 0) for name, count in self.calls.items()}
        return Tally(
            self.at_s - before.at_s,
            {name: count for name, count in calls.items() if count},
            self.in_bytes - before.in_bytes,
            self.out_bytes - before.out_bytes,
            self.redis_cpu_s - before.redis_cpu_s,
            tuple(now - then for now, then in zip(self.cpu_s, before.cpu_s, strict=True)),
        )

    def above(self, idle: Tally) -> dict[str, float]:
        """Growth of each counter beyond that of an idle period of the same length; never below zero."""
        share = self.at_s / idle.at_s
        own = self._figures()
        return {name: max(0.0, value - share * idle._figures().get(name, 0.0)) for name, value in own.items()}

    def _figures(self) -> dict[str, float]:
        figures: dict[str, float] = {f"calls_{name}": float(count) for name, count in self.calls.items()}
        figures |= {"in_bytes": self.in_bytes, "out_bytes": self.out_bytes, "redis_cpu_s": self.redis_cpu_s}
        return figures | {f"cpu_s_{number}": used for number, used in enumerate(self.cpu_s)}
