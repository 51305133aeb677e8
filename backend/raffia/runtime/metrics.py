"""Metrics: plain integers on the hot path, exported in Prometheus's format on request.

Code adds to attributes (`metrics.updates_in += 1`, `metrics.refusals[error.reason] += 1`,
`metrics.ack_s.observe(elapsed_s)`); nothing is computed, locked or formatted until `/metrics` is read.
There is one `Metrics` per hub and no global one.

Rules (tests quote these ids):
    ME1  Every attribute is exported as `raffia_` and its name, with the help text given here.
    ME2  A counter never decreases; a gauge is the current value.
    ME3  Labels come from closed sets in the code (an error's `reason`), never from clients.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

BUCKETS = 27  # powers of two of a microsecond: the last closed one ends at 67 s


class Histogram:
    """Durations in buckets that double: 1 us, 2 us, 4 us ... 67 s, and one for all longer ones."""

    __slots__ = ("counts", "sum_s")

    def __init__(self) -> None:
        self.counts = [0] * (BUCKETS + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.sum_s += seconds
        index = int(seconds * 1_000_000).bit_length()
        self.counts[min(index, BUCKETS)] += 1

    @property
    def count(self) -> int:
        """Number of durations."""
        return sum(self.counts)

    def quantile(self, fraction: float) -> float:
        """The upper end, in seconds, of the bucket that contains this quantile; 0.0 if there are no durations.

        Infinite if it is above the last closed bucket.
        """
        wanted = fraction * self.count
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            if seen and seen >= wanted:
                return (1 << index) / 1_000_000 if index < BUCKETS else float("inf")
        return 0.0

    def buckets(self) -> list[tuple[str, float]]:
        """Cumulative counts with the upper ends of their buckets in seconds, as Prometheus expects."""
        result: list[tuple[str, float]] = []
        seen = 0
        for index, count in enumerate(self.counts):
            seen += count
            result.append((repr((1 << index) / 1_000_000) if index < BUCKETS else "+Inf", float(seen)))
        return result


Labelled = defaultdict[str, int]


def _labelled() -> Labelled:
    return defaultdict(int)


def _counter(text: str) -> Any:
    return field(default=0, metadata=_about("counter", text))


def _gauge(text: str) -> Any:
    return field(default=0, metadata=_about("gauge", text))


def _about(kind: str, text: str, label: str = "") -> dict[str, str]:
    return {"kind": kind, "help": text, "label": label}


@dataclass(slots=True, eq=False)
class Metrics:
    """All metrics of one hub; each has its help text."""

    rooms: int = _gauge("Documents open in this process")
    open_documents_bytes: int = _gauge("Memory of all open documents, by an estimate")
    open_documents_limit_bytes: int = _gauge("Memory that all open documents may take")
    sessions: int = _gauge("Clients on documents; one connection can have several")
    connections: int = _gauge("Open WebSockets")
    connections_opened: int = _counter("WebSockets accepted")
    rooms_opened: int = _counter("Documents loaded from the journal")
    rooms_evicted: int = _counter("Idle documents closed")
    frames_in: int = _counter("WebSocket messages received")
    frames_out: int = _counter("WebSocket messages written, one per receiver")
    bytes_in: int = _counter("Bytes of WebSocket messages received")
    bytes_out: int = _counter("Bytes of WebSocket messages written")
    updates_in: int = _counter("Updates and step 2 messages received from clients")
    updates_out: int = _counter("Updates written to clients, one per receiver; one update can contain several edits")
    updates_known: int = _counter("Updates received that contained nothing new")
    presence_in: int = _counter("Presence messages received")
    presence_out: int = _counter("Presence messages written, one per receiver")
    presence_renewed: int = _counter(
        "Presence states renewed for a client that is there but quiet, as background tabs are"
    )
    presence_dropped: int = _counter("Presence states not relayed: foreign, too large or too many")
    acks: Labelled = field(
        default_factory=_labelled,
        metadata=_about("labelled", "Acknowledgements of updates: stored or refused", "result"),
    )
    refusals: Labelled = field(
        default_factory=_labelled, metadata=_about("labelled", "Refusals, by the reason of the error", "reason")
    )
    delays: int = _counter("Times that reading from a connection was paused because it sent too fast")
    turns_waiting: int = _gauge(
        "Connections and their tasks that wait because their user, link or address has taken much time"
    )
    turns_waited: int = _counter("Times that a connection or one of its tasks had to wait for its turn")
    flushes: int = _counter("Times that a room sent its pending edits to readers and journal")
    flush_s: Histogram = field(
        default_factory=Histogram, metadata=_about("histogram", "Duration of one flush of a room")
    )
    ack_s: Histogram = field(
        default_factory=Histogram,
        metadata=_about("histogram", "Time from an update's arrival to its acknowledgement as durable"),
    )
    journal_queue: int = _gauge("Batches waiting for the journal")
    journal_unsaved_bytes: int = _gauge("Bytes of updates that are not durable yet")
    journal_append_s: Histogram = field(
        default_factory=Histogram, metadata=_about("histogram", "Time to make one batch durable in the journal")
    )
    journal_failures: int = _counter("Journal operations that failed")
    waiting_updates: int = _gauge("Updates waiting for updates that they depend on")
    parked_updates: int = _counter("Updates with structs of another session's client id, which waited for its owner")
    waiting_bytes: int = _gauge("Bytes of updates waiting for updates that they depend on")
    slow_readers: int = _gauge("Sessions that are sent nothing until they have read what was already written")
    slow_reader_catch_ups: int = _counter("Times that a slow reader was brought up to date with one update")
    merge_s: Histogram = field(
        default_factory=Histogram, metadata=_about("histogram", "Duration of one merge of updates")
    )
    squash_s: Histogram = field(default_factory=Histogram, metadata=_about("histogram", "Duration of one squash"))
    followed_updates: int = _counter("Updates of other replicas read from the log")
    log_gaps: int = _counter("Times that a document was read again because entries of other replicas were missed")
    log_resets: int = _counter("Times that the log of a document had lost entries that this replica had seen")
    log_unreadable: int = _counter("Entries of the log that could not be read and were skipped")
    rewritten_bytes: int = _counter("Bytes appended again because the log had lost them")
    redis_gaps: int = _counter("Messages of Redis that did not follow the previous one, so that the log was read")
    redis_resyncs: int = _counter("Times that the end of a log was read after a gap, a subscription or a comparison")
    redis_reconnects: int = _counter("Times that a connection to Redis's channels was lost, to be opened again")
    redis_lag_s: float = _gauge("Seconds from sending the latest append to receiving it on its channel")
    redis_presence_dropped: int = _counter("Presence messages that Redis did not accept in time")
    presence_relayed: int = _counter("Presence messages sent to other replicas")
    presence_unreadable: int = _counter("Presence messages of other replicas that could not be read")
    compactions: int = _counter("Times that a document's log was folded into its snapshot")
    quarantined: int = _counter("Documents closed because their stored bytes cannot be read")

    def families(self) -> Iterator[Metric]:
        """All metrics in Prometheus's data model (ME1)."""
        for item in fields(self):
            kind, text, value = item.metadata["kind"], item.metadata["help"], getattr(self, item.name)
            name = f"raffia_{item.name}"
            if kind == "counter":
                yield CounterMetricFamily(name, text, value=value)
            elif kind == "gauge":
                yield GaugeMetricFamily(name, text, value=value)
            elif kind == "labelled":
                family = CounterMetricFamily(name, text, labels=[item.metadata["label"]])
                for label, count in sorted(value.items()):
                    family.add_metric([label], count)
                yield family
            else:
                yield HistogramMetricFamily(
                    f"{name.removesuffix('_s')}_seconds", text, buckets=value.buckets(), sum_value=value.sum_s
                )


class MetricsCollector(Collector):
    """Exposes one `Metrics` to a Prometheus registry: `registry.register(MetricsCollector(hub.metrics))`."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        """Called by the registry when it is read."""
        return self._metrics.families()


def expose(registry: CollectorRegistry) -> bytes:
    """The registry in Prometheus's text format."""
    return generate_latest(registry)
