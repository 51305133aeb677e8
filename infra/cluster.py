#!/usr/bin/env python3
"""Start Redis, three replicas of Raffia and HAProxy on this machine, behind one URL: `make cluster`.

For trying Raffia with several processes; for servers see compose.yaml, kubernetes/ and systemd/ beside this file. It
needs only Python and the commands `raffia`, `redis-server` and `haproxy`. It restarts nothing: that is the job of a
supervisor.

Rules (tests quote these ids):
    CLU1  Programs start in the order in which they need each other: Redis, replicas, HAProxy. The URL is printed as
          soon as it answers.
    CLU2  SIGTERM or Ctrl-C stops the replicas first: they close their sockets with 1012 (restart) through HAProxy once
          everything is in Redis. Then HAProxy stops, then Redis. A second signal kills what still runs. No process
          stays behind.
    CLU3  If a program ends or does not become ready, cluster.py prints why, with the end of its log, stops the others
          and exits with status 1.
    CLU4  Documents stay in the folder, and the next start has them. A second cluster in the same folder does not start.
    CLU5  Only the public port is fixed. If a program is missing, or the port or the folder is taken, cluster.py says so
          in one line and exits with status 2.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

HERE = Path(__file__).resolve().parent
START_S = 60.0
LOAD_S = 600.0  # Redis reads its whole log before it answers
STOP_S = 30.0  # longer than a replica drains
POLL_S = 0.05
REPLICAS = ("replica1", "replica2", "replica3")
PR_SET_PDEATHSIG = 1
# AOF makes Redis durable. It saves no snapshots beside it, and evicts nothing.
REDIS = ["--bind", "127.0.0.1", "--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
REDIS += ["--maxmemory-policy", "noeviction"]


class ClusterError(Exception):
    """What stops the cluster, in words for its operator, with the exit status."""

    def __init__(self, message: str, status: int = 2) -> None:
        super().__init__(message)
        self.status = status


def find_program(name: str, package: str) -> str:
    """Return the path of an installed program.

    Raises:
        ClusterError: it is not installed; the message names its package (CLU5).
    """
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    found = shutil.which(name, path=path)
    if found is None:
        raise ClusterError(f"{name} is missing; install it (Debian, Ubuntu: apt-get install {package})")
    return found


def can_listen(port: int) -> bool:
    """Whether this port of 127.0.0.1 is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_ports(count: int) -> list[int]:
    """Return free loopback ports below the range from which the system takes ports for clients."""
    free = [port for port in random.sample(range(20_000, 32_000), 200) if can_listen(port)]
    if len(free) < count:
        raise ClusterError("too few free ports between 20000 and 32000")
    return free[:count]


