"""Makes an encoded update smaller: joins runs and drops deleted content.

Merging keeps a struct for every keystroke and the text of every deletion: 4.5 MB for a document of 100 KB. Squashing
keeps what Yjs itself would keep, without building the document: 331 KB. A peer that loads the squashed update has the
same content, state vector and delete set as one that loads the original, and can go on editing in the same way.

Rules (tests quote these ids):
    SQ1  Adjacent structs of one client join if the second continues the first: it starts where the first ends, its left
        origin is the first's last id, the right origins are the same, and both are text, values or deleted. GCs join.
    SQ2  Deleted content becomes a bare length; ids and origins stay. A partly deleted struct is split at the boundaries
        first, so that no deleted text remains in the bytes.
    SQ3  Structs are never split inside a surrogate pair: if editors deleted half of a character, both halves stay, and
        the delete set names the deleted one, as in the original. (Yjs replaces split halves with U+FFFD on loading.)
    SQ4  Structs inside a deleted type become GC (`buried`), the type itself a deleted item.
    SQ5  The delete set is copied byte for byte, including ids that the update does not contain; Skips stay.
    SQ6  With `keep_deleted`, only SQ1 applies: for editors that run with `gc: false`, and for history.
    SQ7  Unchanged structs are copied in stretches: squashing a squashed base with a small tail costs little more than
        reading it.
    SQ8  Map values (structs with a parent key) join only if they are deleted: the last one is the key's current value.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from bisect import bisect_left
from typing import Final

from raffia.crdt.buried import find_buried, infos
from raffia.crdt.ranges import IdRanges, Range
from raffia.crdt.structs import BARE, continued_head, payload, right_origin, struct, value_offsets
from raffia.crdt.update import (
    ANY,
    DELETED,
    GC,
    HAS_PARENT_KEY,
    KIND,
    STRING,
    Section,
    read_update,
    write_number,
)

_JOINABLE: Final = frozenset((GC, DELETED, STRING, ANY))
_HAS_CONTENT: Final = bytes(info & KIND not in BARE for info in range(256))  # for bytes.translate

# What to do with a struct, as bits.
_CHAINED, _DEAD, _PARTLY_DEAD, _BURIED, _AFTER_GC = 1, 2, 4, 8, 16
_CHANGED: Final = _DEAD | _PARTLY_DEAD | _BURIED

_Part = tuple[int, int, int, bytes]  # kind, start clock, end clock, payload


def squash(update: bytes, *, keep_deleted: bool = False) -> bytes:
    """Join runs and drop deleted content (SQ1-SQ8).

    Args:
        update: any update, a whole document or a part of one.
        keep_deleted: only join runs, and keep deleted content.

    Returns:
        An update with the same ids and the same delete set; the same object if there is nothing to do.

    Raises:
        UpdateError: the strict reader does not accept `update`.
    """
    facts = read_update(update)
    deletes = IdRanges() if keep_deleted else IdRanges(facts.deletes)
    buried = {} if keep_deleted else find_buried(update, facts, deletes)
    out = bytearray()
    write_number(out, len(facts.sections))
    begin = len(out)
    copied = begin  # everything before this byte is in `out`
    changed = False
    for section in facts.sections:
        actions = _actions(update, section, deletes, buried.get(section.client, ()))
        if actions is not None:
            count, structs = _rewrite(update, section, actions, deletes)
            out += update[copied:begin]
            write_number(out, count)
            write_number(out, section.client)
            write_number(out, section.start)
            out += structs
            copied = section.stop
            changed = True
        begin = section.stop
    if not changed:
        return update
    out += update[copied:]
    return bytes(out)


def _actions(
    update: bytes, section: Section, deletes: IdRanges, buried: tuple[int, ...] | list[int]
) -> bytearray | None:
    """What to do with each struct of a section; None if nothing."""
    clocks = section.clocks
    count = len(clocks)
    actions = bytearray(count)
    for index in section.chained:
        actions[index] = _CHAINED
    for index in buried:
        actions[index] |= _BURIED
    listed = infos(update, section)
    with_content = listed.translate(_HAS_CONTENT)
    for start, end in deletes.overlap(section.client, section.start, section.end):
        first = bisect_left(clocks, start)
        stop = bisect_left(clocks, end)
        if first and clocks[min(first, count - 1)] != start and with_content[first - 1]:
            actions[first - 1] |= _PARTLY_DEAD  # begins before the range
        last_end = clocks[stop] if stop < count else section.end
        if last_end > end and stop > first:
            stop -= 1
            if with_content[stop]:
                actions[stop] |= _PARTLY_DEAD  # ends after the range
        for index in range(first, stop):
            if with_content[index]:
                actions[index] |= _DEAD
    gc = listed.find(GC)
    while gc >= 0:
        # A GC joins the one before it, also if that becomes GC only now.
        if gc and (listed[gc - 1] == GC or actions[gc - 1] & _BURIED):
            actions[gc] |= _AFTER_GC
        gc = listed.find(GC, gc + 1)
    return actions if any(actions) else None


def _rewrite(update: bytes, section: Section, actions: bytearray, deletes: IdRanges) -> tuple[int, bytes]:
    """Rewrite one section; returns the number of structs and their bytes.

    At any point, the previous struct is either at the end of a raw stretch, which will be copied unchanged, or in the
    open run, which the next struct may join.
    """
    clocks = [*section.clocks, section.end]
    offsets = [*section.offsets, section.stop]
    contents = section.contents
    pieces: list[bytes] = []
    count = len(contents)
    raw = offsets[0]  # where the raw stretch begins; meaningless while a run is open
    run_kind = -1  # of the open run; -1 while none is open
    run_after = 0  # index of the struct after the open run
    run_start = run_end = run_key = 0
    run_head = run_right = b""
    run_payloads: list[bytes] = []
    for index, action in enumerate(actions):
        if not action:
            continue
        offset = offsets[index]
        info = update[offset]
        kind = info & KIND
        if run_kind >= 0 and run_after != index:
            pieces.append(struct(run_kind, run_head, run_end - run_start, b"".join(run_payloads)))
            run_kind = -1
            raw = offsets[run_after]
        if not action & _CHANGED and kind != (run_kind if run_kind >= 0 else update[offsets[index - 1]] & KIND):
            # The usual case in squashed updates: typing continued after a struct of another kind.
            if run_kind >= 0:
                pieces.append(struct(run_kind, run_head, run_end - run_start, b"".join(run_payloads)))
                run_kind = -1
                raw = offset
            continue
        right = right_origin(update, offset, contents[index], info)
        key = info & HAS_PARENT_KEY
        # First, what the struct becomes: usually one part, itself.
        parts: list[_Part] | None = None
        if action & _CHANGED:
            if action & _BURIED:
                kind, right, key = GC, b"", 0
            elif action & _DEAD:
                kind = DELETED
            else:
                parts = _split(update, section, index, kind, deletes)
                kind = parts[0][0]
        # Then, whether its first part continues the previous struct.
        joins = False
        if kind in _JOINABLE and (action & _CHAINED or kind == GC):
            any_key = kind == DELETED  # deleted map values join too, others with a key do not (SQ8)
            if run_kind >= 0:
                joins = run_kind == kind and run_right == right and (any_key or not run_key | key)
            elif index and raw < offset:
                before = offsets[index - 1]
                info_before = update[before]
                if (
                    info_before & KIND == kind
                    and (any_key or not (info_before & HAS_PARENT_KEY | key))
                    and right_origin(update, before, contents[index - 1], info_before) == right
                ):
                    joins = True
                    if raw < before:
                        pieces.append(update[raw:before])
                    run_kind, run_right, run_key = kind, right, info_before & HAS_PARENT_KEY
                    run_start = clocks[index - 1]
                    run_head = update[before : contents[index - 1]]
                    run_payloads = [payload(update, kind, contents[index - 1], offset)]
        if not action & _CHANGED:
            if joins:
                count -= 1
                run_payloads.append(payload(update, kind, contents[index], offsets[index + 1]))
                run_end = clocks[index + 1]
                run_after = index + 1
            elif run_kind >= 0:
                pieces.append(struct(run_kind, run_head, run_end - run_start, b"".join(run_payloads)))
                run_kind = -1
                raw = offset
            continue
        if joins:
            count -= 1
        elif run_kind >= 0:
            pieces.append(struct(run_kind, run_head, run_end - run_start, b"".join(run_payloads)))
        elif raw < offset:
            pieces.append(update[raw:offset])
        if not joins:
            run_kind, run_right, run_key = kind, right, key
            run_start = clocks[index]
            run_head = b"\x00" if kind == GC else bytes((info & ~KIND | kind,)) + update[offset + 1 : contents[index]]
            run_payloads = []
        run_end = clocks[index + 1]
        run_after = index + 1
        if parts is not None:
            run_end = parts[0][2]
            run_payloads.append(parts[0][3])
            count += len(parts) - 1
            for part_kind, start, end, content in parts[1:]:
                pieces.append(struct(run_kind, run_head, run_end - run_start, b"".join(run_payloads)))
                run_kind, run_head = part_kind, continued_head(part_kind, section.client, start, right, key)
                run_start, run_end, run_payloads = start, end, [content]
    if run_kind >= 0:
        pieces.append(struct(run_kind, run_head, run_end - run_start, b"".join(run_payloads)))
        raw = offsets[run_after]
    pieces.append(update[raw : section.stop])
    return count, b"".join(pieces)


def _split(update: bytes, section: Section, index: int, kind: int, deletes: IdRanges) -> list[_Part]:
    """Split a partly deleted struct of text or values into live and deleted parts (SQ2, SQ3)."""
    start = section.clocks[index]
    is_last = index + 1 == len(section.clocks)
    end = section.end if is_last else section.clocks[index + 1]
    stop = section.stop if is_last else section.offsets[index + 1]
    content = payload(update, kind, section.contents[index], stop)
    dead = [(begin - start, until - start) for begin, until in deletes.overlap(section.client, start, end)]
    cuts: list[int] | None = None  # byte offset of each clock in the payload; None if they are the same
    if kind == ANY:
        cuts = value_offsets(content, end - start)
    elif not content.isascii():
        dead, cuts = _outside_pairs(content, dead)
    parts: list[_Part] = []
    at = 0
    for begin, until in [*dead, (end - start, end - start)]:
        if at < begin:
            live = content[at:begin] if cuts is None else content[cuts[at] : cuts[begin]]
            parts.append((kind, start + at, start + begin, live))
        if begin < until:
            parts.append((DELETED, start + begin, start + until, b""))
        at = until
    return parts


def _outside_pairs(content: bytes, dead: list[Range]) -> tuple[list[Range], list[int]]:
    """Shrink ranges of UTF-16 units so that none ends inside a surrogate pair; also returns the units' byte offsets."""
    cuts: list[int] = []
    inside: set[int] = set()
    at = 0
    for char in content.decode():
        cuts.append(at)
        code = ord(char)
        if code > 0xFFFF:
            inside.add(len(cuts))
            cuts.append(at)  # never cut here
        at += 1 if code < 0x80 else 2 if code < 0x800 else 3 if code < 0x10000 else 4
    cuts.append(at)
    shrunk = ((begin + (begin in inside), until - (until in inside)) for begin, until in dead)
    return [(begin, until) for begin, until in shrunk if begin < until], cuts
