"""How the published clients handle awareness, written from the protocol notes."""

from __future__ import annotations

from raffia.wire import awareness
from raffia.wire.lib0 import write_varuint

RENEW_S, EXPIRY_S, TICK_S = 15.0, 30.0, 3.0

Said = tuple[int, int, bytes | None]


def message(said: list[Said]) -> bytes:
    return write_varuint(len(said)) + b"".join(awareness.write_entry(*entry) for entry in said)


class SimAwareness:
    """The awareness of one editor.

    Args:
        client: its client id.
        echoes: whether it sends back what it receives, as y-websocket clients do. Hocuspocus providers do not, so they
            do not announce themselves again either when they are told that they have left.

    Attributes:
        states: the known presence states, by client id.
    """

    def __init__(self, client: int, *, echoes: bool) -> None:
        self.client = client
        self.states: dict[int, bytes] = {}
        self._echoes = echoes
        self._clocks: dict[int, int] = {client: 0}
        self._seen_s: dict[int, float] = {client: 0.0}

    def own(self) -> bytes | None:
        """The message with which a connection begins."""
        state = self.states.get(self.client)
        return None if state is None else message([(self.client, self._clocks[self.client], state)])

    def set(self, state: bytes | None, now_s: float) -> bytes | None:
        """Change its own state; returns the message to send."""
        if state is None and self.client not in self.states:
            return None
        self._clocks[self.client] += 1
        self._seen_s[self.client] = now_s
        if state is None:
            del self.states[self.client]
        else:
            self.states[self.client] = state
        return message([(self.client, self._clocks[self.client], state)])

    def tick(self, now_s: float) -> bytes | None:
        """Renew its own state, and forget states of others that were not renewed."""
        for client in [c for c in self.states if c != self.client and self._seen_s[c] < now_s - EXPIRY_S]:
            del self.states[client]
        state = self.states.get(self.client)
        if state is None or self._seen_s[self.client] > now_s - RENEW_S:
            return None
        return self.set(state, now_s)

    def receive(self, payload: bytes, now_s: float) -> bytes | None:
        """Apply a payload; returns the message to send back: everything that changed, whoever sent it."""
        changed: list[int] = []
        for client, said_clock, state, _ in awareness.read_entries(payload):
            clock, known = said_clock, self._clocks.get(client, 0)
            is_news = client not in self._clocks or known < clock
            if not is_news and not (known == clock and state == awareness.NULL and client in self.states):
                continue
            if state != awareness.NULL:
                self.states[client] = state
            elif client == self.client and client in self.states:
                clock += 1
            else:
                self.states.pop(client, None)
            self._clocks[client] = clock
            self._seen_s[client] = now_s
            changed.append(client)
        if not self._echoes or not changed:
            return None
        return message([(c, self._clocks[c], self.states.get(c)) for c in changed])

    def disconnected(self) -> None:
        """Forget all others: without a connection, none is present."""
        own = self.states.get(self.client)
        self.states = {} if own is None else {self.client: own}