def redis_answers(port: int) -> bool:
    """Whether Redis has read its data and accepts commands."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1) as connection:
            connection.sendall(b"PING\r\n")
            return connection.recv(64).startswith(b"+PONG")
    except OSError:
        return False


def is_ready(port: int) -> bool:
    """Whether a replica answers on this port, directly or through HAProxy."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _end_with_parent(parent: int) -> None:
    """Called in a new process: if cluster.py is killed, this process gets SIGTERM (Linux only)."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)


class Cluster:
    """The programs of one folder; port 0 takes a free one."""

    def __init__(self, folder: Path, port: int, raffia: Path) -> None:
        self.redis_server = find_program("redis-server", "redis-server")
        self.haproxy = find_program("haproxy", "haproxy")
        if not raffia.exists():
            raise ClusterError(f"{raffia} is missing; run `make setup`")
        if port and not can_listen(port):
            raise ClusterError(f"port {port} of 127.0.0.1 is taken, or not allowed; choose another with --port")
        self.folder, self.raffia = folder, raffia
        free, self.redis_port, self.stats_port, *self.replica_ports = free_ports(3 + len(REPLICAS))
        self.port = port or free
        self.signals = 0
        self.programs: dict[str, subprocess.Popen[bytes]] = {}

    def start(self) -> None:
        """Start everything in order (CLU1), until a signal arrives.

        Raises:
            ClusterError: a program ended, or was not ready in time (CLU3).
        """
        for name in ("logs", "redis"):
            (self.folder / name).mkdir(exist_ok=True)
        where = ["--port", str(self.redis_port), "--dir", str((self.folder / "redis").resolve())]
        self._start("redis", [self.redis_server, *REDIS, *where])
        self._wait("redis", partial(redis_answers, self.redis_port), LOAD_S)
        replicas = dict(zip(REPLICAS, self.replica_ports, strict=True))
        for name, port in replicas.items():
            where = ["--host", "127.0.0.1", "--port", str(port), "--data", str(self.folder / name)]
            self._start(name, [str(self.raffia), "serve", *where, "--redis", f"redis://127.0.0.1:{self.redis_port}/0"])
        for name, port in replicas.items():
            self._wait(name, partial(is_ready, port))
        env = {f"REPLICA_{number}": f"127.0.0.1:{port}" for number, port in enumerate(self.replica_ports, 1)}
        env |= {"LB_BIND": f"127.0.0.1:{self.port}", "LB_STATS_BIND": f"127.0.0.1:{self.stats_port}"}
        files = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        if files != resource.RLIM_INFINITY:
            env["LB_MAXCONN"] = str(max(100, min(20_000, (files - 200) // 2)))
        self._start("haproxy", [self.haproxy, "-db", "-f", str(HERE / "haproxy.cfg")], env)
        self._wait("haproxy", partial(is_ready, self.port))

    def _start(self, name: str, command: Sequence[str], env: dict[str, str] | None = None) -> None:
        if self.signals:
            return
        with self._log(name).open("wb") as log:
            self.programs[name] = subprocess.Popen(  # noqa: S603
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,  # Ctrl-C reaches cluster.py only
                preexec_fn=partial(_end_with_parent, os.getpid()),  # noqa: PLW1509  # this process has one thread
            )

    def _log(self, name: str) -> Path:
        return self.folder / f"logs/{name}.log"

    def _wait(self, name: str, ready: Callable[[], bool], deadline_s: float = START_S) -> None:
        deadline = time.monotonic() + deadline_s
        while not self.signals and not ready():
            self._check(name)
            if time.monotonic() > deadline:
                raise self._error(name, f"was not ready within {deadline_s:g} s")
            time.sleep(POLL_S)

    def watch(self) -> None:
        """Wait for a signal.

        Raises:
            ClusterError: a program ended (CLU3).
        """
        while not self.signals:
            for name in self.programs:
                self._check(name)
            time.sleep(POLL_S)

    def _check(self, name: str) -> None:
        code = self.programs[name].poll()
        if code is not None:
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            raise self._error(name, how)

    def _error(self, name: str, what: str) -> ClusterError:
        log = self._log(name)
        tail = [f"  | {line}" for line in log.read_text(errors="replace").splitlines()[-15:]]
        return ClusterError("\n".join([f"{name} {what}; the end of {log}:", *tail]), status=1)

    def stop(self) -> bool:
        """Stop everything in order (CLU2); return whether nothing had to be killed."""
        signals = max(self.signals, 1)
        orderly = True
        for group in (REPLICAS, ["haproxy"], ["redis"]):
            running = {name: self.programs[name] for name in group if name in self.programs}
            for program in running.values():
                program.terminate()
            deadline = time.monotonic() + STOP_S
            while running := {name: program for name, program in running.items() if program.poll() is None}:
                if self.signals > signals or time.monotonic() > deadline:
                    orderly = False
                    say(f"{', '.join(running)} did not stop; killing")
                    for program in running.values():
                        program.kill()
                        program.wait()
                time.sleep(POLL_S)
        return orderly

    def on_signal(self, *_: object) -> None:
        """Count SIGTERM, SIGINT and SIGHUP."""
        self.signals += 1


def say(text: str) -> None:
    """Tell the operator; standard output holds the URL only."""
    print(f"cluster: {text}", file=sys.stderr, flush=True)  # noqa: T201


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock the folder for this cluster (CLU4).

    Raises:
        ClusterError: another cluster has locked it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("a+") as lock:
        lock.seek(0)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ClusterError(f"another cluster (pid {lock.read().strip()}) runs in {folder}") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


def run(folder: Path, port: int, raffia: Path) -> int:
    """Run a cluster until a signal arrives or a program ends; return the exit status."""
    with locked(folder):
        cluster = Cluster(folder, port, raffia)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, cluster.on_signal)
        status = 0
        try:
            cluster.start()
            if not cluster.signals:
                print(f"Raffia runs on http://127.0.0.1:{cluster.port}", flush=True)  # noqa: T201
                say(f"documents and logs are in {folder}; Ctrl-C stops")
            cluster.watch()
        except ClusterError as error:
            say(str(error))
            status = error.status
        finally:
            orderly = cluster.stop()
        say(f"stopped; documents stay in {folder}")
        return status if orderly else 1


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description="Redis, three replicas of Raffia and HAProxy, behind one URL.")
    parser.add_argument("--port", type=int, default=8000, help="the public port; 0 takes a free one (default: 8000)")
    parser.add_argument("--data", type=Path, default=Path("raffia-cluster"), help="folder (default: raffia-cluster)")
    raffia = Path(sys.executable).with_name("raffia")
    parser.add_argument("--raffia", type=Path, default=raffia, help="the raffia command (default: beside this Python)")
    given = parser.parse_args()
    try:
        sys.exit(run(given.data, given.port, given.raffia))
    except ClusterError as error:
        say(str(error))
        sys.exit(error.status)


if __name__ == "__main__":
    main()
