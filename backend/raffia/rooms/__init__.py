"""Live documents: the hub opens rooms, and a room accepts edits, sends them out and makes them durable."""
