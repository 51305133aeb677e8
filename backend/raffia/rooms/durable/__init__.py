"""How edits become durable, and how the log comes back: queue, compaction, following, loading."""
