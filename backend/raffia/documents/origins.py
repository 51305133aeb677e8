"""What the host said about its own edits, until they come back as changes."""

from __future__ import annotations

from collections import OrderedDict
from hashlib import blake2b

KEPT = 10_000


class Origins:
    """The origins of this process's latest edits, by the bytes of their updates; the oldest are forgotten."""

    __slots__ = ("_kept",)

    def __init__(self) -> None:
        self._kept: OrderedDict[bytes, object] = OrderedDict()

    def add(self, update: bytes, origin: object) -> None:
        """Remember the origin of an edit."""
        if origin is None:
            return
        self._kept[_key(update)] = origin
        if len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def of(self, update: bytes) -> object:
        """The origin of an update; None if it is another client's or another replica's."""
        return self._kept.get(_key(update)) if self._kept else None


def _key(update: bytes) -> bytes:
    return blake2b(update, digest_size=16).digest()
