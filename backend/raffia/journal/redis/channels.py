"""Which channels are held, and who hears what comes on them.

A message is a kind, words separated by blanks, the first of them the replica that sent it, a newline, and the rest:

    E<replica> <id before> <id>   an entry; the rest is its payload
    A<replica> <id before> <id>   an entry whose payload is large: it has to be read from the log
    F<replica> <id>               folded up to there
    D<replica>                    the document was deleted
    P<replica>                    presence (bus.py)
    L<replica>                    the replica leaves; on the channel of all replicas

Rules (tests quote these ids):
    RC1  A document's channel is held while anybody wants it, for entries or for presence, and no longer.
    RC2  Words behind those that are known, and kinds that are not, are skipped: a newer replica may say more.
    RC3  What cannot be read is logged and taken for a loss: whoever hears entries reads the log.
"""

from __future__ import annotations

from typing import Protocol

from raffia.journal.redis.client import Engine
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId

log = get_logger("raffia.journal")


class Hearer(Protocol):
    """Who hears a document's channel; must return at once and not raise."""

    def heard(self, document: DocumentId, kind: int, words: list[bytes], message: bytes) -> None:
        """A message: its words (the first is the replica) and all of it, the rest behind the first newline."""
        ...

    def confirmed(self, document: DocumentId) -> None:
        """From here on everything is heard."""
        ...

    def disconnected(self) -> None:
        """Nothing is heard until it is confirmed anew."""
        ...

    def reconnected(self, server: str) -> None:
        """The connection stands, to that server."""
        ...


class Channels:
    """The channels of one journal; the engine's listener."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, tuple[DocumentId, list[Hearer]]] = {}
        self._confirmed: set[str] = set()
        self._hearers: list[Hearer] = []
        engine.listen(self)

    def add(self, hearer: Hearer) -> None:
        """Tell somebody of lost and new connections."""
        self._hearers.append(hearer)

    def open(self, channel: str, document: DocumentId, hearer: Hearer) -> bool:
        """Hear a channel (RC1); returns whether it is confirmed already."""
        held = self._held.get(channel)
        if held is None:
            self._held[channel] = document, [hearer]
            self._engine.subscribe(channel)
        else:
            held[1].append(hearer)
        return channel in self._confirmed

    def close(self, channel: str, hearer: Hearer) -> None:
        """Hear it no more (RC1)."""
        _, hearers = self._held[channel]
        hearers.remove(hearer)
        if not hearers:
            del self._held[channel]
            self._confirmed.discard(channel)
            self._engine.unsubscribe(channel)

    # the engine's listener

    def heard(self, channel: str, payload: bytes) -> None:
        """A message."""
        held = self._held.get(channel)
        if held is None:
            return
        document, hearers = held
        end = payload.find(b"\n")
        if end < 1:
            log.warning("a message cannot be read", document=document, size_bytes=len(payload))
            for hearer in tuple(hearers):
                hearer.confirmed(document)  # RC3
            return
        words = payload[1:end].split(b" ")
        for hearer in tuple(hearers):
            hearer.heard(document, payload[0], words, payload)

    def confirmed(self, channel: str) -> None:
        """Messages come from here on."""
        held = self._held.get(channel)
        if held is None:
            return
        self._confirmed.add(channel)
        for hearer in tuple(held[1]):
            hearer.confirmed(held[0])

    def disconnected(self) -> None:
        """Nothing comes."""
        self._confirmed.clear()
        for hearer in self._hearers:
            hearer.disconnected()

    def reconnected(self, server: str) -> None:
        """The connection stands."""
        for hearer in self._hearers:
            hearer.reconnected(server)
