"""Values in an update: lib0 `any` values and JSON texts, checked and skipped without being decoded.

Rules (tests quote these ids):
    AV1  An `any` value has one of the tags 116..127; arrays and objects nest at most `MAX_DEPTH` deep. (53 KB of nested
        arrays crash the process inside pycrdt; Yjs throws.)
    AV2  Counts and lengths are checked against the remaining bytes before they are used.
    AV3  Text is valid UTF-8. Integers are at most 2^53 - 1, since larger ones are not exact in JavaScript.
    AV4  A JSON text (in embeds and formats) can be read by both `JSON.parse` and pycrdt: no NaN, no Infinity, no number
        outside a double's range, no lone surrogate, at most `MAX_DEPTH` deep. Any other text would make every Yjs
        client throw on the whole update, for ever.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import json
import math
from typing import NoReturn

from raffia.crdt.nesting import nests_deeper
from raffia.errors import UpdateError

MAX_DEPTH = 64
MAX_SAFE_INTEGER = (1 << 53) - 1
_MAX_NUMBER_CHARS = 300  # doubles end at 1.8e308; longer integers do not fit

_UNDEFINED, _NULL, _INTEGER, _FLOAT32, _FLOAT64, _BIGINT = 127, 126, 125, 124, 123, 122
_FALSE, _TRUE, _TEXT, _OBJECT, _ARRAY, _BYTES = 121, 120, 119, 118, 117, 116
_BARE = frozenset((_UNDEFINED, _NULL, _FALSE, _TRUE))
_FIXED = {_FLOAT32: 4, _FLOAT64: 8, _BIGINT: 8}


def read_long(update: bytes, at: int, first: int) -> tuple[int, int]:
    """Read the rest of a variable-length number whose first byte, `first` > 127, is before `at`.

    Returns:
        The number and the offset after it.

    Raises:
        UpdateError: over 2^53 - 1, or padded with zero bytes (Yjs clients do not pad, and numbers with only one
            encoding can be compared as bytes).
        IndexError: the bytes end first; callers turn this into an `UpdateError` with the position.
    """
    # Unrolled for the usual lengths: client ids take 5 bytes, clocks of active documents 2 or 3.
    byte = update[at]
    number = first & 127 | (byte & 127) << 7
    if byte < 128:
        if byte == 0:
            _padded(at)
        return number, at + 1
    byte = update[at + 1]
    number |= (byte & 127) << 14
    if byte < 128:
        if byte == 0:
            _padded(at + 1)
        return number, at + 2
    byte = update[at + 2]
    number |= (byte & 127) << 21
    if byte < 128:
        if byte == 0:
            _padded(at + 2)
        return number, at + 3
    byte = update[at + 3]
    number |= (byte & 127) << 28
    if byte < 128:
        if byte == 0:
            _padded(at + 3)
        return number, at + 4
    start, at, shift = at - 1, at + 4, 35
    while True:
        byte = update[at]
        at += 1
        number |= (byte & 127) << shift
        if number > MAX_SAFE_INTEGER or shift > 49:
            raise UpdateError(f"number is over {MAX_SAFE_INTEGER} (byte {start})")
        if byte < 128:
            if byte == 0:
                _padded(at - 1)
            return number, at
        shift += 7


def _padded(at: int) -> NoReturn:
    raise UpdateError(f"number is padded with a zero byte (byte {at})")


def skip_text(update: bytes, at: int) -> int:
    """Skip a length-prefixed UTF-8 text and return the offset after it."""
    size = update[at]
    at += 1
    if size > 127:
        size, at = read_long(update, at, size)
    end = at + size
    if end > len(update):
        cut_short("text", size, len(update) - at, at)
    text = update[at:end]
    if not text.isascii():
        check_utf8(text, at)
    return end


def skip_bytes(update: bytes, at: int) -> int:
    """Skip length-prefixed bytes and return the offset after them."""
    size = update[at]
    at += 1
    if size > 127:
        size, at = read_long(update, at, size)
    if at + size > len(update):
        cut_short("binary value", size, len(update) - at, at)
    return at + size


def skip_any(update: bytes, at: int, depth: int = 0) -> int:
    """Skip one `any` value (AV1-AV3) and return the offset after it.

    Raises:
        UpdateError: not a value; the message says what is wrong and where.
        IndexError: the bytes end first.
    """
    tag = update[at]
    at += 1
    if tag == _TEXT:
        return skip_text(update, at)
    if tag in _BARE:
        return at
    if tag == _INTEGER:
        return _skip_integer(update, at)
    if tag in _FIXED:
        if at + _FIXED[tag] > len(update):
            cut_short("number", _FIXED[tag], len(update) - at, at)
        return at + _FIXED[tag]
    if tag == _BYTES:
        return skip_bytes(update, at)
    if tag not in (_ARRAY, _OBJECT):
        raise UpdateError(f"value has the unknown tag {tag} (byte {at - 1})")
    if depth >= MAX_DEPTH:
        raise UpdateError(f"value nests deeper than {MAX_DEPTH} (byte {at - 1})")
    count = update[at]
    at += 1
    if count > 127:
        count, at = read_long(update, at, count)
    if count > len(update) - at:
        cut_short("array" if tag == _ARRAY else "object", count, len(update) - at, at, "values")
    for _ in range(count):
        if tag == _OBJECT:
            at = skip_text(update, at)
        at = skip_any(update, at, depth + 1)
    return at


def _skip_integer(update: bytes, at: int) -> int:
    """Skip a signed number: 6 bits and a sign in the first byte, 7 bits in each following byte."""
    start = at
    byte = update[at]
    at += 1
    number, shift = byte & 63, 6
    while byte > 127:
        byte = update[at]
        at += 1
        number |= (byte & 127) << shift
        shift += 7
        if number > MAX_SAFE_INTEGER or shift > 62:
            raise UpdateError(f"value is over {MAX_SAFE_INTEGER} (byte {start})")
    return at


def check_utf8(text: bytes, at: int) -> str:
    """Decode `text`, which is at byte `at` of an update.

    Raises:
        UpdateError: not UTF-8; the message says at which byte.
    """
    try:
        return text.decode()
    except UnicodeDecodeError as error:
        raise UpdateError(f"text is not UTF-8 (byte {at + error.start})") from None


def cut_short(what: str, announced: int, follow: int, at: int, unit: str = "bytes") -> NoReturn:
    """Refuse a count or a length that is larger than the remaining bytes allow (AV2)."""
    raise UpdateError(f"{what} announces {announced} {unit} but {max(follow, 0)} bytes follow (byte {at})")


def check_json(text: bytes, at: int) -> None:
    """Check a JSON text (AV4) that is at byte `at` of an update.

    Raises:
        UpdateError: not JSON that all readers understand; the message says why.
    """
    if text in (b"true", b"null", b"false"):  # nearly all formats are one of these
        return
    decoded = check_utf8(text, at)
    if nests_deeper(text, MAX_DEPTH):
        raise UpdateError(f"JSON text nests deeper than {MAX_DEPTH} (byte {at})")
    try:
        value = json.loads(decoded, parse_constant=_no_constant, parse_float=_finite, parse_int=_finite)
        if "\\u" in decoded:
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise UpdateError(f"JSON text contains half a surrogate pair (byte {at})") from None
    except ValueError as error:
        raise UpdateError(f"JSON text cannot be read: {error} (byte {at})") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(number: str) -> float:
    if len(number) > _MAX_NUMBER_CHARS or not math.isfinite(float(number)):
        raise ValueError("number beyond a double")
    return 0.0
