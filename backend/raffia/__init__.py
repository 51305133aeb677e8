"""Raffia: a collaboration server for Yjs documents, in Python."""

__version__ = "0.1.0"
