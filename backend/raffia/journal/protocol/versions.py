"""The versions of a document: states saved on request.

Rules (tests quote these ids):
    J12  A version is kept until it is deleted or its document is purged; it is returned byte for byte.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from raffia.errors import NotConfiguredError
from raffia.types import DocumentId


@dataclass(frozen=True, slots=True)
class VersionInfo:
    """A kept version, without its bytes.

    Attributes:
        id: identifies it within its document.
        time_ms: Unix time in milliseconds of the state.
        authors: stable ids of the people who made it, as the caller gave them.
        name: None until it is named.
        size_bytes: size of its state.
    """

    id: int
    time_ms: int
    authors: tuple[str, ...]
    name: str | None
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Version:
    """A kept version: one update."""

    info: VersionInfo
    state: bytes


class Versions(Protocol):
    """The versions of every document (`Journal.versions`)."""

    @abstractmethod
    async def save(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Keep a state (J12).

        Raises:
            ForbiddenError: there is no such document.
        """
        ...

    @abstractmethod
    async def all(self, document: DocumentId) -> list[VersionInfo]:
        """List the versions of a document, newest first."""
        ...

    @abstractmethod
    async def get(self, document: DocumentId, version: int) -> Version:
        """Read a version.

        Raises:
            ForbiddenError: there is no such version.
        """
        ...

    @abstractmethod
    async def rename(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Set the name of a version; None removes it.

        Raises:
            ForbiddenError: there is no such version.
        """
        ...

    @abstractmethod
    async def delete(self, document: DocumentId, version: int) -> None:
        """Delete a version for good.

        Raises:
            ForbiddenError: there is no such version.
        """
        ...


class NoVersions(Versions):
    """The versions of a journal that keeps none: every method raises `NotConfiguredError`."""

    async def save(
        self, document: DocumentId, state: bytes, *, time_ms: int, authors: Sequence[str] = (), name: str | None = None
    ) -> VersionInfo:
        """Refuse."""
        _refuse(document)

    async def all(self, document: DocumentId) -> list[VersionInfo]:
        """Refuse."""
        _refuse(document)

    async def get(self, document: DocumentId, version: int) -> Version:
        """Refuse."""
        _refuse(document)

    async def rename(self, document: DocumentId, version: int, name: str | None) -> VersionInfo:
        """Refuse."""
        _refuse(document)

    async def delete(self, document: DocumentId, version: int) -> None:
        """Refuse."""
        _refuse(document)


def _refuse(document: DocumentId) -> NoReturn:
    raise NotConfiguredError(f"this journal keeps no versions, so {document} has none")
