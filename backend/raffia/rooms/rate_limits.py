"""How fast a session and its connection may send. No I/O; time is an argument.

Everything that is limited costs a part of one budget, in seconds: at 2000 updates a second, one costs 0.5 ms. So one
subtraction for each message pays for counts and bytes together.

Rules (tests quote these ids):
    PC1  A budget holds `BURST_S` seconds when it is full, and gains a second each second. Pasting, drawing and an
         offline client's first message stay within that.
    PC2  The clock is looked at only when a budget is used up: it then gains what has passed since, `BURST_S` at most.
         That never allows less than a token bucket does.
    PC3  When it is overdrawn the connection is not read until it is even again: the peer feels it through TCP, nothing
         is dropped or refused.
    PC4  Who goes on so for `patience_s` is refused with "too fast", later (1013).
    PC5  Updates and step 2s cost their session, by number and bytes. Every message costs the connection that it comes
         by, so that cheap ones cannot be endless; one that carries a token costs more. A connection may carry
         `CONNECTION_SHARE` times the bytes of a session.
    PC6  A limit of 0 is none.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raffia.settings import Settings


BURST_S = 10.0
MIN_WAIT_S = 0.05  # fewer, longer pauses: each one costs two calls of the loop
MAX_WAIT_S = 30.0  # a peer that is not read for longer looks dead
CONNECTION_SHARE = 4


class Budget:
    """What one session or connection may still send.

    Attributes:
        left_s: seconds that are left; negative when it is overdrawn.
    """

    __slots__ = ("_even_s", "_strained_s", "left_s")

    def __init__(self, now_s: float) -> None:
        self.left_s = BURST_S
        self._even_s = now_s  # when it last gained
        self._strained_s: float | None = None  # since when it has been overdrawn again and again

    def wait_s(self, now_s: float) -> float:
        """Gain what is due (PC2); how long nothing should be read then, 0.0 for not at all (PC3)."""
        self.left_s = min(BURST_S, self.left_s + now_s - self._even_s)
        self._even_s = now_s
        if self.left_s >= 0:
            if self.left_s >= BURST_S / 2:
                self._strained_s = None
            return 0.0
        if self._strained_s is None:
            self._strained_s = now_s
        return min(MAX_WAIT_S, max(MIN_WAIT_S, -self.left_s))

    def strained_s(self, now_s: float) -> float:
        """For how long it has been overdrawn again and again (PC4)."""
        return 0.0 if self._strained_s is None else now_s - self._strained_s


class RateLimits:
    """What messages cost, in seconds.

    Attributes:
        update_s, byte_s: an update, and each byte of it, to its session.
        message_s, message_byte_s, sign_in_s: a message, each byte of it, and a token, to its connection.
        patience_s: see PC4.
    """

    __slots__ = ("byte_s", "message_byte_s", "message_s", "patience_s", "sign_in_s", "update_s")

    def __init__(self, settings: Settings) -> None:
        self.update_s = _cost_s(settings.max_updates_per_s)
        self.byte_s = _cost_s(settings.max_bytes_per_s)
        self.message_s = _cost_s(settings.max_messages_per_s)
        self.message_byte_s = self.byte_s / CONNECTION_SHARE
        self.sign_in_s = _cost_s(settings.max_sign_ins_per_s)
        self.patience_s = settings.too_fast_s


def _cost_s(per_s: int) -> float:
    return 1 / per_s if per_s else 0.0
