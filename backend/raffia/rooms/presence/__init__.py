"""Cursors and names: the table of states, a room's use of it, and the relay between replicas."""
