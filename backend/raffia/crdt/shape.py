"""What an update costs to read, by its shape: how many clients, structs and lists of deletes it announces.

Its size says little about that: 30 KB may be one text, which is read at once, or 3,000 clients, which take 15 ms.

Rules (tests quote these ids):
    SH1  A shape is known from counts, before what they count is read. The counts are those of update.py, which it
         checks against the bytes that are there.
    SH2  An estimate counts reading and the gate. It is too high rather than too low, by a factor of about two.
    SH3  The first struct of an update shows whether it is news, without anything else being read.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from raffia.crdt.anyvalue import read_long
from raffia.errors import UpdateError

SECTION_S: Final = 6e-6  # of a client with structs
STRUCT_S: Final = 2.5e-6
DELETES_S: Final = 6e-6  # of a client with deletes
RANGE_S: Final = 0.8e-6
# So many bytes are no more than 512 structs of two bytes, and are read without an estimate.
SMALL_BYTES: Final = 1024


class CostlyError(Exception):
    """An update costs more than it may here; read it elsewhere."""


class Allowance:
    """What reading one update may cost.

    Args:
        left_s: seconds.
    """

    __slots__ = ("left_s",)

    def __init__(self, left_s: float) -> None:
        self.left_s = left_s

    def take(self, count: int, each_s: float) -> None:
        """Take the estimated cost of so many parts (SH2).

        Raises:
            CostlyError: it is more than what is left.
        """
        self.left_s -= count * each_s
        if self.left_s < 0:
            raise CostlyError

    def take_section(self, update: bytes, at: int) -> None:
        """Take the cost of the client section that begins at `at`.

        Raises:
            CostlyError: it is more than what is left.
            UpdateError, IndexError: the count cannot be read.
        """
        count = update[at]
        if count > 127:
            count, _ = read_long(update, at + 1, count)
        self.take(count, STRUCT_S)


def is_news(update: bytes, clocks: Mapping[int, int]) -> bool:
    """Whether an update certainly contains structs that a document with these clocks lacks (SH3).

    False if it may contain none, or cannot be read.
    """
    try:
        at = 0
        numbers = []
        for _ in range(4):  # clients, structs of the first one, its id, its first clock
            number = update[at]
            at += 1
            if number > 127:
                number, at = read_long(update, at, number)
            numbers.append(number)
            if number == 0 and len(numbers) < 3:
                return False
    except (IndexError, UpdateError):
        return False
    return numbers[3] >= clocks.get(numbers[2], 0)
