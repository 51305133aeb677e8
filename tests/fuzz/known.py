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


KNOWN = (
    Known(
        "records",
        "OverflowError",
        b'0{"v":1,"time_ms":1e999,"blob":"b","state_bytes":3,"index_bytes":4}',
        "a damaged record raises OverflowError where QuarantinedError is promised (RR1)",
    ),
    Known(
        "records",
        "a position below the start",
        b'1{"v":1,"first":"0--5","last":"9-77","window_ms":1,"author":null,"blob":"b","blob_bytes":3,"bytes":2}',
        "position_of takes numbers with a sign",
    ),
)


def is_known(target: str, what: str) -> bool:
    """Whether a finding is one of these."""
    return any(known.target == target and what.startswith(known.what) for known in KNOWN)
