"""`raffia serve` that gives something away, for the canary, which has to notice it.

Started like the command: `python -m tests.attacks.leaky_server serve --port ...`

RAFFIA_TEST_LEAK says what:
    door      before the upgrade whoever brings a good token may read every document
    denial    a Hocuspocus session that is ended stays among the readers
    rooms     what is broadcast goes to the readers of all rooms
    presence  a newcomer is told who is present anywhere
    cache     answers to step 1 are kept for all documents together
    address   step 1 of a session that was denied is answered
"""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection
from typing import Any

from raffia.auth import authorizer
from raffia.cli import main as cli
from raffia.errors import ForbiddenError
from raffia.rooms import fanout
from raffia.rooms.durable import compactor
from raffia.rooms.presence import room_presence
from raffia.rooms.session import presence_body
from raffia.sockets import conversation
from raffia.sockets import hocuspocus as dialect
from raffia.types import Access, DocumentId, Grant
from raffia.wire import hocuspocus
from raffia.wire.messages import Step1


def door() -> None:
    grant_of = authorizer.grant_of

    def kind(claims: Any, document: DocumentId) -> Grant:
        try:
            return grant_of(claims, document)
        except ForbiddenError:
            return Grant(Access.READ, user=claims.user, expires_s=claims.expires_s)

    authorizer.grant_of = kind


def denial() -> None:
    def forgets(self: Any, address: str) -> None:
        self._undecide(address)
        self._open.pop(address, None)

    dialect.HocuspocusDialect._detach = forgets  # type: ignore[method-assign]


def rooms() -> None:
    every: dict[Any, Any] = {}
    broadcast, add = fanout.Fanout.broadcast, fanout.Fanout.add

    def noted(self: Any, session: Any, transport: Any) -> None:
        every[session] = transport
        add(self, session, transport)

    def loud(self: Any, body: bytes, skip: Collection[Any] = ()) -> int:
        for session, transport in every.items():
            if session.reading and session not in self:
                transport.send(session.prefix + body)
        return broadcast(self, body, skip)

    fanout.Fanout.add = noted  # type: ignore[method-assign]
    fanout.Fanout.broadcast = loud  # type: ignore[method-assign]


def presence() -> None:
    every: weakref.WeakSet[Any] = weakref.WeakSet()
    tell = room_presence.RoomPresence.tell

    def loud(self: Any, session: Any, **when: Any) -> None:
        every.add(self)
        for other in every:
            if (payload := other.table.snapshot()) is not None:
                self._fanout.send(session, session.prefix + presence_body(payload))
        tell(self, session, **when)

    room_presence.RoomPresence.tell = loud  # type: ignore[method-assign]


def cache() -> None:
    kept: dict[bytes, bytes] = {}
    answer = compactor.Compactor._answer

    def shared(self: Any, state_vector: bytes) -> bytes:
        before = kept.get(state_vector)
        kept[state_vector] = answer(self, state_vector)
        return before or kept[state_vector]

    compactor.Compactor._answer = shared  # type: ignore[method-assign]


def address() -> None:
    apply = dialect.HocuspocusDialect._apply
    receive = conversation.HocuspocusConversation.receive

    def lenient(self: Any, frame: bytes) -> Any:
        name, message = hocuspocus.decode(frame)
        line = self._lines.get(name)
        if line is not None and line.state == "denied" and isinstance(message, Step1):
            return [conversation.Deliver(name, message)]
        return receive(self, frame)

    def deliver(self: Any, effect: Any) -> None:
        if isinstance(effect, conversation.Deliver) and effect.address not in self._open:
            found = self._connection.hub.rooms.get(hocuspocus.split_address(effect.address)[0])
            if found is not None:
                self._connection.transport.send(hocuspocus.step2(effect.address, found.document.merged()))
            return
        apply(self, effect)

    conversation.HocuspocusConversation.receive = lenient  # type: ignore[method-assign]
    dialect.HocuspocusDialect._apply = deliver  # type: ignore[method-assign]


if __name__ == "__main__":
    how = os.environ.pop("RAFFIA_TEST_LEAK")
    kinds = {"door": door, "denial": denial, "rooms": rooms, "presence": presence, "cache": cache, "address": address}
    if how not in kinds:
        raise SystemExit(f"RAFFIA_TEST_LEAK={how} is not known; use one of {', '.join(kinds)}")
    kinds[how]()
    cli.main()
