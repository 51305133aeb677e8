"""The durable, ordered log of a document: the protocol, its contract suite and its implementations."""

from weft.journal.protocol import (
    DocumentInfo,
    Entry,
    Folded,
    Followed,
    Gap,
    Journal,
    JournalStats,
    Listing,
    Loaded,
    Reset,
    Revocations,
    Snapshot,
    Version,
    VersionInfo,
    Window,
)

__all__ = [
    "DocumentInfo",
    "Entry",
    "Folded",
    "Followed",
    "Gap",
    "Journal",
    "JournalStats",
    "Listing",
    "Loaded",
    "Reset",
    "Revocations",
    "Snapshot",
    "Version",
    "VersionInfo",
    "Window",
]
