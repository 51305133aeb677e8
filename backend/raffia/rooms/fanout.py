"""What a room sends to its readers: frames are prepared once, and slow readers are set aside.

Rules (tests quote these ids):
    F1  A body is framed once per address, however many sessions read it; the same bytes go to every transport.
    F2  A session whose outlet is congested is sent no updates and no presence until it has drained; then it gets one
        update computed from the clocks it had, so memory per slow reader does not grow with what it misses.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from time import monotonic

from raffia.rooms.session import Session
from raffia.runtime.metrics import Metrics
from raffia.wire.transport import Frame, Transport

Write = Callable[[Frame], None]


class Fanout:
    """The sessions of one room and how to reach them."""

    __slots__ = ("_metrics", "_outlets", "_readers")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._outlets: dict[Session, Transport] = {}
        # prefix -> session -> its outlet's write: one look-up less per delivery
        self._readers: dict[bytes, dict[Session, Write]] = {}

    def __len__(self) -> int:
        return len(self._outlets)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._outlets))

    def __contains__(self, session: object) -> bool:
        return session in self._outlets

    def add(self, session: Session, transport: Transport) -> None:
        """A session has joined; it reads nothing yet."""
        self._outlets[session] = transport

    def remove(self, session: Session) -> None:
        """A session has left."""
        self.stop(session)
        self._outlets.pop(session, None)

    def transport(self, session: Session) -> Transport:
        """Where this session's frames go."""
        return self._outlets[session]

    def start(self, session: Session) -> None:
        """From here on the session gets what is broadcast."""
        self._readers.setdefault(session.prefix, {})[session] = self._outlets[session].write

    def stop(self, session: Session) -> None:
        """The session gets no broadcasts for now."""
        group = self._readers.get(session.prefix)
        if group is not None and group.pop(session, None) is not None and not group:
            del self._readers[session.prefix]

    def broadcast(self, body: bytes, skip: Collection[Session] = ()) -> int:
        """Send a body to every reader but those in `skip` (F1). Returns how many got it."""
        sent = size = 0
        for prefix, group in self._readers.items():
            frame = Frame(prefix + body)
            # A write may congest an outlet; the room then takes the session out of the group once the flush is over.
            if skip:
                readers = [write for session, write in group.items() if session not in skip]
                for write in readers:
                    write(frame)
                sent += len(readers)
                size += len(frame.payload) * len(readers)
            else:
                for write in group.values():
                    write(frame)
                sent += len(group)
                size += len(frame.payload) * len(group)
        self._metrics.frames_out += sent
        self._metrics.bytes_out += size
        return sent

    def send(self, session: Session, payload: bytes) -> None:
        """Send a whole payload to one session."""
        session.last_sent_s = monotonic()
        self._metrics.frames_out += 1
        self._metrics.bytes_out += len(payload)
        self._outlets[session].send(payload)
