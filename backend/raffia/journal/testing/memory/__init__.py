"""A journal without a disk, for tests, simulations and experiments. "Durable" means stored in its `MemoryStore`.

A store outlives the journals that open it (several can, at the same time), as a folder outlives a process. You inject
faults from outside: `failing` makes every write fail with that reason, `hold()` keeps appends waiting until
`release()`, `lose()` cuts off the end of a log, `fail_over()` replaces a document with an older copy. On a journal with
`is_shared`, which acts as a replica, `cut()` closes the connection to the store until `heal()`, and with `unsure` its
writes are reported as failed although they are stored.
"""

from raffia.journal.testing.memory.bus import MemoryBus, MemoryNetwork
from raffia.journal.testing.memory.journal import MemoryJournal
from raffia.journal.testing.memory.store import MemoryStore

__all__ = ["MemoryBus", "MemoryJournal", "MemoryNetwork", "MemoryStore"]
