"""The journal's interface: one small protocol per kind of data, and `Journal`, which combines them."""

from raffia.journal.protocol.directory import TRASH_MS, Clear, Directory, DocumentInfo, Listing, cleared
from raffia.journal.protocol.history import DAY_MS, RETENTION_MS, WINDOW_MS, History, NoHistory, Window
from raffia.journal.protocol.journal import Journal
from raffia.journal.protocol.links import NO_LINKS, Links, NoShareLinks, ShareLinks
from raffia.journal.protocol.log import DocumentLog, Entry, Folded, Followed, Gap, Loaded, Reset, Snapshot
from raffia.journal.protocol.revocations import NoRevocations, Revocations, RevocationStore, too_many_revocations
from raffia.journal.protocol.stats import JournalStats
from raffia.journal.protocol.versions import NoVersions, Version, VersionInfo, Versions

__all__ = [
    "DAY_MS",
    "NO_LINKS",
    "RETENTION_MS",
    "TRASH_MS",
    "WINDOW_MS",
    "Clear",
    "Directory",
    "DocumentInfo",
    "DocumentLog",
    "Entry",
    "Folded",
    "Followed",
    "Gap",
    "History",
    "Journal",
    "JournalStats",
    "Links",
    "Listing",
    "Loaded",
    "NoHistory",
    "NoRevocations",
    "NoShareLinks",
    "NoVersions",
    "Reset",
    "RevocationStore",
    "Revocations",
    "ShareLinks",
    "Snapshot",
    "Version",
    "VersionInfo",
    "Versions",
    "Window",
    "cleared",
    "too_many_revocations",
]
