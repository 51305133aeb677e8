#!/usr/bin/env python3
"""Redis, three replicas of Raffia and HAProxy on this machine, behind one URL: `make cluster`.

For trying Raffia as many processes; on several machines see compose.yaml, kubernetes/ and systemd/ beside this file. It
needs nothing but Python, and the `raffia` command, `redis-server` and `haproxy`.

Rules (tests quote these ids):
    CLU1  Started in the order in which they need each other: Redis, replicas, HAProxy. The URL is printed when it
          answers.
    CLU2  SIGTERM or Ctrl-C stops the replicas first: they close their sockets with "restart" (1012) through HAProxy
          when everything is in Redis. Then HAProxy, then Redis. A second signal kills what is left. No process stays
          behind.
    CLU3  What dies is reported and started again in its place, on its port. What dies more than `DEATHS` times within
          `DEATHS_S` seconds, or at the start, stops the whole, with the end of its log.
    CLU4  Documents stay in the folder; the next start has them. A second cluster on the same folder does not start.
    CLU5  Only the public port is fixed. What is missing or taken is said in one line, with exit status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import random
import re
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
START_S = 60.0
LOAD_S = 600.0  # Redis reads its whole log before it answers
STOP_S = 30.0  # longer than a replica drains
DEATHS, DEATHS_S = 5, 60.0
LOOK_S = 0.1
PR_SET_PDEATHSIG = 1


class ClusterError(Exception):
    """Something an operator has to mend, in words for them."""


class StopRequestedError(Exception):
    """A signal came while something was being started."""


def find_program(name: str, package: str) -> str:
    """The path of a program that has to be installed.

    Raises:
        ClusterError: it is not, with the name of its package (CLU5).
    """
    places = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=places)
    if found is None:
        raise ClusterError(f"{name} is missing; install it (Debian, Ubuntu: apt-get install {package})")
    return found


def free_port(taken: Sequence[int] = ()) -> int:
    """A loopback port that nobody has, outside the range from which the system takes ports for clients."""
    for _ in range(200):
        port = random.randrange(20_000, 32_000)  # noqa: S311  # nothing secret about it
        if port not in taken and can_listen(port):
            return port
    raise ClusterError("no free port between 20000 and 32000")


def can_listen(port: int) -> bool:
    """Whether nobody listens on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def with_replicas(config: str, addresses: Sequence[str]) -> str:
    """haproxy.cfg for any number of replicas: the line of replica 1 in each backend, once for each address."""

    def lines(match: re.Match[str]) -> str:
        line = match.group(0)
        if "replica1" not in line:
            return ""
        made = (
            re.sub(r'"\$\{REPLICA_1-[^}]*\}"', address, line).replace("replica1", f"replica{number}")
            for number, address in enumerate(addresses, 1)
        )
        return "".join(made)

    return re.sub(r"^    server replica\d+ .*\n", lines, config, flags=re.MULTILINE)


