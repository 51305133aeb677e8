"""Delays before a client whose updates were refused is asked again for what we lack.

A client answers our step 1 with everything that we lack, which may be as large as a document. If that is refused, some
providers reconnect at once, and old versions of y-websocket do so after any close code. They may read and edit; only
the upload must not be repeated.

Rules (tests quote these ids):
    BA1  After its first refusal a client is asked at once: it may have deleted something meanwhile. After the second
         the delay is `FIRST_S`, and each further refusal doubles it, up to `MAX_S`.
    BA2  A client is identified by its document, user and address. Others with the same three are delayed too: they can
         read and edit, but their offline edits are stored later. Refusals during the delay do not count, so many
         clients that are refused together, because the journal is unavailable, wait no longer than one.
    BA3  After `FORGET_S` without a refusal a client starts over. The table is bounded; beyond `MAX_CLIENTS` the oldest
         entry is dropped.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from collections.abc import Hashable

FIRST_S = 1.0
MAX_S = 300.0
FORGET_S = 2 * MAX_S
MAX_CLIENTS = 10_000


class Backoff:
    """The clients that were refused recently."""

    __slots__ = ("_clients",)

    def __init__(self) -> None:
        self._clients: dict[Hashable, tuple[int, float]] = {}  # number of refusals, time of the last; oldest first

    def __len__(self) -> int:
        return len(self._clients)

    def refused(self, client: Hashable, now_s: float) -> float:
        """Record a refusal; returns the client's delay from now, in seconds (BA1)."""
        number, last_s = self._clients.get(client, (0, now_s))
        if now_s < last_s + _delay_s(number):
            return last_s + _delay_s(number) - now_s
        if now_s - last_s > FORGET_S:
            number = 0
        self._clients.pop(client, None)
        self._clients[client] = number + 1, now_s
        if len(self._clients) > MAX_CLIENTS:
            del self._clients[next(iter(self._clients))]
        return _delay_s(number + 1)

    def ask_after_s(self, client: Hashable) -> float:
        """The time from which the client may be asked for what we lack; 0.0 for any time."""
        if not self._clients:
            return 0.0
        number, last_s = self._clients.get(client, (0, 0.0))
        return last_s + _delay_s(number) if number > 1 else 0.0


def _delay_s(number: int) -> float:
    return min(MAX_S, FIRST_S * 2.0 ** min(number - 2, 60)) if number > 1 else 0.0
