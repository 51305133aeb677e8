"""Hosts on one machine: network namespaces on a bridge, whose cables a test can pull.

Rules:
    NET1  A host is a network namespace with two cables: one to the bridge, which is the network that Redis is on, and
          one directly to this machine, through which the test and its clients reach it even if the other is cut.
    NET2  A cut sets the state of the bridge's port: no packet passes in either direction and neither side is notified,
          as when a switch dies. Addresses, routes and sockets stay.
    NET3  Names are random, and leaving the `with` removes everything. Needs root; without it, a test fails and says
          so.
"""

from __future__ import annotations

import os
import secrets
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer

DISABLED, FORWARDING = 0, 3
PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def run(*command: str, check: bool = True) -> str:
    """Run a command of iproute2."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, "PATH": PATH})
    if check and done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()}")
    return done.stdout


def need_root(what: str) -> None:
    """Fail loudly where root is needed and missing (NET3)."""
    if os.geteuid() != 0:
        pytest.fail(f"{what} needs root: run this test as root (CI does); it is not skipped")


class Host:
    """One namespace.

    Attributes:
        namespace: its name.
        address: on the bridge.
        reached_at: its address on the cable to this machine.
    """

    def __init__(self, network: Network, number: int) -> None:
        self._port = f"wp{network.name}{number}"
        self._cable = f"wc{network.name}{number}"
        self.namespace = f"raffia-{network.name}-{number}"
        self.address = f"10.{network.block}.{number + 2}"
        self.reached_at = f"10.{network.cables}.{4 * number + 2}"
        near = f"10.{network.cables}.{4 * number + 1}"
        inside = ("ip", "-n", self.namespace)
        run("ip", "netns", "add", self.namespace)
        run(*inside, "link", "set", "lo", "up")
        run("ip", "link", "add", self._port, "type", "veth", "peer", "name", "eth0", "netns", self.namespace)
        run("ip", "link", "set", self._port, "master", network.bridge, "up")
        run(*inside, "address", "add", f"{self.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        run("ip", "link", "add", self._cable, "type", "veth", "peer", "name", "eth1", "netns", self.namespace)
        run("ip", "address", "add", f"{near}/30", "dev", self._cable)
        run("ip", "link", "set", self._cable, "up")
        run(*inside, "address", "add", f"{self.reached_at}/30", "dev", "eth1")
        run(*inside, "link", "set", "eth1", "up")

    @property
    def inside(self) -> list[str]:
        """The prefix for a command that runs on this host."""
        return ["ip", "netns", "exec", self.namespace]

    def cut(self) -> None:
        """Pull the cable to the bridge (NET2)."""
        run("bridge", "link", "set", "dev", self._port, "state", str(DISABLED))

    def heal(self) -> None:
        """Plug the cable in again."""
        run("bridge", "link", "set", "dev", self._port, "state", str(FORWARDING))

    def pings(self, address: str) -> bool:
        """Whether this host reaches an address now."""
        with_deadline = ["timeout", "2", "bash", "-c", f"exec 3<>/dev/tcp/{address.replace(':', '/')}"]
        return subprocess.run([*self.inside, *with_deadline], capture_output=True, check=False).returncode == 0


class Network:
    """A bridge with hosts, as a context manager.

    Args:
        hosts: how many.

    Attributes:
        address: of this machine on the bridge.
    """

    def __init__(self, hosts: int) -> None:
        need_root("network namespaces")
        self.name = secrets.token_hex(3)
        first, second = 100 + secrets.randbelow(100), secrets.randbelow(255)
        self.block, self.cables = f"{first}.{second}", f"{first}.{second + 1}"
        self.bridge = f"wb{self.name}"
        self.address = f"10.{self.block}.1"
        self.hosts: list[Host] = []
        self._count = hosts

    def __enter__(self) -> Self:
        try:
            run("ip", "link", "add", self.bridge, "type", "bridge", "forward_delay", "0")
            run("ip", "address", "add", f"{self.address}/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")
            for number in range(self._count):
                self.hosts.append(Host(self, number))
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number in range(self._count):
            run("ip", "netns", "del", f"raffia-{self.name}-{number}", check=False)  # its cables go with it
        run("ip", "link", "del", self.bridge, check=False)


class HostedServer(RaffiaServer):
    """A Raffia process on a host; clients use its cable to this machine."""

    def __init__(self, host: Host, data: Path, *, env: Mapping[str, str], command: Sequence[str]) -> None:
        here = [host.reached_at if part == "127.0.0.1" else part for part in command]
        env = {**env, "RAFFIA_OPEN_TO_THE_NETWORK": "true"}
        super().__init__(data, env=env, command=here, wrapper=host.inside)
        self.host = host

    @property
    def http(self) -> str:
        return f"http://{self.host.reached_at}:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://{self.host.reached_at}:{self.port}/sync"


class HostedRedis(RedisServer):
    """A Redis process on a host; the test uses its cable to this machine."""

    binary = "ip"

    def __init__(self, host: Host, folder: Path, **options: str | int) -> None:
        super().__init__(folder, bind=f"{host.address} {host.reached_at} 127.0.0.1", protected_mode="no", **options)
        self.host = host

        self.reached_at = host.reached_at

    def _command(self) -> list[str]:
        # `ip netns exec` replaces itself with the program, so the process keeps its id.
        return [*self.host.inside[1:], RedisServer.binary, *super()._command()]
