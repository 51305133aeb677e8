"""A cluster in which faults happen, with what the oracle needs.

Rules:
    FSC1  The baseline of a row is taken when every replica has served once and its rooms are closed, so that it
          includes what is created once (pools, caches, connections).
    FSC2  At the end all clients leave: replicas close their rooms and are back at the baseline (I4), and a replica that
          starts only then shows the same documents (the cold reload of I2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from tests.faults.replicas.crowd import Cold, Crowd
from tests.faults.replicas.oracle import Copy, Footprint, read_fresh, unequal
from tests.support.cluster import Cluster, Replica

ENV = {"RAFFIA_ROOM_IDLE_S": "1", "RAFFIA_LOG_FORMAT": "text"}
CLOSED_S = 15.0


async def read_store(url: str, document: str) -> Copy:
    """Read a document from Redis, bypassing all replicas."""
    async with RedisJournal(open_engine(url)) as journal:
        loaded = await journal.load(document)  # type: ignore[arg-type]
    snapshot = [loaded.snapshot.state] if loaded.snapshot is not None else []
    return Copy.of([*snapshot, *(edit.update for entry in loaded.entries for edit in entry.batch)])


class Scene(Cluster):
    """Redis, replicas and HAProxy, see `Cluster`."""

    def __init__(
        self,
        folder: Path,
        *,
        replicas: int = 2,
        env: Mapping[str, str] | None = None,
        lb_env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        redis_options: Mapping[str, str | int] | None = None,
    ) -> None:
        super().__init__(
            folder,
            replicas=replicas,
            env={**ENV, **(env or {})},
            lb_env=lb_env,
            command=command,
            redis_options=redis_options,
        )
        self.store_url = self.redis.url  # where `cold` reads
        self.baseline: dict[str, Footprint] = {}

    # -- reading

    @property
    def direct(self) -> dict[str, str]:
        """Every running replica, bypassing HAProxy: name -> URL for clients."""
        return {replica.name: replica.ws for replica in self.replicas if replica.server.running}

    async def cold(self, document: str) -> Copy:
        """Read a document from Redis."""
        return await read_store(self.store_url, document)

    def fresh_at(self, replica: Replica) -> Cold:
        """A reader at one replica, for the crowd's checks."""

        async def read(document: str) -> Copy:
            return await read_fresh(replica.ws, document)

        return read

    # -- begin and end

    async def warm(self, seed: int = 0) -> None:
        """Have each replica serve once, and take the baseline (FSC1)."""
        for replica in self.replicas:
            async with Crowd(f"warm-{replica.name}", [replica.ws], seed, documents=3, people=6) as crowd:
                await crowd.type_for(0.5)
                await crowd.recover()
        await self.until_closed()
        self.baseline = {replica.name: Footprint.of(replica.pid) for replica in self.replicas}

    async def until_closed(self, deadline_s: float = CLOSED_S) -> None:
        """Wait until no replica has a room open."""
        running = [replica for replica in self.replicas if replica.server.running]
        await self.until(
            lambda: all(replica.server.metrics()["raffia_rooms"] == 0 for replica in running),
            "all rooms closed",
            deadline_s,
        )

    async def check_footprint(self) -> None:
        """Check that replicas without clients are back at the baseline (I4).

        A restarted one is compared with its values from before: a new process must not need more either.
        """

        def grown() -> str:
            running = [replica for replica in self.replicas if replica.server.running]
            found = ((one.name, Footprint.of(one.pid).grown_since(self.baseline[one.name])) for one in running)
            return "; ".join(f"{name}: {said}" for name, said in found if said)

        await self.until(lambda: not grown(), "memory and file descriptors as before")
        assert not (said := grown()), said

    async def finish(self, crowd: Crowd) -> int:
        """Check everything that must hold after all clients have left (FSC2); returns how much was acknowledged."""
        acknowledged = await crowd.check(self.direct, self.cold)
        copies = {document: Copy.of([crowd.of(document)[0].doc.get_update()]) for document in crowd.documents}
        await asyncio.gather(*(provider.stop() for provider in crowd.providers))
        await self.until_closed()
        if self.baseline:
            await self.check_footprint()
        newcomer = self.replicas[0]
        if newcomer.server.running:
            await newcomer.terminate()
        await newcomer.start()
        for document, copy in copies.items():
            cold = await read_fresh(newcomer.ws, document)
            assert not (said := unequal({"clients": copy, "cold reload": cold})), f"{document}: {said}"
        return acknowledged
