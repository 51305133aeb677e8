"""Many people who type into some documents while things break, and what they must find afterwards.

Rules:
    FC1  Half of them use each dialect; each document has some of both.
    FC2  A person types at most `AHEAD` operations ahead of the acknowledgements, and in bursts, so that some are
         always in flight. While nothing is acknowledged, they go on slowly.
    FC3  Recovered means that all people are online, everything is acknowledged and all copies are equal. This is
         polled; the report calls the time it took the recovery.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from random import Random

from tests.faults.replicas.oracle import Copy, Promise, read_fresh, unequal
from tests.faults.replicas.provider import Provider

AHEAD = 20
TURN_S = 0.005
BURST = 4
RECOVERY_S = 10.0

Cold = Callable[[str], Awaitable[Copy]]
"""Reads a document past all replicas that have it open."""


class Crowd:
    """People on documents.

    Args:
        name: the prefix of the documents' names.
        servers: where they connect; each takes a random one, and another when that is gone.
        seed: for everything random here.
        documents: how many.
        people: how many in total.
    """

    def __init__(self, name: str, servers: Sequence[str], seed: int, *, documents: int = 3, people: int = 12) -> None:
        self.rng = Random(seed)
        self.documents = [f"{name}-{seed}-{number}" for number in range(documents)]
        self.providers = [
            Provider(
                100 + number,
                self.documents[number % documents],
                servers,
                Random(self.rng.random()),
                hocuspocus=number // documents % 2 == 1,
            )
            for number in range(people)
        ]

    async def __aenter__(self) -> Crowd:
        await asyncio.gather(*(provider.start() for provider in self.providers))
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.gather(*(provider.stop() for provider in self.providers))

    # -- typing

    def type_once(self, who: Sequence[Provider] | None = None) -> None:
        """Run one turn: some of them type a burst (FC2)."""
        for provider in self.providers if who is None else who:
            if self.rng.random() < (0.25 if provider.in_flight < AHEAD else 0.002):
                for _ in range(self.rng.randint(1, BURST)):
                    provider.type()

    async def type_for(self, seconds: float, who: Sequence[Provider] | None = None) -> None:
        """Type for some seconds."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            self.type_once(who)
            await asyncio.sleep(TURN_S)

    async def type_until(
        self,
        condition: Callable[[], object],
        what: str,
        deadline_s: float = 20.0,
        who: Sequence[Provider] | None = None,
    ) -> None:
        """Type until a condition holds."""
        end = time.monotonic() + deadline_s
        while not condition():
            assert time.monotonic() < end, f"not within {deadline_s:g} s: {what}; {self.providers}"
            self.type_once(who)
            await asyncio.sleep(TURN_S)

    def burst(self, who: Sequence[Provider] | None = None) -> None:
        """All people type now, however much is in flight: these operations cannot have been answered yet."""
        for provider in self.providers if who is None else who:
            provider.type()

    # -- state

    @property
    def acknowledged(self) -> int:
        """The number of acknowledged operations."""
        return sum(len(provider.log) - provider.in_flight for provider in self.providers)

    @property
    def in_flight(self) -> int:
        """The number of operations that are not acknowledged."""
        return sum(provider.in_flight for provider in self.providers)

    def on(self, server: str) -> list[Provider]:
        """The people connected to a server."""
        return [provider for provider in self.providers if provider.is_online and provider.server == server]

    def of(self, document: str) -> list[Provider]:
        """The people on a document."""
        return [provider for provider in self.providers if provider.document == document]

    def longest_absence_s(self, since_s: float) -> float:
        """The longest time that anyone was without a server, among absences that began after a given moment."""
        return max(
            (one.seconds for provider in self.providers for one in provider.absences if one.from_s >= since_s),
            default=0.0,
        )

    # -- what must hold

    async def lost(self, read: Cold) -> list[str]:
        """What was acknowledged and one reader lacks (I1)."""
        promises = [Promise.of(provider) for provider in self.providers]
        tokens = {document: (await read(document)).tokens for document in self.documents}
        return [token for promise in promises for token in promise.broken_by(tokens[promise.provider.document])]

    async def until_kept(self, read: Cold, what: str, deadline_s: float = RECOVERY_S) -> None:
        """Wait, with a deadline, until a reader finds everything that is acknowledged."""
        end = time.monotonic() + deadline_s
        while missing := await self.lost(read):
            assert time.monotonic() < end, f"{what}: {len(missing)} of {self.acknowledged} lost, such as {missing[:5]}"
            await asyncio.sleep(0.1)

    async def until_settled(self, deadline_s: float = RECOVERY_S) -> None:
        """Wait until all people are online and everything is acknowledged."""
        end = time.monotonic() + deadline_s
        while not all(provider.is_online and provider.in_flight == 0 for provider in self.providers):
            await self._look(end, deadline_s, "online and acknowledged")
            for provider in self.providers:
                if provider.in_flight:
                    provider.ask()
            await asyncio.sleep(0.02)
        refused = sum(provider.refused for provider in self.providers)
        assert refused == 0, f"{refused} updates were refused"

    async def until_equal(self, deadline_s: float = RECOVERY_S) -> None:
        """Wait until all copies of each document are equal, without any client asking again (I2)."""
        end = time.monotonic() + deadline_s
        for document in self.documents:
            while said := unequal(
                {str(provider.number): Copy.of([provider.doc.get_update()]) for provider in self.of(document)}
            ):
                await self._look(end, deadline_s, f"copies of {document} equal: {said}")
                await asyncio.sleep(0.05)

    async def _look(self, end: float, deadline_s: float, what: str) -> None:
        if time.monotonic() > end:
            away = [provider for provider in self.providers if not provider.is_online or provider.in_flight]
            raise AssertionError(f"not within {deadline_s:g} s: {what}; {away}")
        for provider in self.providers:
            await provider.until(lambda: True, "alive")

    async def recover(self, deadline_s: float = RECOVERY_S) -> float:
        """Wait until everything has recovered; returns the seconds that took (FC3)."""
        began_s = time.monotonic()
        await self.until_settled(deadline_s)
        await self.until_equal(max(0.5, deadline_s - (time.monotonic() - began_s)))
        return time.monotonic() - began_s

    async def check(self, replicas: Mapping[str, str], cold: Cold | None = None) -> int:
        """Check I1 and I2 for all people, new clients and a cold reader; returns how much was acknowledged."""
        acknowledged = 0
        for document in self.documents:
            promises = [Promise.of(provider) for provider in self.of(document)]
            copies = {f"client {one.number}": Copy.of([one.doc.get_update()]) for one in self.of(document)}
            for name, ws in replicas.items():
                copies[name] = await read_fresh(ws, document)
            if cold is not None:
                copies["cold"] = await cold(document)
            assert not (said := unequal(copies)), f"{document}: {said}"
            tokens = next(iter(copies.values())).tokens
            lost = [token for promise in promises for token in promise.broken_by(tokens)]
            assert lost == [], f"{document}: {len(lost)} lost, such as {lost[:5]}"
            acknowledged += sum(map(len, promises))
        return acknowledged
