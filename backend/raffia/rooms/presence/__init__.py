"""Cursors and names: the table of states, the room's presence, and the relay between replicas."""
