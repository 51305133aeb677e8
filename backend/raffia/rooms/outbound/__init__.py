"""What a room sends: flushes to readers, the state for newcomers, acknowledgements."""
