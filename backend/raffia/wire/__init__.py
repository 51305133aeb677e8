"""lib0 codec and the two wire dialects: bytes in, messages out (and back). No I/O."""

# Pure: no I/O and no clock; bytes and times come in as arguments.
