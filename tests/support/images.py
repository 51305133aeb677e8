"""Small images of each kind, made by hand."""

from __future__ import annotations

import struct
import zlib


def png(width: int = 3, height: int = 2, *, filler: bytes = b"") -> bytes:
    """A PNG, with pixel data only below 100 pixels of width; `filler` makes files differ."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress(b"".join(b"\x00" + b"\x7f" * 3 * width for _ in range(height))) if width < 100 else b""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return (
        b"\x89PNG\r\n\x1a\n" + head + chunk(b"tEXt", b"x\x00" + filler) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def gif(width: int = 3, height: int = 2) -> bytes:
    return b"GIF89a" + struct.pack("<HH", width, height) + b"\x00\x00\x00;"


def jpeg(width: int = 3, height: int = 2, *, progressive: bool = False) -> bytes:
    app = b"\xff\xe0" + struct.pack(">H", 16) + b"JFIF\x00" + b"\x00" * 9
    tables = b"\xff\xdb" + struct.pack(">H", 67) + b"\x00" * 65
    frame = (
        b"\xff"
        + (b"\xc2" if progressive else b"\xc0")
        + struct.pack(">HBHHB", 11, 8, height, width, 1)
        + b"\x01\x11\x00"
    )
    return b"\xff\xd8" + app + tables + b"\xff\xff" + frame[1:] + b"\xff\xda\x00\x02\xff\xd9"


def webp(width: int = 3, height: int = 2, kind: bytes = b"VP8X") -> bytes:
    if kind == b"VP8X":
        body = b"\x00\x00\x00\x00" + (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    elif kind == b"VP8L":
        body = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14)
    else:
        body = b"\x00\x00\x00\x9d\x01\x2a" + struct.pack("<HH", width, height)
    chunk = kind + struct.pack("<I", len(body)) + body
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def avif(width: int = 3, height: int = 2) -> bytes:
    def box(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", 8 + len(body)) + kind + body

    tile = box(b"ispe", struct.pack(">III", 0, 1, 1))
    whole = box(b"ispe", struct.pack(">III", 0, width, height))
    meta = box(b"meta", b"\x00\x00\x00\x00" + box(b"hdlr", b"\x00" * 20) + box(b"iprp", box(b"ipco", tile + whole)))
    return box(b"ftyp", b"avif\x00\x00\x00\x00avifmif1miaf") + meta + box(b"mdat", b"")


IMAGES = {"png": png, "gif": gif, "jpg": jpeg, "webp": webp, "avif": avif}
