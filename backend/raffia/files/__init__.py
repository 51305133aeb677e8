"""Uploaded files: where they are stored, and how their type and size are recognised."""
