"""Limits the memory of all open documents of a process. No I/O.

Rules (tests quote these ids):
    DM1  A room counts as `ROOM_BYTES` plus `FACTOR` times the size of its document (base and tail). This is an
         estimate.
    DM2  If opening a document would exceed the limit, unused rooms are closed first; if that is not enough, it is not
         opened. Updates that would exceed the limit are refused. In both cases clients are told to try again later
         (1013).
    DM3  A quarter of the limit is reserved for small documents and updates (up to `SMALL_BYTES`), so that these can
         still be opened and taken when large ones no longer fit. An update that only deletes known content is not
         refused for lack of memory.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.errors import RoomFullError

ROOM_BYTES = 16 * 1024
FACTOR = 2
SMALL_BYTES = 64 * 1024
MIB = 1024 * 1024


class DocumentMemory:
    """The memory of one process's open documents, as counted by DM1.

    Args:
        limit_bytes: how much they may use.

    Attributes:
        used_bytes: how much they use now.
        limit_bytes: as the argument.
    """

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def fits(self, size_bytes: int, *, rooms: int = 0) -> bool:
        """Whether there is memory for this many bytes of documents and this many new rooms (DM2, DM3)."""
        limit_bytes = self.limit_bytes if size_bytes <= SMALL_BYTES else self.limit_bytes * 3 // 4
        return self.used_bytes + rooms * ROOM_BYTES + FACTOR * size_bytes <= limit_bytes

    def check(self, size_bytes: int, *, rooms: int = 0) -> None:
        """Check that there is enough memory.

        Raises:
            RoomFullError: there is not (closes 1013).
        """
        if not self.fits(size_bytes, rooms=rooms):
            raise RoomFullError(
                f"the open documents take {self.used_bytes // MIB} MiB of the {self.limit_bytes // MIB} MiB that they "
                "may take in this process (RAFFIA_MAX_OPEN_DOCUMENTS_BYTES); try again later"
            )


class RoomMemory:
    """One room's share of the counted memory, until `close`.

    Args:
        memory: the memory of the process.
    """

    __slots__ = ("_counted_bytes", "_memory")

    def __init__(self, memory: DocumentMemory) -> None:
        self._memory = memory
        self._counted_bytes = 0

    def has(self, size_bytes: int) -> None:
        """Count a document of this size, replacing what was counted before (DM1)."""
        self._count(ROOM_BYTES + FACTOR * size_bytes)

    def close(self) -> None:
        """Stop counting."""
        self._count(0)

    def _count(self, now_bytes: int) -> None:
        self._memory.used_bytes += now_bytes - self._counted_bytes
        self._counted_bytes = now_bytes
