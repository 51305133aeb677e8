"""Fuzz the wire, the readers, the gate and presence: `python -m tools.fuzz --executions 1000000 --seed 1`.

Prints a table of executions, accepted inputs, refusals by name and the slowest execution; then the findings, each with
its input in hex. Exits with status 1 if there are findings. The same seed gives the same inputs.
"""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tools.fuzz import guided
from tools.fuzz.child import CHUNK, HEAD, SLOT_BYTES
from tools.fuzz.known import is_known
from tools.fuzz.registry import ALIASES, TARGETS
from tools.fuzz.targets import SABOTAGE

MAX_DEATHS = 20  # a target that dies more often is abandoned: the fault is found


@dataclass
class Report:
    """The results of one target.

    Attributes:
        executions: inputs executed.
        accepted: of these, not refused.
        refusals: by the error's name.
        findings: what -> message and first input, in hex.
        slowest_ms: longest execution.
        took_s: wall time.
    """

    executions: int = 0
    accepted: int = 0
    refusals: dict[str, int] = field(default_factory=dict)
    findings: dict[str, tuple[str, str]] = field(default_factory=dict)
    slowest_ms: float = 0.0
    slowest: str = ""
    took_s: float = 0.0


def fuzz(name: str, seed: int, executions: int) -> Report:
    """Run one target in child processes until all executions are done."""
    report = Report()
    started_s = time.monotonic()
    chunk = deaths = 0
    with tempfile.NamedTemporaryFile() as slot:
        slot.write(bytes(SLOT_BYTES))
        slot.flush()
        while chunk * CHUNK < executions and deaths < MAX_DEATHS:
            arguments = [name, str(seed), str(chunk), str(executions), slot.name]
            child = subprocess.Popen(
                [sys.executable, "-m", "tools.fuzz.child", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            assert child.stdout is not None
            for line in child.stdout:
                chunk = _add(report, line) + 1
            _, errors = child.communicate()
            if child.returncode != 0:
                # Skip the rest of this chunk: it would lead to the same input.
                number, size = HEAD.unpack_from(Path(slot.name).read_bytes())
                data = Path(slot.name).read_bytes()[HEAD.size : HEAD.size + size]
                report.executions += number + 1
                report.findings.setdefault(
                    _how_it_died(child.returncode), (errors.decode(errors="replace")[-300:].strip(), data.hex())
                )
                chunk += 1
                deaths += 1
    report.took_s = time.monotonic() - started_s
    return report


def _add(report: Report, line: bytes) -> int:
    result = json.loads(line)
    report.executions += result["executions"]
    report.accepted += result["accepted"]
    for reason, count in result["refusals"].items():
        report.refusals[reason] = report.refusals.get(reason, 0) + count
    for finding in result["findings"]:
        report.findings.setdefault(finding["what"], (finding["message"], finding["input"]))
    if result["slowest_ms"] > report.slowest_ms:
        report.slowest_ms, report.slowest = result["slowest_ms"], result["slowest"]
    return int(result["chunk"])


def _how_it_died(returncode: int) -> str:
    if returncode == -signal.SIGPROF:
        return "hang"
    return f"death by {signal.Signals(-returncode).name}" if returncode < 0 else f"exit with {returncode}"


def _lines(reports: dict[str, Report]) -> Iterator[str]:
    yield f"{'target':<20}{'executions':>11}{'accepted':>10}{'slowest':>10}{'per s':>8}  refusals"
    for name, report in reports.items():
        refusals = ", ".join(f"{reason} {count}" for reason, count in sorted(report.refusals.items()))
        rate = report.executions / report.took_s if report.took_s else 0
        slowest = f"{report.slowest_ms:.1f} ms"
        yield f"{name:<20}{report.executions:>11}{report.accepted:>10}{slowest:>10}{rate:>8.0f}  {refusals}"
    for name, report in reports.items():
        for what, (message, data) in report.findings.items():
            known = "KNOWN " if is_known(name, what) else ""
            yield f"\n{known}FINDING in {name}: {what}: {message}\n  input ({len(data) // 2} bytes): {data[:2000]}"


def main(argv: list[str] | None = None) -> int:
    """Run the targets; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tools.fuzz")
    parser.add_argument("--executions", type=int, default=1_000_000, help="shared evenly by the targets")
    parser.add_argument("--seed", type=int, default=None, help="default: a random one, which is printed")
    parser.add_argument("--targets", default="all", help=f"comma-separated: {', '.join([*ALIASES, *TARGETS])}")
    parser.add_argument("--minutes", type=float, default=None, help="guided by coverage, for so long; needs atheris")
    parser.add_argument("--work", type=Path, default=None, help="with --minutes: folder that keeps inputs and reports")
    parser.add_argument("--keep", action="store_true", help="with --minutes: write tools/fuzz/corpus anew")
    parser.add_argument("--json", type=Path, default=None, help="write the reports there as well")
    arguments = parser.parse_args(argv)
    seed: int = secrets.randbelow(1 << 31) if arguments.seed is None else arguments.seed
    names = [name for part in arguments.targets.split(",") for name in ALIASES.get(part, (part,))]
    unknown = [name for name in names if name not in TARGETS and name not in SABOTAGE]
    if unknown:
        parser.error(f"unknown targets: {', '.join(unknown)}")
    print(f"seed {seed}", flush=True)
    if arguments.minutes is not None:
        tallies = guided.run(names, arguments.minutes, seed, arguments.work, keep=arguments.keep)
        print("\n".join(guided.lines(tallies)))
        return 0 if all(tally.is_clean(name) for name, tally in tallies.items()) else 1
    reports = {name: fuzz(name, seed, -(-arguments.executions // len(names))) for name in names}
    print("\n".join(_lines(reports)))
    found = sum(not is_known(name, what) for name, report in reports.items() for what in report.findings)
    print(f"\n{sum(report.executions for report in reports.values())} executions, {found} findings (seed {seed})")
    if arguments.json is not None:
        arguments.json.write_text(json.dumps({name: vars(report) for name, report in reports.items()}, indent=1))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
