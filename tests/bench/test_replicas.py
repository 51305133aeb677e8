"""The measurements with replicas run end to end in their quick form, and what docs/scaling.md says follows from them.

No figure is compared with a time: machines differ.
"""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import SecretStr
from tools.bench.replicas import report
from tools.bench.replicas.__main__ import DOCS, PARTS
from tools.bench.replicas.model import BUSY, KEYS, Constants, Crowd, needs, spread_over
from tools.bench.replicas.results import Part, Results
from tools.bench.replicas.tally import Tally

from raffia.settings import Settings
from tests.support.server import ROOT

QUICK_S = 600
MACHINE = {"date": "2030-01-01", "command": "c", "rounds": "1", "machine": "2 cores", "python": "3", "node": "22"}


def check_commands(figures: dict[str, float]) -> None:
    """What does not depend on the machine: one script for a keystroke, one publish, and one more for a cursor.

    So short a run may have a heartbeat or a comparison more or less than the idle stretch before: that is the slack.
    """
    assert 0 < figures["raffia_2_typing_publishes"] <= 1.3
    assert 1 < figures["raffia_2_moving_publishes"] <= 2.3
    assert figures["raffia_2_typing_scripts"] <= 1.5
    assert figures["hocuspocus_2_typing_publishes"] >= 3


