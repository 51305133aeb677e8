"""For authors of journals: a test suite, and a journal and a bus in memory.

- `raffia.journal.testing.contract`: inherit from `JournalContract`, or from the contracts of the parts that your
  journal has, in a test class; provide a `journal` fixture and a way to break and repair your store. It needs pytest
  and pytest-asyncio.
- `raffia.journal.testing.memory`: `MemoryJournal` is the smallest complete journal; use it to test an app. Several of
  them on one `MemoryStore`, each with a `MemoryBus` on one `MemoryNetwork`, simulate replicas.

docs/embedding.md, "Write your own journal", shows how to begin.
"""
