"""The engine for one Redis server, and what all engines have in common.

Rules (tests quote these ids):
    CN1  What Redis does not take just now (it loads its log, is a replica, is full, cannot write its disk, wants
         another password) is a `JournalUnavailableError` with its text: it was not executed, and trying again can help.
    CN2  Every other error of Redis stands as it is in the place of its reply.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.address import Address, read_url
from raffia.journal.redis.engine import Argument, Command, Lane, Listener, Reply, Script
from raffia.journal.redis.link import Link, code_of, connect
from raffia.journal.redis.node import Call, Node, script_call
from raffia.journal.redis.setup_check import QUESTIONS, judge
from raffia.journal.redis.subscriber import Subscriber

TIMEOUT_S = 3.0
NOT_NOW = frozenset(
    {
        *("ASK", "BUSY", "CLUSTERDOWN", "LOADING", "MASTERDOWN", "MISCONF", "MOVED"),
        *("NOAUTH", "NOREPLICAS", "OOM", "READONLY", "TRYAGAIN"),
    }
)
"""Codes with which Redis refuses a command that the next attempt may well bring through (CN1)."""


def say(reply: Reply) -> Reply:
    """A reply as the caller gets it (CN1, CN2)."""
    if code_of(reply) in NOT_NOW:
        return JournalUnavailableError(f"Redis takes no command now: {reply}")
    return reply


class BaseEngine(ABC):
    """What all engines have in common: calls with a deadline, and who is told what is published."""

    def __init__(self, url: Address | str, *, timeout_s: float = TIMEOUT_S) -> None:
        self._address = read_url(url) if isinstance(url, str) else url
        self._timeout_s = timeout_s
        self._listener: Listener | None = None

    @property
    def is_cluster(self) -> bool:
        """Whether keys live on several nodes."""
        return False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._close()

    async def run(self, commands: Sequence[Command], *, lane: Lane = Lane.READ) -> list[Reply]:
        """See `Engine.run`."""
        calls = [Call(command.args) for command in commands]
        return await self._run([command.key for command in commands], calls, lane)

    async def run_script(
        self, script: Script, keys: Sequence[str], args: Sequence[Argument], *, lane: Lane = Lane.READ
    ) -> Reply:
        """See `Engine.run_script`."""
        return (await self.run_scripts([(script, keys, args)], lane=lane))[0]

    async def run_scripts(
        self, calls: Sequence[tuple[Script, Sequence[str], Sequence[Argument]]], *, lane: Lane = Lane.READ
    ) -> list[Reply]:
        """See `Engine.run_scripts`."""
        keys = [keys[0] if keys else "" for _, keys, _ in calls]
        return await self._run(keys, [script_call(*call) for call in calls], lane)

    def listen(self, listener: Listener) -> None:
        """See `Engine.listen`."""
        assert self._listener is None, "one listener"
        self._listener = listener

    async def _run(self, keys: Sequence[str], calls: Sequence[Call], lane: Lane) -> list[Reply]:
        if not calls:
            return []
        return [say(reply) for reply in await self._send(keys, calls, lane, self._deadline_s())]

    def _deadline_s(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_s

    @abstractmethod
    async def _send(self, keys: Sequence[str], calls: Sequence[Call], lane: Lane, deadline_s: float) -> list[Reply]:
        """Replies as Redis gave them, in order; never raises, but for being cancelled."""

    @abstractmethod
    def subscribe(self, channel: str) -> None:
        """See `Engine.subscribe`."""

    @abstractmethod
    def unsubscribe(self, channel: str) -> None:
        """See `Engine.unsubscribe`."""

    @abstractmethod
    async def warnings(self) -> list[str]:
        """See `Engine.warnings`."""

    @abstractmethod
    async def _close(self) -> None:
        """End every connection and task."""


class SingleEngine(BaseEngine):
    """One Redis server (engine.py says what it does).

    Args:
        url: where it is (address.py says how that is written).
        timeout_s: longest time of a call, connecting included.
    """

    def __init__(self, url: Address | str, *, timeout_s: float = TIMEOUT_S) -> None:
        super().__init__(url, timeout_s=timeout_s)
        self._node = Node(self._connect)
        self._subscriber: Subscriber | None = None

    def listen(self, listener: Listener) -> None:
        """See `Engine.listen`."""
        super().listen(listener)
        self._subscriber = Subscriber(self._connect, listener, timeout_s=self._timeout_s)

    def subscribe(self, channel: str) -> None:
        """See `Engine.subscribe`."""
        assert self._subscriber is not None, "say who listens first"
        self._subscriber.subscribe(channel)

    def unsubscribe(self, channel: str) -> None:
        """See `Engine.unsubscribe`."""
        assert self._subscriber is not None, "say who listens first"
        self._subscriber.unsubscribe(channel)

    async def warnings(self) -> list[str]:
        """See `Engine.warnings`."""
        return await survey(self._node, self._where(), self._deadline_s())

    def _where(self) -> str:
        return str(self._address.places[0])

    async def _connect(self, deadline_s: float) -> Link:
        return await connect(self._address.places[0], self._address.access, deadline_s)

    async def _send(self, keys: Sequence[str], calls: Sequence[Call], lane: Lane, deadline_s: float) -> list[Reply]:
        return await self._node.run(calls, lane, deadline_s)

    async def _close(self) -> None:
        if self._subscriber is not None:
            await self._subscriber.aclose()
        self._node.close()


async def survey(node: Node, where: str, deadline_s: float, *, as_cluster: bool = False) -> list[str]:
    """What is wrong with how one server is set up."""
    replies = await node.run([Call(question) for question in QUESTIONS], Lane.READ, deadline_s)
    return judge(where, replies, as_cluster=as_cluster)
