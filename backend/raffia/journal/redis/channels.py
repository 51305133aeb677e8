"""The channels that are subscribed to, and their listeners.

A message is a kind, words separated by blanks, the first of them the replica that sent it, a newline, and the rest:

    E<replica> <id before> <id>   an entry; the rest is its payload
    A<replica> <id before> <id>   an entry whose payload is large: it has to be read from the log
    F<replica> <id>               compacted up to there
    D<replica>                    the document was deleted
    P<replica>                    presence (bus.py)
    R<replica>                    a revocation; on the channel of all replicas
    L<replica>                    the replica leaves; on the channel of all replicas

Rules (tests quote these ids):
    RC1  A document's channel is subscribed to while it is needed, for entries or for presence, and no longer.
    RC2  Additional words and unknown kinds are skipped: a newer replica may send more.
    RC3  An unreadable message is logged and treated as a loss: readers of entries read the log.
"""

from __future__ import annotations

from typing import Protocol

from raffia.journal.redis.client import Engine
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId

log = get_logger("raffia.journal")


class DocumentListener(Protocol):
    """Receives the messages of a document's channel; must return at once and not raise."""

    def heard(self, document: DocumentId, kind: int, words: list[bytes], message: bytes) -> None:
        """A message: its words (the first is the replica) and all of it, the rest behind the first newline."""
        ...

    def confirmed(self, document: DocumentId) -> None:
        """Every message is received from now on."""
        ...

    def disconnected(self) -> None:
        """Nothing is received until the channel is confirmed again."""
        ...


class Channels:
    """The channels of one journal; the engine's listener."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._held: dict[str, tuple[DocumentId, list[DocumentListener]]] = {}
        self._confirmed: set[str] = set()
        self._listeners: list[DocumentListener] = []
        engine.listener = self

    def add(self, listener: DocumentListener) -> None:
        """Report lost connections to a listener."""
        self._listeners.append(listener)

    def open(self, channel: str, document: DocumentId, listener: DocumentListener) -> bool:
        """Subscribe to a channel (RC1); returns whether it is confirmed already."""
        held = self._held.get(channel)
        if held is None:
            self._held[channel] = document, [listener]
            self._engine.subscribe(channel)
        else:
            held[1].append(listener)
        return channel in self._confirmed

    def close(self, channel: str, listener: DocumentListener) -> None:
        """Unsubscribe (RC1)."""
        _, listeners = self._held[channel]
        listeners.remove(listener)
        if not listeners:
            del self._held[channel]
            self._confirmed.discard(channel)
            self._engine.unsubscribe(channel)

    # the engine's listener

    def heard(self, channel: str, payload: bytes) -> None:
        """A message."""
        held = self._held.get(channel)
        if held is None:
            return
        document, listeners = held
        end = payload.find(b"\n")
        if end < 1:
            log.warning("a message cannot be read", document=document, size_bytes=len(payload))
            for listener in tuple(listeners):
                listener.confirmed(document)  # RC3
            return
        words = payload[1:end].split(b" ")
        for listener in tuple(listeners):
            listener.heard(document, payload[0], words, payload)

    def confirmed(self, channel: str) -> None:
        """Messages arrive from now on."""
        held = self._held.get(channel)
        if held is None:
            return
        self._confirmed.add(channel)
        for listener in tuple(held[1]):
            listener.confirmed(held[0])

    def disconnected(self) -> None:
        """No messages arrive."""
        self._confirmed.clear()
        for listener in self._listeners:
            listener.disconnected()
