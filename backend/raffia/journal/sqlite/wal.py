"""Reads the write-ahead log frame by frame, to find damage that SQLite ignores.

SQLite stops reading at the first frame that does not match its checksum, as it should after a power cut, and does not
report the commits after it. Each frame's checksum continues the one stored in the frame before it, so the frames after
a damaged one can still be checked.

Rules (tests quote these ids):
    WL1  A frame is intact if it has the salts of this log and its checksum continues the one stored before it.
    WL2  If intact frames follow a damaged one, the log is damaged. If these contain at most one commit, the cause may
         be a power cut while the last transaction was being written.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import struct
from collections import Counter
from typing import NamedTuple

_HEADER = struct.Struct(">IIIIIIII")  # magic, version, page size, sequence, two salts, two checksums
_FRAME = struct.Struct(">IIIIII")  # page, pages of the file after a commit (0: no commit), two salts, two checksums
_MAGIC = 0x377F0682  # the lowest bit: whether checksums are big-endian
_MASK = 0xFFFFFFFF
PAGE_BYTES = 4096


class Wal(NamedTuple):
    """The content of a log.

    Attributes:
        pages: for each page, its content in its latest intact frame up to the last intact commit.
        damaged: whether intact frames follow a damaged one (WL2).
        lost_commits: how many intact commit frames SQLite would not read.
    """

    pages: dict[int, bytes]
    damaged: bool
    lost_commits: int


def read_wal(content: bytes) -> Wal:
    """Read the content of a -wal file, damaged or not."""
    if len(content) < _HEADER.size + _FRAME.size + PAGE_BYTES:
        return Wal({}, False, 0)
    magic, *_, salt1, salt2, sum1, sum2 = _HEADER.unpack_from(content)
    big = magic & 1
    header_is_whole = magic & ~1 == _MAGIC and _sums(content[:24], (0, 0), big) == (sum1, sum2)
    step = _FRAME.size + PAGE_BYTES
    starts = range(_HEADER.size, len(content) - step + 1, step)
    heads = [_FRAME.unpack_from(content, start) for start in starts]
    salts = (salt1, salt2)
    if not header_is_whole:
        big = 0  # SQLite writes the machine's own byte order: little-endian almost everywhere
        salts = Counter((head[2], head[3]) for head in heads[:3]).most_common(1)[0][0]  # older ones may follow
    before = (sum1, sum2)
    whole: list[int] = []
    for index, start in enumerate(starts):
        page, _, s1, s2, *sums = heads[index]
        if (s1, s2) == salts:
            found = _sums(content[start : start + 8], before, big)
            found = _sums(content[start + _FRAME.size : start + step], found, big)
            if list(found) == sums and page:
                whole.append(index)
        before = (sums[0], sums[1])
    seen = 0  # frames that SQLite sees
    while header_is_whole and seen < len(whole) and whole[seen] == seen:
        seen += 1
    lost = sum(1 for index in whole if index >= seen and heads[index][1])
    last = max((index for index in whole if heads[index][1]), default=-1)
    pages = {}
    for index in whole:
        if index <= last:
            start = starts[index] + _FRAME.size
            pages[heads[index][0]] = content[start : start + PAGE_BYTES]
    return Wal(pages, any(index >= seen for index in whole), lost)


def _sums(data: bytes, before: tuple[int, int], big: int) -> tuple[int, int]:
    one, two = before
    words = struct.unpack(f"{'>' if big else '<'}{len(data) // 4}I", data)
    for at in range(0, len(words), 2):
        one = (one + words[at] + two) & _MASK
        two = (two + words[at + 1] + one) & _MASK
    return one, two
