"""The suite itself runs end to end in its quick form. No figure is compared with a time: machines differ."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from tools.bench import documents, frames, report
from tools.bench.growth import GROWTH
from tools.bench.runner import Measured, Results
from tools.bench.workloads import CPU, SWEEPS, TARGETS, WORKLOADS, Target

from tests.support.server import ROOT

QUICK_S = 600
# make test measures one server, make soak one for each dialect and another product.
MEASURED = [("raffia-yws",), pytest.param(("raffia-yws", "raffia-hp", "hocuspocus"), marks=pytest.mark.thorough)]


@pytest.mark.slow
@pytest.mark.parametrize("names", MEASURED)
def test_the_quick_form_measures_everything_and_writes_the_report(tmp_path: Path, names: tuple[str, ...]) -> None:
    out = tmp_path / "figures-é-🧵.md"
    servers = [part for name in names for part in ("--server", name)]
    command = [sys.executable, "-m", "tools.bench", "--quick", "--out", str(out), *servers]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=QUICK_S, check=False)
    assert done.returncode == 0, done.stderr[-3000:]

    results = Results.load(ROOT / ".bench" / "quick.json")
    for workload in WORKLOADS:
        for name in set(names) & set(workload.servers):
            measured = results.workloads[workload.name][name]
            assert not measured.errors
            figures = measured.median
            assert all(math.isfinite(figures[metric.key]) and figures[metric.key] >= 0 for metric in workload.metrics)
            assert figures.get("missing", 0) == figures.get("closed", 0) == figures.get("refused", 0) == 0
            assert figures.get("unacknowledged", 0) == 0
    for sweep in SWEEPS:
        assert set(results.sweeps[sweep.name]["raffia-yws"]) == set(sweep.quick)
    assert {key.partition(":")[0] for key in results.growth} == {growth.name for growth in GROWTH}
    assert not [error for measured in results.growth.values() for error in measured.errors]

    text = out.read_text()
    assert all(target.text in text for target in TARGETS)
    assert str(ROOT) not in text
    assert str(tmp_path) not in text
    plots = sorted(path.suffix for path in out.with_suffix("").iterdir())
    assert plots == [".png", ".svg"] * 4 or plots == [".png"] * 4 + [".svg"] * 4
    assert all(f"({out.stem}/{path.name})" in text for path in out.with_suffix("").glob("*.svg"))


def test_bn2_a_typist_writes_what_yjs_would() -> None:
    from pycrdt import Doc, Text

    typist = frames.Typist(frames.client_id(3))
    document: Doc[Text] = Doc()
    text = document.get(frames.ROOT.decode(), type=Text)
    for number in range(20):
        document.apply_update(typist.type(frames.token(number)))
    assert str(text) == "".join(frames.token(number).decode() for number in range(20))


def test_bn1_tokens_are_found_in_merged_updates() -> None:
    from pycrdt import merge_updates

    typist = frames.Typist(frames.client_id(3))
    merged = merge_updates(*[typist.type(frames.token(number)) for number in range(20)])
    assert frames.TOKEN.findall(merged) == [frames.token(number) for number in range(20)]


def test_synthetic_documents_are_whole_and_of_the_size_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pycrdt import Doc, Text

    monkeypatch.setattr(documents, "BENCH", tmp_path)
    monkeypatch.setattr(documents, "CHUNK_BYTES", 20_000)
    made = documents.synthetic(50_000)
    assert len(made.files) == 3
    assert 50_000 <= sum(path.stat().st_size for path in made.files) < 51_000
    document: Doc[Text] = Doc()
    text = document.get(frames.ROOT.decode(), type=Text)
    for path in made.files:
        document.apply_update(path.read_bytes())
    content = str(text)
    assert content == documents.SENTENCE * (len(content) // len(documents.SENTENCE))
    assert len(content.encode()) > 30_000


def test_bn4_targets_are_judged_by_medians() -> None:
    target = Target("type-100", CPU, "at most 0.6", 0.6, ("raffia-hp",), ("hocuspocus", "y-websocket"))
    ours = Measured([{CPU.key: 9.0}, {CPU.key: 6.0}, {CPU.key: 1.0}]).median
    assert target.judge({"raffia-hp": ours, "hocuspocus": {CPU.key: 10.0}, "y-websocket": {CPU.key: 20.0}}) == (
        "0.60 (6.0 / 10.0)",
        True,
    )
    assert target.judge({"raffia-hp": ours, "hocuspocus": {CPU.key: 9.0}, "y-websocket": {CPU.key: 9.9}}) == (
        "0.67 (6.0 / 9.0)",
        False,
    )
    assert target.judge({"raffia-hp": ours, "hocuspocus": {CPU.key: 10.0}}) is None


def test_bn6_what_failed_or_lost_edits_is_said_beside_the_figure(tmp_path: Path) -> None:
    results = Results({"date": "2030-01-01", "command": "make bench", "rounds": "2", "machine": "2 cores"})
    results.machine |= {"python": "3.11", "node": "22.1.0"}
    lossy = Measured([{CPU.key: 5.0, "missing": 3.0, "load_cpu_pct": 95.0}], ["closed before synced"])
    results.workloads["type-100"] = {"hocuspocus": lossy}
    results.unavailable["floor"] = "no C compiler"
    kept = tmp_path / "kept.json"
    results.save(kept)
    report.write(Results.load(kept), tmp_path / "report.md")
    text = (tmp_path / "report.md").read_text()
    assert "3 missing; the load generator was saturated; 1 of 2 rounds failed" in text
    assert "Left out: C floor (no C compiler)" in text
    assert "not measured" in text
    assert json.loads(kept.read_text())["workloads"]["type-100"]["hocuspocus"]["errors"] == ["closed before synced"]
