"""lib0 codec and the two wire dialects: bytes in, messages out (and back). No I/O."""
