"""Revocations in Redis: one hash, and a message on the channel of all replicas.

Rules (tests quote these ids):
    RV1  The hash has a mark, which each revocation replaces with a random one; while the mark is unchanged, there is
         nothing new to read. A Redis that has lost data has another mark, or none, so it is read again.
    RV2  The message on the channel, and each confirmation of the channel, makes every replica read. Reading from time
         to time makes up for a message that is lost (J21).
    RV3  Fields that begin with `count:` hold the number of revocations of a kind, so that adding one need not count
         them (J21). A missing count is made again, and so are all of them when expired revocations are dropped.
    RV4  Unknown kinds, and words after the known ones, are skipped: a newer Raffia may have added them.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from raffia.journal.protocol import Revocations, RevocationStore, too_many_revocations
from raffia.journal.redis.base import Base
from raffia.journal.redis.channels import Channels
from raffia.journal.redis.engine import Argument
from raffia.journal.redis.keys import FORMAT
from raffia.journal.redis.replies import pairs, parts, too_new
from raffia.runtime.logs import get_logger
from raffia.types import MAX_REVOCATIONS, RECHECKS, DocumentId, Revocation, Revoked

log = get_logger("raffia.journal")

_REVOKED = ord("R")
_ALL_REPLICAS = DocumentId("-")  # stands for the channel of all replicas; no document can have this name


class RedisRevocations(RevocationStore):
    """The revocations of one journal."""

    def __init__(self, base: Base, channels: Channels) -> None:
        self._base = base
        self._channels = channels
        self._heard: Callable[[], None] | None = None

    def start(self) -> None:
        """Subscribe to the channel of all replicas."""
        self._channels.open(self._base.keys.replica_channel, _ALL_REPLICAS, self)

    def stop(self) -> None:
        """Unsubscribe."""
        self._channels.close(self._base.keys.replica_channel, self)

    def on_added(self, heard: Callable[[], None]) -> None:
        """Set the callback for revocations that other replicas add."""
        self._heard = heard

    async def add(self, revocation: Revocation) -> None:
        """Keep a revocation."""
        self._base.check_open()
        base, key = self._base, self._base.keys.revocations
        args: list[Argument] = [
            FORMAT,
            base.now_ms(),
            MAX_REVOCATIONS[revocation.kind],
            f"{revocation.kind.value}:{revocation.subject}",
            revocation.before_ms,
            revocation.until_ms or 0,
            secrets.token_hex(8),
            base.publish,
            base.keys.replica_channel,
            base.replica,
        ]
        word, *rest = parts(await base.script("revoke", [key], args))
        if word == b"format":
            raise too_new("what was revoked", rest[0])
        if word == b"full":
            raise too_many_revocations(revocation.kind, int(rest[0] or 0))

    async def read(self, mark: bytes | None = None) -> Revocations | None:
        """Read all that are kept (RV1)."""
        self._base.check_open()
        key = self._base.keys.revocations
        if mark is not None:
            (now,) = await self._base.run(("HGET", key, "mark"))
            if (now or b"") == mark:
                return None
        (reply,) = await self._base.run(("HGETALL", key))
        found = pairs(reply)
        form = found.pop(b"v", None)
        if form is not None and int(form) > FORMAT:
            raise too_new("what was revoked", form)
        now_mark = found.pop(b"mark", b"")
        kept = [_of(field, value) for field, value in found.items()]
        return Revocations(now_mark, [one for one in kept if one is not None])

    async def forget(self) -> None:
        """Drop those that have expired."""
        clock = self._base.passed_time
        rechecks = ",".join(sorted(RECHECKS))
        args: list[Argument] = [FORMAT, clock.passed_ms(), clock.now_ms(), f",{rechecks},"]
        await self._base.script("forget_revocations", [self._base.keys.revocations], args)

    # what the channel says (RV2)

    def heard(self, document: DocumentId, kind: int, words: list[bytes], message: bytes) -> None:
        """Notice that another replica has revoked something."""
        if kind == _REVOKED:
            self._tell()

    def confirmed(self, document: DocumentId) -> None:
        """Notice that messages may have been missed."""
        self._tell()

    def disconnected(self) -> None:
        """Do nothing: the next confirmation causes a read."""

    def _tell(self) -> None:
        if self._heard is not None:
            self._heard()


def _of(field: bytes, value: bytes) -> Revocation | None:
    kind, _, subject = field.partition(b":")
    words = value.split(b" ")
    try:
        known = Revoked(kind.decode())
    except ValueError:
        return None  # a count (RV3), or RV4
    try:
        return Revocation(known, subject.decode(), int(words[0]), int(words[1]) or None)
    except (ValueError, IndexError):
        log.warning("a revocation in Redis cannot be read", field=repr(field))
        return None
