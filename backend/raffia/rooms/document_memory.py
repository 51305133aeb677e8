"""Memory of all open documents together. No I/O.

Rules (tests quote these ids):
    DM1  A room counts as `ROOM_BYTES` and `FACTOR` times the size of its document: its base, the tail and what is made
         of them. That is an estimate; measured with large documents, a process takes less.
    DM2  When all rooms together would be over the limit, unused ones are closed first. If that is not enough, documents
         are not opened and updates are refused, later (1013), until something has been closed.
    DM3  A quarter of the limit is kept for what is small (`SMALL_BYTES`): whoever fills the memory with large documents
         does not keep others from opening small ones and typing. Deleting is always allowed.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from raffia.errors import RoomFullError

ROOM_BYTES = 16 * 1024
FACTOR = 2
SMALL_BYTES = 64 * 1024
MIB = 1024 * 1024


class DocumentMemory:
    """What the open documents of one process take.

    Args:
        limit_bytes: what they may take.

    Attributes:
        used_bytes: what they take now.
        limit_bytes: as the argument.
    """

    __slots__ = ("limit_bytes", "used_bytes")

    def __init__(self, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        self.used_bytes = 0

    def fits(self, size_bytes: int, *, rooms: int = 0) -> bool:
        """Whether there is room for so many bytes of documents in so many new rooms (DM2, DM3)."""
        limit_bytes = self.limit_bytes if size_bytes <= SMALL_BYTES else self.limit_bytes * 3 // 4
        return self.used_bytes + rooms * ROOM_BYTES + FACTOR * size_bytes <= limit_bytes

    def check(self, size_bytes: int, *, rooms: int = 0) -> None:
        """Check that there is room.

        Raises:
            RoomFullError: there is none (closes 1013).
        """
        if not self.fits(size_bytes, rooms=rooms):
            raise RoomFullError(
                f"the open documents take {self.used_bytes // MIB} MiB of the {self.limit_bytes // MIB} MiB that they "
                "may take in this process (RAFFIA_MAX_OPEN_DOCUMENTS_BYTES); try again later"
            )


class RoomMemory:
    """What one room counts as; gives it back with `close`.

    Args:
        memory: of the process.
    """

    __slots__ = ("_counted_bytes", "_memory")

    def __init__(self, memory: DocumentMemory) -> None:
        self._memory = memory
        self._counted_bytes = 0

    def has(self, size_bytes: int) -> None:
        """Count a document of this size, instead of what was counted before (DM1)."""
        self._count(ROOM_BYTES + FACTOR * size_bytes)

    def close(self) -> None:
        """Count nothing any more."""
        self._count(0)

    def _count(self, now_bytes: int) -> None:
        self._memory.used_bytes += now_bytes - self._counted_bytes
        self._counted_bytes = now_bytes
