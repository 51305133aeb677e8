"""The attacker's process: `python -m tools.attacks.enemy NAME --port PORT ...`.

It waits for a line, prepares, prints `ready`, waits for another line, attacks for some seconds, and prints what it did
as one line of JSON. It runs apart from those who measure, so that its work does not delay them, and behind them where
they share a core.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any

import uvloop

from tools.attacks.place import ATTACKER, BEHIND, Build
from tools.attacks.registry import all_attacks
from tools.attacks.wire import Wire, rest, step1

GRACE_S = 3.0  # after its time, for what is still under way
PREPARE_S = 60.0


class Enemy:
    """The attacker's hands.

    Attributes:
        ports: of the servers; `port` is the one that is attacked.
        did: counts of what was done, for the report.
    """

    def __init__(self, ports: list[int], build: Build, seconds: float) -> None:
        self.ports = ports
        self.port = ports[-1]
        self.build = build
        self.seconds = seconds
        self.did: Counter[str] = Counter()
        self.kept: dict[str, Any] = {}  # from `prepare` to `load`
        self._end_s = float("inf")
        self._wires: list[Wire] = []
        self._tasks: set[asyncio.Task[Any]] = set()

    # -- time

    def begin(self) -> None:
        """The attack begins now."""
        self._end_s = time.monotonic() + self.seconds

    @property
    def over(self) -> bool:
        """Whether its time is up."""
        return time.monotonic() >= self._end_s

    @property
    def left_s(self) -> float:
        """Seconds to its end."""
        return max(0.0, self._end_s - time.monotonic())

    async def rest_of_time(self) -> None:
        """Stay until the end."""
        await asyncio.sleep(self.left_s)

    # -- hands

    def token(self, user: str | None = "mallory", rights: Mapping[str, str] | None = None, **more: Any) -> str:
        """By default one who may edit `own/*`."""
        return self.build.token(user, rights or {"own/*": "edit"}, **more)

    async def wire(
        self,
        document: str | None = None,
        *,
        can: str = "edit",
        user: str | None = "mallory",
        token: str | None = None,
        address: str | None = ATTACKER,
        reads: bool = True,
        port: int | None = None,
        asks: bool = True,
    ) -> Wire:
        """A y-websocket on a document, or a bare Hocuspocus socket without a token.

        Raises:
            ConnectionRefusedError: the server refused the handshake.
        """
        if document is not None and token is None:
            token = self.token(user, {document: can})
        path = "/sync" if document is None else f"/sync/{document}"
        wire = await Wire.open(port or self.port, path, token=token, address=address)
        self._wires.append(wire)
        if wire.status != 101:
            self.did[f"refused {wire.status}"] += 1
            wire.end()
            raise ConnectionRefusedError(f"{path}: {wire.status}")
        if document is not None and asks:
            await wire.send(step1())
        if reads:
            wire.swallow()
        return wire

    async def settled(self, document: str, updates: list[bytes]) -> None:
        """Put updates into a document, and wait until they are durable."""
        from tools.attacks.wire import update

        wire = await self.wire(document, reads=False)
        for one in updates:
            await wire.send(update(one))
        await wire.settle()
        wire.end()

    async def rest(self, method: str, path: str, body: Any = b"", **more: Any) -> int | None:
        """A request; its status, or None when there was no answer."""
        more = {"address": ATTACKER, "timeout_s": max(0.5, min(30.0, self.left_s)), **more}
        more.setdefault("token", self.token())
        try:
            status = (await rest(self.port, method, path, body, **more))[0]
        except (OSError, TimeoutError):
            self.did["no answer"] += 1
            return None
        self.did[f"answer {status}"] += 1
        return status

    async def all(self, *hands: Coroutine[Any, Any, Any]) -> None:
        """Work with many hands until the time is up; what the server ends or refuses is counted."""

        async def guard(hand: Awaitable[Any]) -> None:
            try:
                await hand
            except (OSError, TimeoutError, asyncio.IncompleteReadError) as error:
                self.did[type(error).__name__] += 1

        tasks = [asyncio.create_task(guard(hand)) for hand in hands]
        done, pending = await asyncio.wait(tasks, timeout=max(0.01, self.left_s)) if tasks else (set(), set())
        for task in pending:
            task.cancel()
        for task in done:
            task.result()

    def end(self) -> None:
        """Drop all connections, and say how the server had closed them."""
        for wire in self._wires:
            if wire.close_code is not None:
                self.did[f"closed {wire.close_code}"] += 1
            wire.end()


async def run(name: str, enemy: Enemy) -> None:
    """Prepare, wait for the word, attack, report."""
    attack = all_attacks()[name]
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, sys.stdin.readline)
    if attack.prepare is not None:
        async with asyncio.timeout(PREPARE_S):
            await attack.prepare(enemy)
    print("ready", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    if os.geteuid() == 0:
        os.setpriority(os.PRIO_PROCESS, 0, BEHIND)
    enemy.did.clear()  # what was prepared is no attack
    enemy.begin()
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(enemy.seconds + GRACE_S):
            try:
                await attack.load(enemy)
            except (OSError, asyncio.IncompleteReadError) as error:
                enemy.did[type(error).__name__] += 1
            # A refused attacker comes to nothing; who measures goes on for as long as all the same.
            await enemy.rest_of_time()
    enemy.end()
    print(json.dumps(enemy.did), flush=True)
    os._exit(0)  # tasks of attacks need not end in good order


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.attacks.enemy", description=__doc__)
    parser.add_argument("name")
    parser.add_argument("--port", type=int, action="append", required=True)
    parser.add_argument("--command", required=True)
    parser.add_argument("--seconds", type=float, required=True)
    given = parser.parse_args()
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(run(given.name, Enemy(given.port, Build.of(given.command), given.seconds)))


if __name__ == "__main__":
    main()
