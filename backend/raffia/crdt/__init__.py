"""Yjs updates (encoding v1) as bytes: the strict reader, squash, and the guarded use of pycrdt."""
