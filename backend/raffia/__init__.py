"""Raffia: a collaboration server for Yjs documents, in Python.

    from raffia import Access, DocumentId, Grant, Handshake, Raffia

These names are the public interface; the modules that define them may move. Each name is imported on first use, so that
worker processes, which need little of the package, start quickly.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raffia.auth.hooks import Authorize, Handshake
    from raffia.documents.changes import Change
    from raffia.documents.contents import Contents
    from raffia.documents.host_document import HostDocument, Presence, SessionInfo
    from raffia.documents.seeding import OnLoad
    from raffia.embed import Raffia
    from raffia.errors import (
        DocumentDeletedError,
        ForbiddenError,
        LaterError,
        RaffiaError,
        SettingsError,
        UnauthenticatedError,
    )
    from raffia.settings import Settings, load_settings
    from raffia.types import Access, DocumentId, Grant, document_id

__version__ = "0.1.0"

__all__ = [
    "Access",
    "Authorize",
    "Change",
    "Contents",
    "DocumentDeletedError",
    "DocumentId",
    "ForbiddenError",
    "Grant",
    "Handshake",
    "HostDocument",
    "LaterError",
    "OnLoad",
    "Presence",
    "Raffia",
    "RaffiaError",
    "SessionInfo",
    "Settings",
    "SettingsError",
    "UnauthenticatedError",
    "__version__",
    "document_id",
    "load_settings",
]

_MODULES = {
    "raffia.auth.hooks": ("Authorize", "Handshake"),
    "raffia.documents.changes": ("Change",),
    "raffia.documents.contents": ("Contents",),
    "raffia.documents.host_document": ("HostDocument", "Presence", "SessionInfo"),
    "raffia.documents.seeding": ("OnLoad",),
    "raffia.embed": ("Raffia",),
    "raffia.errors": (
        "DocumentDeletedError",
        "ForbiddenError",
        "LaterError",
        "RaffiaError",
        "SettingsError",
        "UnauthenticatedError",
    ),
    "raffia.settings": ("Settings", "load_settings"),
    "raffia.types": ("Access", "DocumentId", "Grant", "document_id"),
}
_HOME = {name: module for module, names in _MODULES.items() for name in names}


def __getattr__(name: str) -> object:
    """Import a public name on first access (PEP 562)."""
    if name not in _HOME:
        raise AttributeError(f"module 'raffia' has no attribute {name!r}")
    value: object = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
