"""UTF-8 in text messages (RFC 6455, 8.1), every way to go wrong, against Python's own table of code points.

FR5: refused at the first byte that nothing after it can mend, and not before.
"""

from __future__ import annotations

import sys

import pytest
from tests.integration.server.raw import CONT, TEXT, frame

from raffia.sockets.server.frames import FrameError, FrameReader

# The edges of all ranges that RFC 3629 names, and their neighbours.
NEXT = bytes.fromhex("00417f80818e8f909ea0a19fbebfc0c1c2dfe0e1ecedeeeff0f1f3f4f5f8feff")


@pytest.fixture(scope="module")
def beginnings() -> set[bytes]:
    """Every beginning of every code point's encoding, the whole ones too."""
    found: set[bytes] = set()
    for number in range(sys.maxunicode + 1):
        if not 0xD800 <= number <= 0xDFFF:
            encoded = chr(number).encode()
            found.update(encoded[:size] for size in range(1, len(encoded) + 1))
    return found


def is_refused(*pieces: bytes) -> bool:
    """Whether a text is refused that begins with these pieces, each a fragment, and does not end with them."""
    reader = FrameReader(1000)
    for n, piece in enumerate(pieces):
        reader.feed(frame(CONT if n else TEXT, piece, fin=False))
        try:
            assert reader.next() is None
        except FrameError as error:
            return error.code == 1007
    return False


def test_refused_at_the_first_byte_that_cannot_be_mended(beginnings: set[bytes]):
    """FR5"""
    unfinished = [b""]
    tried = 0
    while unfinished:
        start = unfinished.pop()
        for octet in NEXT:
            text = start + bytes([octet])
            expected = text not in beginnings
            assert is_refused(text) == expected, text.hex()
            assert is_refused(b"ok " + start, bytes([octet])) == expected, text.hex()
            assert is_refused(*(bytes([each]) for each in text)) == expected, text.hex()
            tried += 1
            if not expected and not is_whole(text):
                unfinished.append(text)
    assert tried > 1000


def is_whole(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def test_an_unfinished_code_point_is_refused_at_the_end(beginnings: set[bytes]):
    """FR5"""
    for start in beginnings:
        if len(start) < 3 and not is_whole(start):
            reader = FrameReader(1000)
            reader.feed(frame(TEXT, start, fin=False) + frame(CONT))
            with pytest.raises(FrameError, match="1007"):
                reader.next()
