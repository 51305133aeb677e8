"""The journal for several replicas: updates over pub/sub, log and snapshots in Redis."""
