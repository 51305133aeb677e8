"""Yjs updates (encoding v1) as bytes: the strict reader, squash, and the guarded use of pycrdt."""

# Pure: no I/O and no clock; bytes and times come in as arguments.
