"""Replaces surrogate pairs that editors have split, as Yjs does.

JavaScript editors delete and insert between UTF-16 units, even inside a surrogate pair. The bytes of the update keep
the whole character, and Yjs replaces each half with U+FFFD when it loads them. pycrdt does not (in 109 of 150 random
sessions it shows a different text), so the halves are replaced before pycrdt reads the update. This is for reading
only: what is stored and sent stays as the editors wrote it.

Rules (tests quote these ids):
    HV1  A pair is split if a delete range begins or ends inside it, or if a struct has its first half as left origin
         or its second half as right origin.
    HV2  A split pair becomes U+FFFD twice: as many UTF-16 units as before, so that ids stay the same.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

import re
from typing import Final

from raffia.crdt.anyvalue import read_long
from raffia.crdt.structs import payload, struct
from raffia.crdt.update import HAS_ORIGIN, HAS_RIGHT_ORIGIN, KIND, STRING, Section, UpdateFacts, read_update

_ASTRAL: Final = re.compile(rb"[\xf0-\xf4]")
_LAST_OF_PLANE: Final = "\uffff"
_HALVES: Final = "\ufffd\ufffd"


def show_halves(update: bytes) -> bytes:
    """Replace split pairs (HV1, HV2); returns the same object if there are none.

    Raises:
        UpdateError: the strict reader does not accept `update`.
    """
    facts = read_update(update)
    candidates = [(section, found) for section in facts.sections if (found := _astral_texts(update, section))]
    if not candidates:
        return update
    cuts = _cuts(update, facts)
    pieces: list[bytes] = []
    copied = 0
    for section, indexes in candidates:
        own = cuts.get(section.client)
        if not own:
            continue
        for index in indexes:
            stop = _stop(section, index)
            content = payload(update, STRING, section.contents[index], stop)
            shown = _replace(content, section.clocks[index], own)
            if shown is not None:
                offset, begin = section.offsets[index], section.contents[index]
                pieces += (update[copied:offset], struct(STRING, update[offset:begin], 0, shown))
                copied = stop
    return b"".join((*pieces, update[copied:])) if pieces else update


def _stop(section: Section, index: int) -> int:
    return section.offsets[index + 1] if index + 1 < len(section.offsets) else section.stop


def _astral_texts(update: bytes, section: Section) -> list[int]:
    """Indexes of the texts that contain surrogate pairs."""
    return [
        index
        for index, offset in enumerate(section.offsets)
        if update[offset] & KIND == STRING and _ASTRAL.search(update, section.contents[index], _stop(section, index))
    ]


def _cuts(update: bytes, facts: UpdateFacts) -> dict[int, set[int]]:
    """Maps client ids to the clocks before which text is split (HV1)."""
    cuts: dict[int, set[int]] = {}
    for client, ranges in facts.deletes:
        found = cuts.setdefault(client, set())
        for start, end in ranges:
            found.add(start)
            found.add(end)
    for section in facts.sections:
        for offset in section.offsets:
            info = update[offset]
            at = offset + 1
            if info & HAS_ORIGIN:
                client, clock, at = _reference(update, at)
                cuts.setdefault(client, set()).add(clock + 1)
            if info & HAS_RIGHT_ORIGIN:
                client, clock, at = _reference(update, at)
                cuts.setdefault(client, set()).add(clock)
    return cuts


def _reference(update: bytes, at: int) -> tuple[int, int, int]:
    client = update[at]
    at += 1
    if client > 127:
        client, at = read_long(update, at, client)
    clock = update[at]
    at += 1
    if clock > 127:
        clock, at = read_long(update, at, clock)
    return client, clock, at


def _replace(content: bytes, clock: int, cuts: set[int]) -> bytes | None:
    """The text with its split pairs replaced; None if there are none."""
    text = content.decode()
    shown: list[str] = []
    copied = 0
    for at, char in enumerate(text):
        clock += 1
        if char > _LAST_OF_PLANE:
            if clock in cuts:
                shown += (text[copied:at], _HALVES)
                copied = at + 1
            clock += 1
    return "".join((*shown, text[copied:])).encode() if shown else None
