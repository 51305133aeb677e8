"""Findings that are not fixed yet. A run distinguishes them from new ones; a test fails as soon as one is fixed."""

from __future__ import annotations

from typing import NamedTuple


class Known(NamedTuple):
    """One finding.

    Attributes:
        target: the target that finds it.
        what: the beginning of its name.
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
