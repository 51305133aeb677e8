"""For people who write a journal: a suite that tests it, and a journal and a bus in memory.

- `raffia.journal.testing.contract`: inherit `JournalContract`, or the contracts of the nouns that your journal has, in
  a test class; give it a `journal` fixture and a way to break and mend your store. It needs pytest and pytest-asyncio.
- `raffia.journal.testing.memory`: `MemoryJournal` is the smallest complete journal, and the one to test an app with.
  Several of them on one `MemoryStore`, each with a `MemoryBus` on one `MemoryNetwork`, stand for replicas.

docs/embedding.md, "Write your own journal", shows how to begin.
"""
