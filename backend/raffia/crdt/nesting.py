"""The nesting depth of JSON, checked before a recursive parser reads it: in embeds, formats and presence states.

Rules (tests quote these ids):
    NE1  Each byte is examined once, whatever an attacker sends: strings are matched possessively, and an unterminated
        one extends to the end of the text.
    NE2  Brackets in strings do not count. Whether brackets match is left to the parser.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import re
from itertools import accumulate
from typing import Final

_STRINGS: Final = re.compile(rb'"(?:[^"\\]++|\\.?+)*+(?:"|\Z)', re.DOTALL)
_NOT_BRACKETS: Final = bytes(byte for byte in range(256) if byte not in b"[]{}")
_STEPS: Final = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")  # one down, one up: 1 and -1 as signed bytes


def nests_deeper(text: bytes, limit: int) -> bool:
    """Whether arrays and objects of a JSON text are nested deeper than `limit` (NE1, NE2)."""
    # The number of brackets is an upper bound of the depth and fast to count; the depth is measured only beyond it.
    if text.count(b"{") + text.count(b"[") <= limit:
        return False
    steps = _STRINGS.sub(b"", text).translate(_STEPS, _NOT_BRACKETS)
    return max(accumulate(memoryview(steps).cast("b")), default=0) > limit
