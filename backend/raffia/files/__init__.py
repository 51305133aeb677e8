"""Uploaded files: where they are stored, and what may be learnt from their first bytes."""
