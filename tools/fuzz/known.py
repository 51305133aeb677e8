"""Findings that are not mended yet. A run tells them apart from new ones; a test fails as soon as one is mended."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """One finding.

    Attributes:
        target: who finds it.
        what: how its name begins.
        data: an input that shows it.
        because: what is wrong.
    """

    target: str
    what: str
    data: bytes
    because: str


KNOWN: tuple[Known, ...] = ()


def is_known(target: str, what: str) -> bool:
    """Whether a finding is one of these."""
    return any(known.target == target and what.startswith(known.what) for known in KNOWN)
