"""What is measured: the workloads of the table, the sweeps of the plots, and the targets.

Rules:
    BN3  Like is compared with like: Hocuspocus with Raffia in the Hocuspocus protocol, the y-websocket server and
        the floor with Raffia in the y-websocket protocol. Where a target names no protocol, the worse of Raffia's two
        counts.
    BN4  Only the medians of all rounds decide whether a target is met.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Medians = Mapping[str, Mapping[str, float]]  # server -> metric -> median over the rounds

RAFFIA = ("raffia-yws", "raffia-hp")
EVERYBODY = (*RAFFIA, "hocuspocus", "y-websocket", "pycrdt-websocket", "floor")
WITH_DOCUMENTS = EVERYBODY[:-1]
QUICK_ENOUGH = (*RAFFIA, "hocuspocus", "y-websocket", "floor")  # pycrdt-websocket is minutes behind at 500 clients


@dataclass(frozen=True, slots=True)
class Metric:
    """One figure of a workload: its key and its name."""

    key: str
    title: str
    digits: int = 1


CPU = Metric("cpu_us_per_delivery", "CPU µs per delivery")
P50 = Metric("p50_ms", "p50 ms")
P99 = Metric("p99_ms", "p99 ms")
ACK50 = Metric("ack_p50_ms", "ack p50 ms")
ACK99 = Metric("ack_p99_ms", "ack p99 ms")
BUSY = Metric("server_cpu_pct", "% of a core", 0)
FRAMES = Metric("frames_per_delivery", "frames per delivery", 2)
BEHIND = Metric("behind_s", "behind s", 2)
JOIN_CPU = Metric("cpu_ms_per_join", "CPU ms per join", 2)


@dataclass(frozen=True, slots=True)
class Workload:
    """One row group of the table.

    Attributes:
        arguments, quick: for the load generator, in full and in the quick form.
        needs_document: whether the automerge-paper document is loaded first.
    """

    name: str
    title: str
    arguments: str
    quick: str
    metrics: tuple[Metric, ...]
    servers: tuple[str, ...] = EVERYBODY
    needs_document: bool = False


WORKLOADS = (
    Workload(
        "type-100",
        "type: 100 clients, 10 writers at 10/s",
        "--kind type -n 100 -w 10 -r 10 -t 8",
        "--kind type -n 8 -w 2 -r 10 -t 1",
        (CPU, P50, P99, ACK50, ACK99, BUSY, FRAMES),
    ),
    Workload(
        "type-500-50",
        "type: 500 clients, 50 writers at 10/s",
        "--kind type -n 500 -w 50 -r 10 -t 6",
        "--kind type -n 16 -w 4 -r 10 -t 1",
        (CPU, P50, P99, BUSY, FRAMES, BEHIND),
        QUICK_ENOUGH,
    ),
    Workload(
        "type-500-5",
        "type: 500 clients, 5 writers at 10/s",
        "--kind type -n 500 -w 5 -r 10 -t 6",
        "--kind type -n 16 -w 2 -r 10 -t 1",
        (CPU, P50, P99, BUSY, FRAMES),
        QUICK_ENOUGH,
    ),
    Workload(
        "point-50",
        "point: 50 clients, all at 20/s",
        "--kind point -n 50 -w 50 -r 20 -t 6",
        "--kind point -n 6 -w 6 -r 10 -t 1",
        (CPU, P50, P99, BUSY, FRAMES, BEHIND),
        WITH_DOCUMENTS,
    ),
    Workload(
        "idle-1000",
        "idle: 1,000 clients in 200 rooms",
        "--kind idle -n 1000 --rooms 200 -t 3",
        "--kind idle -n 20 --rooms 4 -t 0.5",
        (Metric("kb_per_connection", "KB per connection"), Metric("idle_cpu_pct", "% of a core", 2)),
        WITH_DOCUMENTS,
    ),
    Workload(
        "join",
        "join: {document}",
        "--kind join -n 60",
        "--kind join -n 4",
        (JOIN_CPU, P50, P99, Metric("received_kb", "KB received", 0)),
        WITH_DOCUMENTS,
        needs_document=True,
    ),
    Workload(
        "storm-1000",
        "storm: 1,000 clients at once in 20 rooms",
        "--kind storm -n 1000 --rooms 20",
        "--kind storm -n 20 --rooms 2",
        (JOIN_CPU, Metric("all_synced_s", "all synced s", 2)),
        WITH_DOCUMENTS,
    ),
)


@dataclass(frozen=True, slots=True)
class Sweep:
    """One workload over a range of sizes, for plots.

    Attributes:
        arguments: for the load generator, with `{x}`.
        documents: whether `x` is the size in bytes of a document to load instead.
        plots: (metric, title of the axis, factor).
    """

    name: str
    title: str
    axis: str
    points: tuple[int, ...]
    quick: tuple[int, ...]
    arguments: str
    plots: tuple[tuple[str, str, float], ...]
    servers: tuple[str, ...] = EVERYBODY
    documents: bool = False


SWEEPS = (
    Sweep(
        "clients",
        "10 writers at 5/s, everybody in one document",
        "clients",
        (10, 30, 100, 300, 1000),
        (10, 20),
        "--kind type -n {x} -w 10 -r 5 -t 4",
        (("cpu_us_per_delivery", "server CPU per delivery, µs", 1), ("p99_ms", "latency p99, ms", 1)),
        QUICK_ENOUGH,
    ),
    Sweep(
        "memory",
        "idle connections, five in a room",
        "connections",
        (100, 300, 1000, 3000),
        (20,),
        "--kind idle -n {x} --rooms {rooms} -t 0.5",
        (("memory_kb", "memory above the empty server, MB", 1 / 1024),),
        WITH_DOCUMENTS,
    ),
    Sweep(
        "join",
        "joins, one after another",
        "size of the document, KB",
        (10 << 10, 100 << 10, 1 << 20, 4 << 20),
        (20 << 10,),
        "--kind join -n 15",
        (("p50_ms", "time to join p50, ms", 1),),
        WITH_DOCUMENTS,
        documents=True,
    ),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A target: our metric is at most a factor of others' (BN3), or at most a number.

    Attributes:
        of: the servers to compare with; the better of them counts. If empty, `at_most` is absolute.
    """

    workload: str
    metric: Metric
    text: str
    at_most: float
    ours: tuple[str, ...]
    of: tuple[str, ...] = ()

    def judge(self, medians: Medians) -> tuple[str, bool] | None:
        """What was measured, and whether it meets the target; None if a server was not measured."""
        ours = _values(medians, self.ours, self.metric.key)
        others = _values(medians, self.of, self.metric.key)
        if ours is None or others is None:
            return None
        if not others:
            return f"{max(ours):.{self.metric.digits}f}", max(ours) <= self.at_most
        ratio = max(ours) / min(others)
        values = f"{max(ours):.{self.metric.digits}f} / {min(others):.{self.metric.digits}f}"
        return f"{ratio:.2f} ({values})", ratio <= self.at_most


