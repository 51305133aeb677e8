"""What an image is by its bytes: IM1-IM3 of images.py."""

from __future__ import annotations

import random

import pytest
from tests.support.images import IMAGES, jpeg, png, webp

from raffia.files.images import MIME_TYPES, read_image


@pytest.mark.parametrize("kind", list(IMAGES))
def test_im1_each_kind_is_known_and_measured(kind: str) -> None:
    image = read_image(IMAGES[kind](640, 480))
    assert image is not None
    assert image == (MIME_TYPES[kind], kind, 640, 480)


def test_im1_variants() -> None:
    for data in (webp(640, 480, b"VP8L"), webp(640, 480, b"VP8 "), jpeg(640, 480, progressive=True)):
        image = read_image(data)
        assert image is not None
        assert (image.width, image.height) == (640, 480)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG", b"<svg/>", b"<?xml version='1.0'?><svg/>", b"GIF88a" + b"\x01" * 20, b"BM" + b"\x00" * 60,
     b"RIFF\x00\x00\x00\x00WAVE" + b"\x00" * 30, b"\x00\x00\x00\x18ftypheic" + b"\x00" * 40, b"\xff\xd8\xff\xd9"],
)  # fmt: skip
def test_im1_everything_else_is_none(data: bytes) -> None:
    assert read_image(data) is None


def test_im2_a_flood_of_pixels_is_only_measured() -> None:
    image = read_image(png(2_000_000_000, 2_000_000_000))
    assert image is not None
    assert (image.width, image.height) == (2_000_000_000, 2_000_000_000)
    assert read_image(png(1 << 31, 1)) is None
    assert read_image(png(0, 1)) is None


@pytest.mark.parametrize("kind", list(IMAGES))
def test_im3_cut_short_and_damaged_headers_raise_nothing(kind: str) -> None:
    chance, whole = random.Random(7), IMAGES[kind](640, 480)
    for end in range(len(whole)):
        read_image(whole[:end])
    for _ in range(3000):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 6)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        found = read_image(bytes(data))
        assert found is None or (found.width > 0 and found.height > 0)
