"""Sending to a room's sessions: frames are prepared once, and slow readers are skipped.

Rules (tests quote these ids):
    F1  A body is framed once per address, however many sessions read it; the same bytes go to every transport.
    F2  A session whose transport is congested gets no updates and no presence until it has drained. Then it gets one
        update, computed from the clocks it had, so memory per slow reader does not grow with what it misses.
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

    __slots__ = ("_metrics", "_readers", "_transports")

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._transports: dict[Session, Transport] = {}
        # prefix -> session -> its transport's write: saves one lookup per delivery
        self._readers: dict[bytes, dict[Session, Write]] = {}

    def __len__(self) -> int:
        return len(self._transports)

    def __iter__(self) -> Iterator[Session]:
        return iter(tuple(self._transports))

    def __contains__(self, session: object) -> bool:
        return session in self._transports

    def add(self, session: Session, transport: Transport) -> None:
        """Add a session; it gets no broadcasts until `start`."""
        self._transports[session] = transport

    def remove(self, session: Session) -> None:
        """Remove a session."""
        self.stop(session)
        self._transports.pop(session, None)

    def transport(self, session: Session) -> Transport:
        """The transport of a session."""
        return self._transports[session]

    def start(self, session: Session) -> None:
        """Let a session receive broadcasts from now on."""
        self._readers.setdefault(session.prefix, {})[session] = self._transports[session].write

    def stop(self, session: Session) -> None:
        """Send a session no broadcasts until the next `start`."""
        group = self._readers.get(session.prefix)
        if group is not None and group.pop(session, None) is not None and not group:
            del self._readers[session.prefix]

    def broadcast(self, body: bytes, skip: Collection[Session] = ()) -> int:
        """Send a body to all readers except those in `skip` (F1); returns how many it was sent to."""
        sent = size = 0
        for prefix, group in self._readers.items():
            frame = Frame(prefix + body)
            # A write may congest a transport; the session is removed from its group only after the flush.
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
        """Send a payload, address included, to one session."""
        session.last_sent_s = monotonic()
        self._metrics.frames_out += 1
        self._metrics.bytes_out += len(payload)
        self._transports[session].send(payload)
