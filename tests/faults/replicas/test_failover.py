"""Redis fails over to a lagging replica: what the new primary lacks is restored.

The replica of Redis lags because its cable is cut. Replicas of Raffia reach the primary through HAProxy, which asks
each Redis for its role, or through sentinels.
"""

from __future__ import annotations

import asyncio
import os
import subprocess
import time
from pathlib import Path

import pytest

from tests.faults.conftest import MakeFault
from tests.faults.replicas.crowd import Crowd
from tests.faults.replicas.network import HostedRedis, Network
from tests.faults.replicas.scene import Scene, read_store
from tests.faults.table import Fault
from tests.support.ports import free_port
from tests.support.redis import RedisSentinels, RedisServer, wait_until

pytestmark = pytest.mark.slow

ROUNDS = 10
SENTINEL_ROUNDS = 5
LAG_S = 1.0
CONFIG = """
global
    log stdout format raw local0
defaults
    mode tcp
    timeout connect 1s
    timeout client 1h
    timeout server 1h
    timeout check 500ms
listen redis
    bind 127.0.0.1:{port}
    option tcp-check
    tcp-check connect
    tcp-check send INFO\\ replication\\r\\n
    tcp-check expect string role:master
    default-server check inter 100ms fall 2 rise 1 on-marked-down shutdown-sessions
    server first {first}
    server second {second}
"""


class Switch:
    """HAProxy in front of two Redis servers; connects to the one that is primary."""

    def __init__(self, folder: Path, first: str, second: str) -> None:
        self.port = free_port()
        folder.mkdir(parents=True, exist_ok=True)
        self._config = folder / "haproxy.cfg"
        self._config.write_text(CONFIG.format(port=self.port, first=first, second=second))
        self._log = folder / "log.txt"

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Switch:
        path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["haproxy", "-db", "-f", str(self._config)],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PATH": path},
            )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait(10)


async def test_failover_to_a_copy_that_lags(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    row = fault(f"failover to a Redis that lags by {LAG_S:g} s")
    lacked = 0
    for seed in range(ROUNDS if long else 1):
        lacked += await fail_over(tmp_path / str(seed), seed, row)
    row.note(f"the new primary lacked {lacked:,} acknowledged, which replicas put back")


async def fail_over(folder: Path, seed: int, row: Fault) -> int:
    """Fail over once; returns how much of what was acknowledged the new primary lacked."""
    with Network(1) as network:
        # The primary is on this machine; its replica is on a host with a cable.
        bind = f"127.0.0.1 {network.address}"
        primary = RedisServer(
            folder / "primary", appendonly="yes", bind=bind, protected_mode="no", repl_diskless_sync_delay=0
        )
        (host,) = network.hosts
        copy = HostedRedis(host, folder / "copy", appendonly="yes", replicaof=f"{network.address} {primary.port}")
        with primary, copy, Switch(folder / "switch", primary.place, f"{host.reached_at}:{copy.port}") as switch:
            wait_until(lambda: copy.info("replication")["master_link_status"] == "up", lambda: copy.log)
            scene = Scene(folder, env={"RAFFIA_REDIS": switch.url})
            scene.store_url = switch.url
            async with scene, Crowd("failover", list(scene.direct.values()), seed) as crowd:
                await crowd.type_for(0.5)
                await crowd.recover()
                host.cut()
                await crowd.type_for(LAG_S)
                crowd.burst()
                await asyncio.to_thread(primary.kill)
                lost = await crowd.lost(lambda document: read_store(copy.url, document))
                assert lost, "the copy does not lag"
                host.heal()
                assert copy.command("REPLICAOF", "NO", "ONE") == b"OK"
                began_s = time.monotonic()
                await crowd.type_for(0.3)
                await crowd.recover()
                row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
                await scene.finish(crowd)
                return len(lost)


async def test_failover_by_sentinels(tmp_path: Path, long: bool, fault: MakeFault) -> None:
    """The primary is killed under load, and sentinels promote its replica."""
    row = fault("Redis primary killed, sentinels fail over")
    for seed in range(SENTINEL_ROUNDS if long else 1):
        await kill_primary(tmp_path / str(seed), seed, row)


async def kill_primary(folder: Path, seed: int, row: Fault) -> None:
    with RedisSentinels(appendonly="yes") as sentinels:
        scene = Scene(folder, env={"RAFFIA_REDIS": sentinels.url})
        scene.store_url = sentinels.url
        async with scene, Crowd("sentinel", list(scene.direct.values()), seed) as crowd:
            await crowd.type_for(0.5)
            crowd.burst()
            before = sentinels.named()
            await asyncio.to_thread(sentinels.primary.kill)
            await crowd.type_for(0.3)
            await scene.until(lambda: sentinels.named() != before, "the sentinels name another primary")
            began_s = time.monotonic()
            await crowd.recover()
            row.ran(await crowd.check(scene.direct, scene.cold), time.monotonic() - began_s)
            await scene.finish(crowd)
