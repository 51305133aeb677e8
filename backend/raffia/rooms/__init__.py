"""Live documents: the hub opens rooms, and a room takes edits in, sends them out and makes them durable."""