def redis_answers(port: int) -> bool:
    """Whether Redis has read its data and takes commands."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def url_answers(url: str) -> bool:
    """Whether this URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:  # noqa: S310  # our own, on loopback
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _ends_with_its_parent() -> Callable[[], None] | None:
    """What a new process calls so that it gets SIGTERM when this one dies without a word (Linux)."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    parent = os.getpid()

    def call() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return call


class Program:
    """One process, started again when it dies (CLU3); its output goes to a file."""

    def __init__(self, name: str, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.command = list(command)
        self.log = log
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.deaths: list[float] = []
        self.again_s = 0.0
        log.write_bytes(b"")

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C in the terminal is for cluster.py alone (CLU2)."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(  # noqa: S603
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self.env,
                start_new_session=True,
                preexec_fn=_ends_with_its_parent(),  # noqa: PLW1509  # this process has one thread
            )

    @property
    def running(self) -> bool:
        """Whether the process is there."""
        return self.process is not None and self.process.poll() is None

    def send(self, number: signal.Signals) -> None:
        """Send a signal, if it runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def ending(self) -> str:
        """How it ended."""
        code = self.process.poll() if self.process is not None else None
        return f"was killed by {signal.Signals(-code).name}" if code is not None and code < 0 else f"ended with {code}"

    def tail(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(f"  | {line}" for line in self.log.read_text(errors="replace").splitlines()[-lines:])


class Cluster:
    """All programs of one folder.

    Args:
        folder: where everything is kept.
        port: the public one; 0 takes a free one.
        replicas: how many.
        raffia: path of the `raffia` command.
    """

    def __init__(self, folder: Path, port: int, replicas: int, raffia: Path) -> None:
        self.redis_server = find_program("redis-server", "redis-server")
        self.haproxy_program = find_program("haproxy", "haproxy")
        if not raffia.exists():
            raise ClusterError(f"{raffia} is missing; run `make setup`")
        if port and not can_listen(port):
            raise ClusterError(f"port {port} of 127.0.0.1 is taken, or not for you; choose another with --port")
        self.folder, self.raffia, self.count = folder, raffia, replicas
        self.ports: list[int] = []
        self.port = port or self._port()
        self.stops = 0
        self.programs: list[Program] = []

    def _port(self) -> int:
        self.ports.append(free_port(self.ports))
        return self.ports[-1]

    @property
    def url(self) -> str:
        """The one that clients are given."""
        return f"http://127.0.0.1:{self.port}"

    # -- the programs

    def _redis(self) -> tuple[Program, int]:
        port, data = self._port(), self.folder / "redis"
        data.mkdir(exist_ok=True)
        command = [self.redis_server, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(data.resolve())]
        # AOF is what makes it durable: synced once a second. No snapshots beside it, and nothing is ever evicted.
        command += [
            "--appendonly",
            "yes",
            "--appendfsync",
            "everysec",
            "--save",
            "",
            "--maxmemory-policy",
            "noeviction",
        ]
        return Program("redis", command, self.folder / "logs/redis.log"), port

    def _replica(self, number: int, redis_port: int) -> tuple[Program, int]:
        port, name = self._port(), f"replica{number}"
        command = [str(self.raffia), "serve", "--host", "127.0.0.1", "--port", str(port)]
        command += ["--data", str(self.folder / name), "--redis", f"redis://127.0.0.1:{redis_port}/0"]
        return Program(name, command, self.folder / f"logs/{name}.log"), port

    def _haproxy(self, ports: Sequence[int]) -> Program:
        config = self.folder / "haproxy.cfg"
        text = (HERE / "haproxy.cfg").read_text()
        config.write_text(with_replicas(text, [f"127.0.0.1:{port}" for port in ports]))
        most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        limit = 20_000 if most == resource.RLIM_INFINITY else max(100, min(20_000, (most - 200) // 2))
        env = {
            "LB_BIND": f"127.0.0.1:{self.port}",
            "LB_STATS_BIND": f"127.0.0.1:{self._port()}",
            "LB_MAXCONN": str(limit),
        }
        command = [self.haproxy_program, "-db", "-f", str(config)]
        return Program("haproxy", command, self.folder / "logs/haproxy.log", env)

    # -- life

    def start(self) -> None:
        """Start everything in order (CLU1).

        Raises:
            ClusterError: something ended at once, or was not ready in time (CLU3).
            StopRequestedError: a signal came meanwhile.
        """
        (self.folder / "logs").mkdir(exist_ok=True)
        redis, redis_port = self._redis()
        self._begin(redis)
        self._wait(redis, lambda: redis_answers(redis_port), LOAD_S)
        replicas = [self._replica(number, redis_port) for number in range(1, self.count + 1)]
        for replica, _ in replicas:
            self._begin(replica)
        for replica, port in replicas:
            self._wait(replica, partial(url_answers, f"http://127.0.0.1:{port}/readyz"))
        haproxy = self._haproxy([port for _, port in replicas])
        self._begin(haproxy)
        self._wait(haproxy, lambda: url_answers(f"{self.url}/readyz"))

    def _begin(self, program: Program) -> None:
        if self.stops:
            raise StopRequestedError
        self.programs.append(program)
        program.start()

    def _wait(self, program: Program, ready: Callable[[], bool], deadline_s: float = START_S) -> None:
        deadline = time.monotonic() + deadline_s
        while not ready():
            if self.stops:
                raise StopRequestedError
            if not program.running:
                raise ClusterError(f"{program.name} {program.ending()} at its start:\n{program.tail()}")
            if time.monotonic() > deadline:
                raise ClusterError(f"{program.name} was not ready within {deadline_s:g} s:\n{program.tail()}")
            time.sleep(LOOK_S / 2)

    def watch(self) -> None:
        """Start again what dies, until a signal comes (CLU3).

        Raises:
            ClusterError: something dies again and again.
        """
        while not self.stops:
            for program in self.programs:
                if not program.running:
                    self._revive(program)
            time.sleep(LOOK_S)

    def _revive(self, program: Program) -> None:
        now = time.monotonic()
        if not program.again_s:
            program.deaths = [moment for moment in program.deaths if now - moment < DEATHS_S] + [now]
            if len(program.deaths) > DEATHS:
                raise ClusterError(
                    f"{program.name} {program.ending()}, {len(program.deaths)} times within {DEATHS_S:g} s; "
                    f"stopping everything. The end of {program.log}:\n{program.tail()}"
                )
            # The first time at once, then more and more slowly.
            pause_s = 0.0 if len(program.deaths) == 1 else 0.25 * 2 ** len(program.deaths)
            program.again_s = now + pause_s
            say(f"{program.name} {program.ending()}; starting it again (log: {program.log})")
        if now >= program.again_s:
            program.again_s = 0.0
            program.start()

    def stop(self) -> bool:
        """End everything in order (CLU2); whether all ended when asked."""
        replicas = [program for program in self.programs if program.name.startswith("replica")]
        others = [program for program in reversed(self.programs) if program not in replicas]
        signals = max(self.stops, 1)
        orderly = True
        for group in (replicas, *([program] for program in others)):
            for program in group:
                program.send(signal.SIGTERM)
            deadline = time.monotonic() + STOP_S
            while any(program.running for program in group):
                if self.stops > signals or time.monotonic() > deadline:
                    orderly = False
                    for program in group:
                        if program.running:
                            say(f"{program.name} did not end; killing it")
                        program.send(signal.SIGKILL)
                time.sleep(LOOK_S / 2)
        return orderly

    def on_signal(self, *_: Any) -> None:
        """SIGTERM, SIGINT or SIGHUP came."""
        self.stops += 1


def say(text: str) -> None:
    """Tell the operator; standard output is for the URL."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def locked(folder: Path) -> Any:
    """Keep the folder for this cluster (CLU4).

    Raises:
        ClusterError: another cluster has it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"another cluster (pid {_first_line(lock)}) runs in {folder}") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def _first_line(file: IO[str]) -> str:
    file.seek(0)
    return file.readline().strip()


def run(folder: Path, port: int, replicas: int, raffia: Path) -> int:
    """Run a cluster until a signal comes; the exit status."""
    with locked(folder):
        cluster = Cluster(folder, port, replicas, raffia)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, cluster.on_signal)
        orderly = False
        try:
            cluster.start()
            print(f"Raffia runs on {cluster.url}", flush=True)  # noqa: T201
            say(f"{replicas} replicas, documents and logs in {folder}; Ctrl-C stops")
            cluster.watch()
        except StopRequestedError:
            pass
        finally:
            orderly = cluster.stop()
        say(f"stopped; documents stay in {folder}")
        return 0 if orderly else 1


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        description="Redis, replicas of Raffia and HAProxy on this machine, behind one URL."
    )
    parser.add_argument("--port", type=int, default=8000, help="the public port; 0 takes a free one (default: 8000)")
    parser.add_argument("--replicas", type=int, default=3, choices=range(1, 10), metavar="1-9", help="default: 3")
    parser.add_argument("--data", type=Path, default=Path("raffia-cluster"), help="folder (default: raffia-cluster)")
    raffia = Path(sys.executable).with_name("raffia")
    parser.add_argument("--raffia", type=Path, default=raffia, help="the raffia command (default: beside this Python)")
    given = parser.parse_args()
    try:
        sys.exit(run(given.data, given.port, given.replicas, given.raffia))
    except ClusterError as error:
        say(str(error))
        sys.exit(2)


if __name__ == "__main__":
    main()
