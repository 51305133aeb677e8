"""A section of docs/benchmarks.md that one benchmark writes and the others leave unchanged."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def place(report: Path, heading: str, section: str, following: Sequence[str]) -> None:
    """Put a section in its place in an existing report, or write a report with it alone.

    Args:
        report: the document.
        heading: the section's first line, with its end; the section under it is replaced.
        section: its text, heading included.
        following: it goes before the first of these headings that exists, or else to the end.
    """
    text = report.read_text() if report.exists() else "# Benchmarks\n"
    before, _, after = text.partition(heading)
    rest = after or text
    starts = [at for mark in following if (at := rest.find(mark)) >= 0]
    if not after:
        before = text[: min(starts, default=len(text))]
    tail = rest[min(starts) :] if starts else ""
    report.parent.mkdir(parents=True, exist_ok=True)
    report.write_text(before.rstrip() + "\n\n" + section + ("\n" + tail if tail else ""))
