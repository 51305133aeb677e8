"""Yjs updates (encoding v1) as bytes, and the document made of them: strict reader, gate, squash, guarded pycrdt."""

# Pure: no I/O and no clock; bytes and times come in as arguments.
