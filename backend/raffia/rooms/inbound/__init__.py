"""How edits come in: from sessions through the gate, or to wait for what they refer to."""
