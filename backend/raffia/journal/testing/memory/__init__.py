"""A journal without a disk: for tests, simulation and trying things out. "Durable" means: in its `MemoryStore`.

A store outlives the journals that open it, several at a time, as a folder outlives a process. You set its faults from
outside: `failing` makes every write fail with that reason, `hold()` keeps appends waiting until `release()`, `lose()`
cuts off the end of a log, `fail_over()` replaces a document by an older copy. On a journal with `is_shared`, which
stands for a replica, `cut()` closes the connection to the store until `heal()`, and with `unsure` its writes are
reported as failed although they are stored.
"""

from raffia.journal.testing.memory.bus import MemoryBus, MemoryNetwork
from raffia.journal.testing.memory.journal import MemoryJournal
from raffia.journal.testing.memory.store import MemoryStore

__all__ = ["MemoryBus", "MemoryJournal", "MemoryNetwork", "MemoryStore"]
