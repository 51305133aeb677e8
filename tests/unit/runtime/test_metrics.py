"""Metrics: ME1-ME3 of metrics.py."""

from __future__ import annotations

import math
import random
from dataclasses import fields

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from raffia.runtime.metrics import Histogram, Metrics, MetricsCollector, expose


def exposed(metrics: Metrics) -> dict[str, float]:
    registry = CollectorRegistry()
    registry.register(MetricsCollector(metrics))
    return {
        "|".join([sample.name, *(f"{k}={v}" for k, v in sample.labels.items())]): sample.value
        for family in text_string_to_metric_families(expose(registry).decode())
        for sample in family.samples
    }


def test_me1_everything_counted_is_exported() -> None:
    metrics = Metrics()
    metrics.rooms += 3
    metrics.updates_in += 7
    metrics.refusals["too-large"] += 2
    metrics.ack_s.observe(0.001)
    samples = exposed(metrics)
    assert samples["raffia_rooms"] == 3
    assert samples["raffia_updates_in_total"] == 7
    assert samples["raffia_refusals_total|reason=too-large"] == 2
    assert samples["raffia_ack_seconds_count"] == 1
    assert samples["raffia_ack_seconds_sum"] == pytest.approx(0.001)
    names = " ".join(samples)
    for item in fields(metrics):
        if item.metadata["kind"] != "labelled":
            assert f"raffia_{item.name.removesuffix('_s')}" in names
        assert item.metadata["help"]


def test_two_hubs_count_apart() -> None:
    one, other = Metrics(), Metrics()
    one.refusals["full"] += 1
    one.ack_s.observe(1.0)
    assert other.refusals == {}
    assert other.ack_s.count == 0


@pytest.mark.parametrize("seconds", [0.0, 1e-7, 1e-6, 0.0005, 0.9, 66.0, 70.0, 5000.0])
def test_histogram_puts_a_duration_into_a_bucket_that_holds_it(seconds: float) -> None:
    histogram = Histogram()
    histogram.observe(seconds)
    upper = histogram.quantile(1.0)
    assert seconds <= upper
    assert upper == math.inf or upper <= max(2 * seconds, 1e-6)
    buckets = histogram.buckets()
    assert buckets[-1] == ("+Inf", 1.0)
    assert [count for _, count in buckets] == sorted(count for _, count in buckets)


def test_histogram_quantiles_are_within_a_factor_of_two() -> None:
    rng = random.Random(20)
    values = sorted(rng.lognormvariate(-7, 1.5) for _ in range(5000))
    histogram = Histogram()
    for value in values:
        histogram.observe(value)
    for fraction in (0.5, 0.99):
        true = values[int(fraction * len(values)) - 1]
        assert true <= histogram.quantile(fraction) <= 2 * true
    assert Histogram().quantile(0.5) == 0.0
