"""How fast a session and its connection may send. No I/O; time is an argument.

Every limit is a cost in seconds: at 2000 updates a second, one update costs 0.5 ms. One subtraction from one budget
then covers both the count and the bytes of a message.

Rules (tests quote these ids):
    PC1  A full budget holds `BURST_S` seconds, and a budget gains one second per second. Pasting, drawing and an
         offline client's first message stay within that.
    PC2  The clock is read only when a budget is used up. The time since the last gain is then added to it, until it is
         full, so it never allows less than a token bucket.
    PC3  While a budget is overdrawn, the connection is not read. TCP slows the peer down; nothing is dropped or
         refused.
    PC4  A sender whose budget is overdrawn repeatedly for `patience_s` is refused as too fast (1013).
    PC5  Updates and step 2s are charged to their session, by count and bytes. Every message is charged to its
         connection, so that cheap messages are limited too; a message with a token costs more. A connection may carry
         `CONNECTION_SHARE` times the bytes of a session.
    PC6  A limit of 0 means no limit.
"""

# Pure: no I/O and no clock; bytes and times come in as arguments.

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from raffia.settings import Settings


BURST_S = 10.0
MIN_WAIT_S = 0.05  # fewer, longer pauses: each one costs two calls to the event loop
MAX_WAIT_S = 30.0  # a connection that is not read for longer looks dead
CONNECTION_SHARE = 4


class Budget:
    """What one session or connection may still send.

    Attributes:
        left_s: the remaining seconds; negative when overdrawn.
    """

    __slots__ = ("_gained_s", "_strained_s", "left_s")

    def __init__(self, now_s: float) -> None:
        self.left_s = BURST_S
        self._gained_s = now_s  # when it last gained
        self._strained_s: float | None = None  # since when it has been overdrawn repeatedly

    def wait_s(self, now_s: float) -> float:
        """Refill for the time that has passed (PC2); returns how long to stop reading, 0.0 for not at all (PC3)."""
        self.left_s = min(BURST_S, self.left_s + now_s - self._gained_s)
        self._gained_s = now_s
        if self.left_s >= 0:
            if self.left_s >= BURST_S / 2:
                self._strained_s = None
            return 0.0
        if self._strained_s is None:
            self._strained_s = now_s
        return min(MAX_WAIT_S, max(MIN_WAIT_S, -self.left_s))

    def strained_s(self, now_s: float) -> float:
        """How long it has been overdrawn repeatedly (PC4)."""
        return 0.0 if self._strained_s is None else now_s - self._strained_s


class RateLimits:
    """The costs of messages, in seconds.

    Attributes:
        update_s, byte_s: costs of an update and of each of its bytes, charged to the session.
        message_s, message_byte_s, sign_in_s: costs of a message, of each of its bytes and of a token, charged to the
            connection.
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
