"""Merging and diffing updates: guarded calls to the three pycrdt functions that documents need.

Rules (tests quote these ids):
    M1  Only updates that the strict reader has accepted are passed to pycrdt: hostile bytes make it allocate memory or
        abort, and no guard catches that.
        Overlaps are not passed either: known content is cut off first (`diff`), because an overlap that begins inside a
        surrogate pair would shift the ids after it.
    M2  Whatever pycrdt raises, including panics (which derive from BaseException), becomes a `CrdtError`.
        Cancellation, interrupts and exits pass through unchanged.
    M3  pycrdt never releases the GIL: merging megabytes blocks the event loop, even from a thread. Long merges belong
        in another process.
    M4  The cost of `pycrdt.merge_updates` grows with the square of the number of updates (2 s for 26,000 keystrokes,
        six minutes for 260,000), so many updates are merged in groups, and then the groups.
    M5  pycrdt loses parts of subdocuments when it re-encodes them, so updates with subdocuments go through `splice`.
    M6  A diff whose state vector is inside a surrogate pair goes through `splice` too: pycrdt drops the half, and all
        ids after it are wrong. Such a diff is detected by the clocks at which its sections end.
    M7  Updates that pycrdt refuses are merged and diffed by `splice`: pycrdt refuses integers from 2^63 to 2^64 - 1 in
        JSON, which correct editors write. It is an error only if the strict reader refuses them as well.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Final

import pycrdt

from raffia.crdt.splice import diff_exactly, merge_exactly, state_vector_exactly
from raffia.crdt.update import read_state_vector, read_update
from raffia.errors import CrdtError, RaffiaError, UpdateError
from raffia.types import EMPTY_STATE_VECTOR, EMPTY_UPDATE

_PANIC_MODULE: Final = "pyo3_runtime"  # the class itself cannot be imported


class Guard:
    """Context manager for calls to pycrdt (M2)."""

    __slots__ = ("_what",)

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if error is None or isinstance(error, RaffiaError):
            return
        if isinstance(error, Exception) or type(error).__module__ == _PANIC_MODULE:
            raise CrdtError(f"cannot {self._what}: {type(error).__name__}: {error}") from error


_SUBDOCUMENT: Final = b"\x0ashouldLoad"  # pycrdt writes this option for every subdocument (M5)
_ASTRAL_LEADS: Final = (b"\xf0", b"\xf1", b"\xf2", b"\xf3", b"\xf4")  # first bytes of surrogate pairs in UTF-8
_GROUP: Final = 64  # updates merged at once (M4)

_MERGING: Final = Guard("merge updates")
_DIFFING: Final = Guard("diff an update")
_READING: Final = Guard("read the state vector of an update")


def merge(updates: Sequence[bytes]) -> bytes:
    """Merge updates into one, without joining runs or dropping deleted content (`squash` does that).

    Args:
        updates: in any order; without any, the result is the empty update.

    Raises:
        CrdtError: neither pycrdt nor `splice` can merge them.
    """
    if not updates:
        return EMPTY_UPDATE
    while len(updates) > _GROUP:
        updates = [merge(updates[at : at + _GROUP]) for at in range(0, len(updates), _GROUP)]
    if len(updates) == 1:
        return updates[0]
    try:
        with _MERGING:
            merged: bytes = pycrdt.merge_updates(*updates)
    except CrdtError as refused:
        return _instead(refused, lambda: merge_exactly(updates))
    return merge_exactly(updates) if _SUBDOCUMENT in merged else merged


def diff(update: bytes, state_vector: bytes) -> bytes:
    """The part of `update` after `state_vector`, with its whole delete set (state vectors do not cover deletes).

    Args:
        update: merged updates without gaps.
        state_vector: checked with `read_state_vector`, since a hostile count makes pycrdt allocate 512 MB.

    Raises:
        CrdtError: neither pycrdt nor `splice` can diff it.
    """
    try:
        with _DIFFING:
            rest: bytes = pycrdt.get_update(update, state_vector)
    except CrdtError as refused:
        return _instead(refused, lambda: diff_exactly(update, state_vector))
    if _SUBDOCUMENT in rest or (state_vector != EMPTY_STATE_VECTOR and not _is_whole(update, rest)):
        return diff_exactly(update, state_vector)
    return rest


def _is_whole(update: bytes, rest: bytes) -> bool:
    """Whether the sections of a diff end where those of the update do (M6)."""
    # The lead bytes also occur in numbers; then this costs reading the diff, and nothing else.
    if not any(lead in update for lead in _ASTRAL_LEADS):
        return True
    try:
        sections = read_update(rest).sections
    except UpdateError:
        return False  # a lone half has become a text without characters
    ends = read_state_vector(state_vector(update))
    return all(section.end == ends.get(section.client) for section in sections)


def state_vector(update: bytes) -> bytes:
    """The state vector of an update that begins at clock 0 for each of its clients.

    Raises:
        CrdtError: neither pycrdt nor `splice` can read it.
    """
    try:
        with _READING:
            clocks: bytes = pycrdt.get_state(update)
    except CrdtError as refused:
        return _instead(refused, lambda: state_vector_exactly(update))
    return clocks


def _instead(refused: CrdtError, exactly: Callable[[], bytes]) -> bytes:
    """The result of `splice` for bytes that pycrdt refused (M7)."""
    try:
        return exactly()
    except UpdateError:
        raise refused from refused.__cause__  # the more useful error of the two
