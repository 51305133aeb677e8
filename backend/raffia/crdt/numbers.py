"""Rewrites integers in JSON that pycrdt cannot read. For reading only, like `halves`.

`JSON.stringify({id: 1.2e19})` is `{"id":12000000000000000000}`, an ordinary number in JavaScript, but pycrdt refuses
the whole update if an integer fits only in unsigned 64 bits. What is stored and sent stays as the editor wrote it.

Rules (tests quote these ids):
    NU1  An integer from 2^63 to 2^64 - 1 in an embed or a format is written as a double, which it is in JavaScript.
    NU2  All other numbers, and digits in strings, are left as they are.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import re
from typing import Final

from raffia.crdt.anyvalue import read_long, skip_text
from raffia.crdt.update import EMBED, FORMAT, KIND, read_update, write_number

_DIGITS: Final = re.compile(rb"[1-9][0-9]{18}")  # 2^63 has 19 digits
# A string, which is skipped, or a number. Possessive, and a string without an end runs to the end of the text, so that
# each byte is examined once.
_TOKEN: Final = re.compile(rb'"(?:[^"\\]++|\\.?+)*+(?:"|\Z)|-?[0-9]++(?:\.[0-9]++)?+(?:[eE][-+]?[0-9]++)?+', re.DOTALL)
_UNREADABLE: Final = range(1 << 63, 1 << 64)
_MAX_DIGITS: Final = 20


def show_numbers(update: bytes) -> bytes:
    """Rewrite integers that pycrdt cannot read (NU1); returns the same object if there are none.

    Raises:
        UpdateError: the strict reader does not accept `update`.
    """
    if _DIGITS.search(update) is None:
        return update
    pieces: list[bytes] = []
    copied = 0
    for section in read_update(update).sections:
        stops = [*section.offsets[1:], section.stop]
        for offset, begin, stop in zip(section.offsets, section.contents, stops, strict=True):
            kind = update[offset] & KIND
            if kind not in (EMBED, FORMAT) or _DIGITS.search(update, begin, stop) is None:
                continue
            at = skip_text(update, begin) if kind == FORMAT else begin
            json = update[_after_length(update, at) : stop]
            shown = _TOKEN.sub(_readable, json)
            if shown != json:
                length = bytearray()
                write_number(length, len(shown))
                pieces += (update[copied:at], bytes(length), shown)
                copied = stop
    return b"".join((*pieces, update[copied:])) if pieces else update


def _after_length(update: bytes, at: int) -> int:
    first = update[at]
    return at + 1 if first < 128 else read_long(update, at + 1, first)[1]


def _readable(token: re.Match[bytes]) -> bytes:
    found = token[0]
    return found + b".0" if found.isdigit() and len(found) <= _MAX_DIGITS and int(found) in _UNREADABLE else found