@pytest.mark.slow
def test_a_part_alone_is_measured(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.bench.replicas", "--quick", "--only", "commands", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=QUICK_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    results = Results.load(tmp_path / "benchmarks" / "replicas.json")
    assert set(results.medians) == {"commands"}
    check_commands(results.medians["commands"])
    assert "not all parts have been measured" in done.stderr + done.stdout
    assert not (tmp_path / "scaling.md").exists()


@pytest.mark.slow
@pytest.mark.thorough
def test_the_quick_form_measures_everything_and_writes_both_documents(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tools.bench.replicas", "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=QUICK_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    results = Results.load(tmp_path / "benchmarks" / "replicas.json")
    assert set(results.medians) == set(PARTS)
    assert not [error for part in results.parts.values() for error in part.errors]
    medians = results.medians
    assert all(math.isfinite(value) and value >= 0 for figures in medians.values() for value in figures.values())

    check_commands(medians["commands"])
    assert medians["appends"]["scripts_per_update"] <= 1.2
    for name in ("everysec", "always"):
        assert medians["throughput"].keys() & {f"{name}_best_p99_ms", f"{name}_failing_p99_ms"}
    assert medians["documents"]["small_nodes_bytes_per_document"] < medians["documents"]["bytes_per_document"]
    assert medians["rooms"]["redis_commands_per_room_s"] <= 0.5
    assert medians["rooms"]["closed"] == 0

    for name in ("benchmarks.md", "scaling.md"):
        text = (tmp_path / name).read_text()
        assert str(ROOT) not in text
        assert str(tmp_path) not in text


def test_br6_scaling_md_says_what_was_measured() -> None:
    results = Results.load(report.results_path(DOCS / "benchmarks.md"))
    text = (DOCS / "scaling.md").read_text()
    assert report.scaling(text, results.medians) == text, "run `python -m tools.bench.replicas --results`"
    section = "\n".join(report.section(DOCS / "benchmarks.md"))
    assert section in (DOCS / "benchmarks.md").read_text(), "run `python -m tools.bench.replicas --results`"


def test_br6_the_section_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "figures.md"
    results = Results({"documents": Part(MACHINE, [{"bytes_per_document": 1.0}, {"bytes_per_document": 3.0}])})
    results.save(report.results_path(out))
    out.write_text("# Benchmarks\n\n## Growth\n\né 🧵\n\n## How it is measured\n\nWell.\n")
    report.write_section(out)
    once = out.read_text()
    report.write_section(out)
    assert out.read_text() == once
    assert once.startswith("# Benchmarks\n\n## Growth\n\né 🧵\n\n## Replicas\n")
    assert once.endswith("## How it is measured\n\nWell.\n")
    assert "| bytes per document | 2.00 (1.00 to 3.00) |" in once


def test_br6_a_missing_mark_is_said() -> None:
    medians = Results.load(report.results_path(DOCS / "benchmarks.md")).medians
    with pytest.raises(ValueError, match="0 parts marked constants"):
        report.scaling("# Scaling", medians)


def _constants(**given: float) -> Constants:
    return Constants(**{field.name: given.get(field.name, 0.0) for field in fields(Constants)})


def test_every_constant_is_explained() -> None:
    assert list(KEYS) == [field.name for field in fields(Constants)]


def test_the_model_uses_the_defaults_of_the_settings() -> None:
    from tools.bench.replicas import model

    settings = Settings(redis=SecretStr("redis://127.0.0.1:6379/0"))
    assert settings.max_connections == model.CONNECTIONS
    assert settings.compact_tail_updates == model.TAIL_UPDATES
    assert settings.history_s / 10 == model.HISTORY_WINDOWS


def test_bc3_people_of_a_document_meet_on_few_replicas() -> None:
    assert spread_over(10, 1) == 1
    assert spread_over(1, 100) == pytest.approx(1)
    assert 2.9 < spread_over(10, 3) < 3
    assert 9.5 < spread_over(10, 100) < 10


def test_bc1_each_cost_of_a_keystroke_is_counted_once() -> None:
    crowd = Crowd(1000, people=10, writing=1, per_s=3)
    # 100 documents, 300 keystrokes/s, 600 changes/s, each told to nine others
    per_append = needs(_constants(replica_us_per_append=100), crowd, together=True)
    assert per_append.replica_cores == pytest.approx(300 * 100e-6)
    per_delivery = needs(_constants(replica_us_per_delivery=10), crowd, together=True)
    assert per_delivery.replica_cores == pytest.approx(600 * 9 * 10e-6)
    assert needs(_constants(replica_us_per_followed=50), crowd, together=True).replica_cores == 0
    redis = needs(
        _constants(redis_us_per_append=20, redis_us_per_publish=5, redis_us_per_message=1), crowd, together=True
    )
    assert redis.redis_cores == pytest.approx((300 * 25 + 600) * 1e-6)
    network = needs(_constants(bytes_per_keystroke=200, bytes_per_move=300), crowd, together=True)
    assert network.redis_mb_per_s == pytest.approx(300 * 500 / 1e6)
    memory = needs(_constants(bytes_per_document=6000, bytes_per_byte=1.0), crowd, together=True)
    assert memory.redis_gb == pytest.approx(10_000 * 26_000 / 1e9)


def test_bc2_processes_are_planned_for_a_part_of_a_core() -> None:
    crowd = Crowd(100_000, people=10, writing=1, per_s=3)
    found = needs(_constants(replica_us_per_append=1000, redis_appends_per_s=10_000), crowd, together=True)
    assert found.replicas == math.ceil(30 / BUSY)
    assert found.redis_servers == math.ceil(3 / BUSY)
    assert needs(_constants(), crowd, together=True).replicas == 5, "20,000 connections each"
    spread = needs(_constants(replica_us_per_append=1000, replica_us_per_followed=100), crowd, together=False)
    assert spread.replicas > found.replicas
    assert 9 < spread.spread < 10


def test_what_idling_costs_is_taken_off() -> None:
    idle = Tally(2.0, {"hmget": 10, "ping": 2}, 100, 200, 0.2, (0.4,))
    busy = Tally(1.0, {"hmget": 25, "evalsha": 7}, 1000, 50, 0.5, (0.1,))
    used = busy.above(idle)
    assert used["calls_hmget"] == 20
    assert used["calls_evalsha"] == 7
    assert used["in_bytes"] == 950
    assert used["out_bytes"] == 0
    assert used["redis_cpu_s"] == pytest.approx(0.4)
    assert used["cpu_s_0"] == 0