def _values(medians: Medians, servers: Sequence[str], metric: str) -> list[float] | None:
    values = [medians.get(server, {}).get(metric) for server in servers]
    return None if None in values else [value for value in values if value is not None]


def _no_slower(workload: str) -> Target:
    return Target(workload, P99, "p99 no worse than Hocuspocus", 1.0, ("raffia-hp",), ("hocuspocus",))


TARGETS = (
    Target("type-100", CPU, "CPU per delivery <= 0.6 of Hocuspocus", 0.6, ("raffia-hp",), ("hocuspocus",)),
    Target("type-100", CPU, "CPU per delivery <= 1.6 of the C floor", 1.6, ("raffia-yws",), ("floor",)),
    _no_slower("type-100"),
    Target("type-500-50", CPU, "CPU per delivery <= 0.55 of Hocuspocus", 0.55, ("raffia-hp",), ("hocuspocus",)),
    _no_slower("type-500-50"),
    _no_slower("type-500-5"),
    Target("point-50", CPU, "CPU <= 0.5 of the better peer", 0.5, RAFFIA, ("hocuspocus", "y-websocket")),
    _no_slower("point-50"),
    Target("idle-1000", WORKLOADS[4].metrics[0], "memory per connection <= 25 KB", 25, RAFFIA),
    Target("join", JOIN_CPU, "CPU per join <= 0.4 of Hocuspocus", 0.4, ("raffia-hp",), ("hocuspocus",)),
    Target("storm-1000", JOIN_CPU, "CPU per join <= the y-websocket server's", 1.0, ("raffia-yws",), ("y-websocket",)),
)
