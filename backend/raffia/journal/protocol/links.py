"""Which share links a document has; the links themselves are signed elsewhere."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, Protocol

from raffia.errors import NotConfiguredError
from raffia.types import DocumentId


@dataclass(frozen=True, slots=True)
class Links:
    """The share links of a document.

    Attributes:
        generation: increases with each reset; it is part of a link's id.
        read_ms, edit_ms: when the link for reading or editing was made; None if there is none.
    """

    generation: int = 0
    read_ms: int | None = None
    edit_ms: int | None = None


NO_LINKS = Links()


class ShareLinks(Protocol):
    """The share links of every document (`Journal.links`); `DocumentInfo.links` shows them."""

    @abstractmethod
    async def add(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Record that there is a link of this kind; an existing one stays as it is.

        Raises:
            ForbiddenError: there is no such document.
        """
        ...

    @abstractmethod
    async def reset(self, document: DocumentId) -> Links:
        """Start a new generation without links.

        Raises:
            ForbiddenError: there is no such document.
        """
        ...


class NoShareLinks(ShareLinks):
    """The share links of a journal that keeps none."""

    async def add(self, document: DocumentId, can: Literal["read", "edit"], time_ms: int) -> Links:
        """Refuse.

        Raises:
            NotConfiguredError: always.
        """
        raise NotConfiguredError(f"this journal keeps no share links, so {document} cannot have one")

    async def reset(self, document: DocumentId) -> Links:
        """Refuse.

        Raises:
            NotConfiguredError: always.
        """
        raise NotConfiguredError(f"this journal keeps no share links, so {document} has none to reset")
