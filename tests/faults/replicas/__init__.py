"""Faults of many replicas: Redis, the replicas themselves, the network between them, the load balancer."""
