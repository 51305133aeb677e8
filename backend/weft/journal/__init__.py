"""The durable, ordered log of a document: the protocol, its contract suite and its implementations."""
