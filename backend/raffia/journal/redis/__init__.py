"""The journal of many replicas: updates by pub/sub, the log and the snapshots in Redis."""
