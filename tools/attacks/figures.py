"""What an attack did: figures, the bounds on them, and how they are printed.

Rules:
    AF1  The bounds are few, the same for every attack, and stand here. Times are compared with the calm ones of the
         same run, because the machine differs from run to run.
         The noise of the machine in that run is measured too and allowed for.
    AF2  An edit that has not arrived counts with the time that it has waited.
    AF3  What an attack is after besides (a rename of others, a revocation, the seconds of an editor) is a `Probe` with
         a bound of its own.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

VICTIM_MS = 50.0  # p99, or so much above calm
SAME_ADDRESS_MS = 500.0  # p99, or so much above calm: a signed-in user behind the attacker's own address
NOISE_MS = 250.0  # that is allowed for at most
MEMORY_MB = 200.0
WORKERS_MB = 500.0
ALIVE_S = 1.0


@dataclass(frozen=True, slots=True)
class Delays:
    """A distribution of delays, in milliseconds.

    Attributes:
        count: how many.
        p50, p99, max: None when there were none.
    """

    count: int = 0
    p50: float | None = None
    p99: float | None = None
    max: float | None = None

    @classmethod
    def of(cls, seconds: list[float]) -> Delays:
        """Of a list of seconds."""
        if not seconds:
            return cls()
        ordered = sorted(1000 * one for one in seconds)
        p50, p99 = (ordered[min(len(ordered) - 1, int(len(ordered) * part))] for part in (0.5, 0.99))
        return cls(len(ordered), round(p50, 1), round(p99, 1), round(ordered[-1], 1))

    def within(self, calm: Delays, limit_ms: float) -> bool:
        """Whether the p99 is below the limit, or no more than that above calm."""
        if self.p99 is None:
            return False
        return self.p99 < limit_ms or (calm.p99 is not None and self.p99 < calm.p99 + limit_ms)

    def __str__(self) -> str:
        return "none" if self.p99 is None else f"{self.p99:.0f}" if self.p99 >= 100 else f"{self.p99:.1f}"


@dataclass(frozen=True, slots=True)
class Probe:
    """Something else that was measured (AF3).

    Attributes:
        name: what.
        value: as printed.
        holds: whether it is within its bound.
        bound: as printed.
    """

    name: str
    value: str
    holds: bool
    bound: str = ""

    @classmethod
    def below(cls, name: str, value: float | None, bound: float, unit: str = "s") -> Probe:
        """A number that has to be below a bound; None is something that never came."""
        shown = "never" if value is None else f"{value:.3g} {unit}"
        return cls(name, shown, value is not None and value < bound, f"< {bound:g} {unit}")


@dataclass(slots=True)
class Figures:
    """What came of one attack on one build.

    Attributes:
        attack, build: which.
        calm, attacked: the victim's edits on their way to the other client.
        neighbour_calm, neighbour: the same of a pair of signed-in users behind the attacker's address.
        joined, newcomers: how many of the newcomers got in, and how long they took.
        join: of those that got in.
        rss_mb: how far the server's memory grew, at its highest.
        workers_mb: of its worker processes, at their highest.
        alive: whether `/healthz` answered in time at the end.
        probes: what else was measured.
        did: what the attacker says that it did.
        noise_ms: what the machine may have added to any one delay: how late those who measured were at worst, and
            how long the server waited for its core then; at most `NOISE_MS`. The bounds allow for it.
        took_s: wall time of all of it.
    """

    attack: str
    build: str
    calm: Delays = field(default_factory=Delays)
    attacked: Delays = field(default_factory=Delays)
    neighbour_calm: Delays = field(default_factory=Delays)
    neighbour: Delays = field(default_factory=Delays)
    newcomers: int = 0
    joined: int = 0
    join: Delays = field(default_factory=Delays)
    rss_mb: float = 0.0
    workers_mb: float = 0.0
    alive: bool = False
    probes: list[Probe] = field(default_factory=list)
    did: dict[str, Any] = field(default_factory=dict)
    noise_ms: float = 0.0
    took_s: float = 0.0

    @property
    def faults(self) -> list[str]:
        """The bounds that do not hold."""
        found = []
        if not self.attacked.within(self.calm, VICTIM_MS + self.noise_ms):
            found.append("victim")
        if not self.neighbour.within(self.neighbour_calm, SAME_ADDRESS_MS + self.noise_ms):
            found.append("same address")
        if self.joined < self.newcomers:
            found.append("newcomers")
        if self.rss_mb >= MEMORY_MB:
            found.append("memory")
        if self.workers_mb >= WORKERS_MB:
            found.append("memory of workers")
        if not self.alive:
            found.append("alive")
        return found + [probe.name for probe in self.probes if not probe.holds]

    @property
    def holds(self) -> bool:
        """Whether all bounds hold."""
        return not self.faults

    @property
    def line(self) -> str:
        """One line for people."""
        parts = [
            f"victim calm p99 {self.calm} ms, under attack p50 {self.attacked.p50} p99 {self.attacked} max "
            f"{self.attacked.max} ms",
            f"newcomers {self.joined}/{self.newcomers} in (p99 {self.join} ms)",
            f"same address p99 {self.neighbour} ms",
            f"RSS {self.rss_mb:+.0f} MB",
        ]
        if self.workers_mb > 0:
            parts.append(f"workers {self.workers_mb:.0f} MB")
        parts += [f"alive {'yes' if self.alive else 'no'}", f"noise {self.noise_ms:.0f} ms"]
        parts += [f"{probe.name} {probe.value} ({probe.bound})" for probe in self.probes]
        if self.did:
            parts.append("attacker: " + " ".join(f"{key}={value}" for key, value in self.did.items()))
        verdict = "holds" if self.holds else "BITES: " + ", ".join(self.faults)
        return f"{self.attack}: {', '.join(parts)} -> {verdict}"

    @property
    def record(self) -> dict[str, Any]:
        """For the JSON file."""
        return {**asdict(self), "faults": self.faults, "holds": self.holds}
