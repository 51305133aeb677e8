"""The durable, ordered log of a document: the protocol, its contract suite and its implementations."""

from raffia.journal.protocol import (
    Clear,
    DocumentInfo,
    Entry,
    Folded,
    Followed,
    Gap,
    Journal,
    JournalStats,
    Links,
    Listing,
    Loaded,
    Reset,
    Revocations,
    Snapshot,
    Version,
    VersionInfo,
    Window,
)
from raffia.journal.search import Order, Where

__all__ = [
    "Clear",
    "DocumentInfo",
    "Entry",
    "Folded",
    "Followed",
    "Gap",
    "Journal",
    "JournalStats",
    "Links",
    "Listing",
    "Loaded",
    "Order",
    "Reset",
    "Revocations",
    "Snapshot",
    "Version",
    "VersionInfo",
    "Where",
    "Window",
]
