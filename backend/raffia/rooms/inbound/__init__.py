"""How edits get in: through the gate, or to wait for their dependencies."""
