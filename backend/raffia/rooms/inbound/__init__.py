"""How edits enter a room: through the gate, or first waiting for their dependencies."""
