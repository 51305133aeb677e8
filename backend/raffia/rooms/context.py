"""What the parts of a room share."""

from __future__ import annotations

from dataclasses import dataclass

from raffia.crdt.document import Document
from raffia.rooms.clients import Clients
from raffia.rooms.fanout import Fanout
from raffia.rooms.services import Services
from raffia.types import DocumentId


@dataclass(frozen=True, slots=True)
class RoomContext:
    """One room as its parts see it.

    Attributes:
        document_id: the document's name.
        document: its content; only the intake changes it.
        services: what all rooms of this process share.
        fanout: the sessions and how to reach them.
        clients: the sessions' connections and how to end them.
    """

    document_id: DocumentId
    document: Document
    services: Services
    fanout: Fanout
    clients: Clients
