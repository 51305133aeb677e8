"""Faults in a cluster: of Redis, the replicas, the network between them, and the load balancer."""
