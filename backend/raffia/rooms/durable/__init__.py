"""How edits become durable and how a log is read: append queue, compactor, log follower, loading."""
