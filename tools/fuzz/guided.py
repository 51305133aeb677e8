"""Coverage-guided fuzzing with atheris: `python -m tools.fuzz --minutes 60`, or `make fuzz MINUTES=60`.

The targets take turns of one time slice, each in its own process. Inputs that reached new code are kept between slices
(in `--work`). Each slice imports the code again, so that a fix made in the meantime takes effect.

Rules (tests quote these ids):
    FZG1  A finding is reported once, by what broke, with its smallest input so far; the run goes on.
    FZG2  An input may take `SLOW_S` of processor time and `GROWTH_KB` of memory. One that does not end, or ends the
        process, ends its slice; after `MAX_DEATHS` of them the target is abandoned.
    FZG3  The run first finds planted faults, to show that it works.
    FZG4  `tools/fuzz/corpus/<target>.txt` holds inputs that together reach what a run has reached, one a line in hex.
        `make test` runs all of them; `--keep` rewrites them.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tools.fuzz import corpus
from tools.fuzz.known import is_known
from tools.fuzz.mutate import HOSTILE, TOKENS
from tools.fuzz.reach import Step, choose
from tools.fuzz.registry import TARGETS, seeds

KEPT = Path(__file__).parent / "corpus"
MAX_DEATHS = 12
SLICE_S = 40
MAX_INPUT_BYTES = 4096
HANG_S = 15
DEATHS = ("crash-", "timeout-", "oom-", "leak-")
_REACHED = re.compile(r" cov: (\d+) ")
PROOFS = {"sabotage-exception": "ZeroDivisionError", "sabotage-abort": "death", "sabotage-growth": "memory"}


@dataclass
class Tally:
    """The results of one target.

    Attributes:
        executions: inputs executed.
        accepted: of these, not refused.
        edges: branches of the code that were reached.
        inputs: how many inputs are kept.
        slowest_ms: longest execution, processor time.
        deaths: slices that ended with the process.
        findings: what -> message and smallest input, in hex.
    """

    executions: int = 0
    accepted: int = 0
    edges: int = 0
    inputs: int = 0
    slowest_ms: float = 0.0
    deaths: int = 0
    took_s: float = 0.0
    findings: dict[str, tuple[str, str]] = field(default_factory=dict)

    def is_clean(self, name: str) -> bool:
        """Whether nothing new was found."""
        return all(is_known(name, what) for what in self.findings)

    def find(self, what: str, message: str, data: str) -> None:
        """Note a finding (FZG1)."""
        known = self.findings.get(what)
        if known is None or len(data) < len(known[1]):
            self.findings[what] = (message, data)


def prepare(work: Path, name: str, material: corpus.Corpus) -> None:
    """Create a target's folder with its initial inputs and those kept from earlier runs."""
    folder = work / name / "inputs"
    folder.mkdir(parents=True, exist_ok=True)
    if name in TARGETS:
        for number, data in enumerate([*seeds(name, material), *kept(name)]):
            (folder / f"seed-{number:04}").write_bytes(data[:MAX_INPUT_BYTES])
    words = dict.fromkeys((*HOSTILE, *TOKENS, *(word.encode() for word in corpus.WORDS), b"\x00\x00\x01\x00", b"tk"))
    (work / name / "words").write_text(
        "".join('"' + "".join(f"\\x{octet:02x}" for octet in word) + '"\n' for word in words if len(word) < 60)
    )


def kept(name: str) -> list[bytes]:
    """The kept inputs of a target (FZG4)."""
    path = KEPT / f"{name}.txt"
    return [bytes.fromhex(line) for line in path.read_text().splitlines()] if path.exists() else []


