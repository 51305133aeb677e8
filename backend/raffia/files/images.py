"""The type and dimensions of an uploaded image, read from its header. Pixels are not decoded.

Rules (tests quote these ids):
    IM1  The bytes determine the type, not the name or the Content-Type: PNG, JPEG, GIF, WebP and AVIF. Anything else is
         None, including SVG, which can run scripts.
    IM2  Dimensions come from the header: an image that claims a billion pixels costs no more than a small one.
    IM3  Lengths are checked against the available bytes; a header that is truncated or has no size gives None.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import struct
from struct import unpack_from
from typing import Final, NamedTuple

MAX_PIXELS_A_SIDE: Final = 1 << 31
_STARTS_OF_FRAME: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_ALONE: Final = frozenset((0x01, *range(0xD0, 0xD8)))  # JPEG markers without a length
_MAX_BOXES: Final = 256


class Image(NamedTuple):
    """An image as its header describes it, with dimensions in pixels and a file name extension."""

    mime_type: str
    extension: str
    width: int
    height: int


MIME_TYPES: Final = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "avif": "image/avif",
}


def read_image(data: bytes) -> Image | None:
    """Recognise an image (IM1); None if it is not a supported one."""
    for extension, starts, measure in _KINDS:
        if starts(data):
            try:
                size = measure(data)
            except (IndexError, ValueError, struct.error):
                return None
            if size is None or not all(0 < side < MAX_PIXELS_A_SIDE for side in size):
                return None
            return Image(MIME_TYPES[extension], extension, *size)
    return None


def _png(data: bytes) -> tuple[int, int] | None:
    if data[12:16] != b"IHDR":
        return None
    return unpack_from(">II", data, 16)


def _gif(data: bytes) -> tuple[int, int] | None:
    return unpack_from("<HH", data, 6)


def _jpeg(data: bytes) -> tuple[int, int] | None:
    """Walk the segments up to the start of the frame."""
    at = 2
    while True:
        if data[at] != 0xFF:
            return None
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker in _ALONE:
            continue
        if marker in (0xD9, 0xDA):
            return None  # the pixels or the end, before any dimensions
        (length,) = unpack_from(">H", data, at)
        if length < 2:
            return None
        if marker in _STARTS_OF_FRAME:
            height, width = unpack_from(">HH", data, at + 3)
            return width, height
        at += length


def _webp(data: bytes) -> tuple[int, int] | None:
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = data[24:27], data[27:30]
        if len(height) < 3:
            return None
        return int.from_bytes(width, "little") + 1, int.from_bytes(height, "little") + 1
    if kind == b"VP8L":
        if data[20] != 0x2F:
            return None
        (bits,) = unpack_from("<I", data, 21)
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        if data[23:26] != b"\x9d\x01\x2a":
            return None
        width_, height_ = unpack_from("<HH", data, 26)
        return width_ & 0x3FFF, height_ & 0x3FFF
    return None


def _avif(data: bytes) -> tuple[int, int] | None:
    """The largest `ispe` (image spatial extents) in meta/iprp/ipco: a grid's tiles are smaller than the image."""
    place = (0, len(data))
    for name, skipped in ((b"meta", 4), (b"iprp", 0), (b"ipco", 0)):
        found = next((box for kind, *box in _boxes(data, *place) if kind == name), None)
        if found is None:
            return None
        place = (found[0] + skipped, found[1])
    sizes = [unpack_from(">II", data, start + 4) for kind, start, _ in _boxes(data, *place) if kind == b"ispe"]
    return max(sizes, key=lambda size: size[0] * size[1], default=None)


def _boxes(data: bytes, at: int, end: int) -> list[tuple[bytes, int, int]]:
    """The boxes between two offsets: kind, begin and end of the content."""
    found: list[tuple[bytes, int, int]] = []
    while at + 8 <= end and len(found) < _MAX_BOXES:
        size, kind = unpack_from(">I4s", data, at)
        start = at + 8
        if size == 1:
            (size,) = unpack_from(">Q", data, start)
            start += 8
        elif size == 0:
            size = end - at
        if size < start - at or at + size > end:
            break
        found.append((kind, start, at + size))
        at += size
    return found


def _is_avif(data: bytes) -> bool:
    if data[4:8] != b"ftyp" or len(data) < 16:
        return False
    size = min(int.from_bytes(data[:4], "big"), 256)
    brands = [data[8:12], *(data[at : at + 4] for at in range(16, size, 4))]
    return b"avif" in brands or b"avis" in brands


_KINDS: Final = (
    ("png", lambda data: data.startswith(b"\x89PNG\r\n\x1a\n"), _png),
    ("jpg", lambda data: data.startswith(b"\xff\xd8\xff"), _jpeg),
    ("gif", lambda data: data.startswith((b"GIF87a", b"GIF89a")), _gif),
    ("webp", lambda data: data.startswith(b"RIFF") and data[8:12] == b"WEBP", _webp),
    ("avif", _is_avif, _avif),
)
