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


_MAP_VALUES = "pycrdt 0.14.13: values of more than one clock under a key of a map, cut by an origin, end the process"

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
    Known(
        "views",
        "death",
        bytes.fromhex(
            "0104020028010174016b037a80000000000000007401ff7b7ff8000000000000c402010201016108000201037b43400000000000007703"
            "61c3a97b7ff8000000000000040002010661f09f9880620102010801"
        ),
        _MAP_VALUES,
    ),
    Known(
        "views",
        "death",
        bytes.fromhex(
            "030280808080802000e7ac0201ac020102e880808080802000ac0201037401ff7dbfffffffffffff1f7b7ff800000000000002ac020029"
            "010174016b04677569647601046d657461770178c3ac0200ac02000200ff020200000141808080808020030200"
        ),
        _MAP_VALUES,
    ),
)


def is_known(target: str, what: str) -> bool:
    """Whether a finding is one of these."""
    return any(known.target == target and what.startswith(known.what) for known in KNOWN)