def run_slice(work: Path, name: str, seconds: int, seed: int, tally: Tally) -> None:
    """Run one slice of one target; adds to its tally."""
    folder = work / name
    results = folder / "results.json"
    results.unlink(missing_ok=True)
    command = [
        *(sys.executable, "-m", "tools.fuzz.guided_child", name, str(results), str(folder / "inputs")),
        *(f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={MAX_INPUT_BYTES}", f"-timeout={HANG_S}"),
        *("-rss_limit_mb=2048", f"-artifact_prefix={folder}/", f"-dict={folder / 'words'}"),
        *("-print_final_stats=1", "-use_value_profile=0", "-reload=0", "-len_control=20"),
    ]
    started_s = time.monotonic()
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds + 20 * HANG_S, check=False)
        output = done.stderr.decode(errors="replace")
        returncode = done.returncode
    except subprocess.TimeoutExpired as error:
        output, returncode = (error.stderr or b"").decode(errors="replace"), -9
    tally.took_s += time.monotonic() - started_s
    if results.exists():
        result = json.loads(results.read_text())
        tally.executions += result["executions"]
        tally.accepted += result["accepted"]
        tally.slowest_ms = max(tally.slowest_ms, result["slowest_ms"])
        for what, (message, data) in result["findings"].items():
            tally.find(what, message, data)
    (folder / "last.log").write_text(output)
    if returncode != 0:
        tally.deaths += 1
        artifacts = [path for kind in DEATHS for path in folder.glob(f"{kind}*")]
        reason = next((line for line in output.splitlines() if "ERROR" in line or "panicked" in line), output[-300:])
        for artifact in artifacts:
            what = f"death: {artifact.name.partition('-')[0]}: {reason.rpartition(': ')[2][:80]}"
            tally.find(what, reason, artifact.read_bytes().hex())
            artifact.unlink()
        if not artifacts:
            tally.find(f"death: exit with {returncode}", output[-300:], "")
    tally.edges = max((int(found) for found in _REACHED.findall(output)), default=tally.edges)
    tally.inputs = len(list((folder / "inputs").iterdir()))


def prove(work: Path) -> list[str]:
    """Run the planted faults (FZG3); returns those that were not found."""
    missing = []
    for name, expected in PROOFS.items():
        prepare(work, name, corpus.build(1))
        tally = Tally()
        run_slice(work, name, 10, 1, tally)
        if not any(what.startswith(expected) for what in tally.findings):
            missing.append(f"{name}: {list(tally.findings)}")
    return missing


def run(names: Sequence[str], minutes: float, seed: int | None, work: Path | None, *, keep: bool) -> dict[str, Tally]:
    """Fuzz for some minutes; returns the results of each target."""
    seed = secrets.randbelow(1 << 31) if seed is None else seed
    material = corpus.build(seed)
    tallies = {name: Tally() for name in names}
    with tempfile.TemporaryDirectory(prefix="fuzz-") as temporary:
        work = Path(temporary) if work is None else work
        missing = prove(work)
        if missing:
            raise RuntimeError(f"planted faults were not found: {'; '.join(missing)}; see {work}")
        for name in names:
            prepare(work, name, material)
        end_s = time.monotonic() + 60 * minutes
        slice_s = max(2, min(SLICE_S, int(60 * minutes / len(names)) - 1))
        turn = 0
        while time.monotonic() + slice_s / 2 < end_s and any(tally.deaths < MAX_DEATHS for tally in tallies.values()):
            name = names[turn % len(names)]
            turn += 1
            if tallies[name].deaths < MAX_DEATHS:
                run_slice(work, name, slice_s, (seed + turn) % (1 << 31), tallies[name])
                report = {name: vars(tally) for name, tally in tallies.items()}
                (work / "report.json.new").write_text(json.dumps(report, indent=1))
                os.replace(work / "report.json.new", work / "report.json")  # noqa: PTH105 - both are files here
        for name in names:
            if keep:
                keep_smallest(work, name, material)
    return tallies


def keep_smallest(work: Path, name: str, material: corpus.Corpus) -> set[Step]:
    """Write the inputs of a target that together reach what all of them reach (FZG4); returns what that is."""
    inputs = [path.read_bytes() for path in (work / name / "inputs").iterdir()]
    logging.disable()
    try:
        chosen, reached = choose(TARGETS[name](material).run, inputs)
    finally:
        logging.disable(logging.NOTSET)
    KEPT.mkdir(exist_ok=True)
    (KEPT / f"{name}.txt").write_text("".join(data.hex() + "\n" for data in chosen))
    return reached


def lines(tallies: dict[str, Tally]) -> list[str]:
    """The table and the findings."""
    heads = f"{'per s':>8}{'edges':>8}{'inputs':>8}{'slowest':>11}{'deaths':>7}"
    out = [f"{'target':<14}{'executions':>11}{'accepted':>10}{heads}"]
    for name, tally in tallies.items():
        rate = tally.executions / tally.took_s if tally.took_s else 0
        slowest = f"{tally.slowest_ms:.1f} ms"
        out.append(
            f"{name:<14}{tally.executions:>11}{tally.accepted:>10}{rate:>8.0f}{tally.edges:>8}{tally.inputs:>8}"
            f"{slowest:>11}{tally.deaths:>7}"
        )
    for name, tally in tallies.items():
        for what, (message, data) in tally.findings.items():
            known = "KNOWN " if is_known(name, what) else ""
            out.append(
                f"\n{known}FINDING in {name}: {what}: {message[:300]}\n  input ({len(data) // 2} bytes): {data[:2000]}"
            )
    return out
