"""Real Redis servers for tests: a single one, a primary with sentinels, a cluster.

Rules:
    SUR1  Only processes that these objects started get signals, by pid; leaving the `with` ends all of them, paused
        ones too.
    SUR2  Readiness is polled with a deadline; a failure shows the server's log.
    SUR3  A restart keeps the port and the folder. Every server has its own folder and free loopback ports.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

from tests.support.ports import free_port

START_S = 15.0
POLL_S = 0.01


def wait_until(condition: Callable[[], bool], what: Callable[[], str] | str, deadline_s: float = START_S) -> None:
    """Poll until `condition` holds (SUR2)."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL_S)


class PortTakenError(AssertionError):
    """Another process has taken the port in the meantime."""


class RedisServer:
    """One `redis-server` process, as a context manager.

    Args:
        folder: for its files; a temporary one if not given.
        port: to listen on; a free one if not given.
        options: for redis.conf, with underscores for dashes: `appendonly="yes"`, `appendfsync="always"`.
    """

    binary = os.environ.get("RAFFIA_TEST_REDIS", "redis-server")  # such as valkey-server
    arguments: tuple[str, ...] = ()
    reached_at = "127.0.0.1"  # by tests

    def __init__(self, folder: Path | None = None, *, port: int | None = None, **options: str | int) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="raffia-redis-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else folder or Path()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.options: dict[str, str | int] = {"save": "", "appendonly": "no", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def url(self) -> str:
        return f"redis://{self.reached_at}:{self.port}/0"

    @property
    def place(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self._process is not None, "the server is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def log(self) -> str:
        path = self.folder / "log.txt"
        return path.read_text(errors="replace")[-4000:] if path.exists() else ""

    def start(self, *, ready: bool = True) -> Self:
        """Start it, and wait until it answers (SUR2)."""
        assert not self.running, "it is running already"
        if shutil.which(self.binary) is None:
            raise RuntimeError(f"{self.binary} is not installed; on Debian: apt-get install redis-server")
        with (self.folder / "log.txt").open("ab") as log:
            self._process = subprocess.Popen(
                [self.binary, *self._command()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
            )
        if ready:
            wait_until(self.answers, lambda: f"{self.binary} answers on port {self.port}\n{self.log}")
        return self

    def _command(self) -> list[str]:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self.options.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return arguments

    def answers(self) -> bool:
        """Whether it answers now."""
        if not self.running:
            kind = PortTakenError if "Address already in use" in self.log else AssertionError
            raise kind(f"{self.binary} ended at once:\n{self.log}")
        try:
            answer = self.command("PING")
        except (OSError, EOFError):
            return False
        return answer == b"PONG" or "NOAUTH" in str(answer)

    def command(self, *args: str | bytes | int, timeout_s: float = 5.0) -> Any:
        """Send a command on a new connection; an error reply is returned, not raised."""
        return self.commands([args], timeout_s=timeout_s)[-1]

    def commands(self, commands: list[tuple[str | bytes | int, ...]], *, timeout_s: float = 5.0) -> list[Any]:
        """Send several commands on one connection, after AUTH if `requirepass` is set."""
        if password := self.options.get("requirepass"):
            commands = [("AUTH", str(password)), *commands]
        reader = hiredis.Reader()
        replies: list[Any] = []
        with socket.create_connection((self.reached_at, self.port), timeout=timeout_s) as sock:
            sock.sendall(b"".join(hiredis.pack_command(args) for args in commands))
            while len(replies) < len(commands):
                if not (data := sock.recv(65536)):
                    raise EOFError("the server closed the connection")
                reader.feed(data)
                while (reply := reader.gets()) is not False:
                    replies.append(reply)
        return replies

    def info(self, section: str) -> dict[str, str]:
        """`INFO section` as a dictionary."""
        return self.info_of("INFO", section)

    def info_of(self, *args: str) -> dict[str, str]:
        """The reply to a command such as `CLUSTER INFO`, as a dictionary."""
        lines = self.command(*args).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def pause(self) -> None:
        """Send SIGSTOP: it keeps its connections but answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """Send SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def kill(self) -> None:
        """Send SIGKILL and wait until it has ended."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Send SIGTERM and wait until it has ended; a paused one is resumed first."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Restart on the same folder and port (SUR3)."""
        if self.running:
            self.stop()
        self.start()

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            if self._paused:
                self.resume()
            self._process.send_signal(number)
        try:
            self._process.wait(START_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(START_S)
        self._process, self._paused = None, False

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()
        if self._temporary:
            self._temporary.cleanup()

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)


class RedisCluster:
    """The smallest cluster that Redis allows, as a context manager: three masters and any number of replicas.

    Args:
        replicas: their total number; they follow the masters in turn.
        node_timeout_ms: the silence after which a node counts as failed.
        options: for the redis.conf of every node; a function is called for each node.
    """

    def __init__(
        self, *, replicas: int = 0, node_timeout_ms: int = 1000, **options: str | int | Callable[[], int]
    ) -> None:
        self._count = 3 + replicas
        self._options = {"cluster_enabled": "yes", "cluster_node_timeout": node_timeout_ms, **options}
        self._make()

    def _make(self) -> None:
        self.nodes = [
            RedisServer(
                None,
                **{name: value() if callable(value) else value for name, value in self._options.items()},
                cluster_port=free_port(),
            )
            for _ in range(self._count)
        ]
        self.masters, self.replicas = self.nodes[:3], self.nodes[3:]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(node.place for node in self.masters)

    def id_of(self, node: RedisServer) -> str:
        return str(node.command("CLUSTER", "MYID").decode())

    def owner(self, slot: int) -> RedisServer:
        """The node that claims `slot`."""
        for node in self.nodes:
            if node.running:
                for first, last, server, *_ in node.command("CLUSTER", "SLOTS"):
                    if first <= slot <= last and server[1] == node.port:
                        return node
        raise AssertionError(f"nobody owns slot {slot}")

    def move_slot(self, slot: int, to: RedisServer) -> None:
        """Migrate a slot with its keys, as `redis-cli --cluster reshard` does."""
        source = self.owner(slot)
        self.begin_move(slot, to)
        while keys := source.command("CLUSTER", "GETKEYSINSLOT", slot, 100):
            self.move_keys(source, to, keys)
        self.end_move(slot, to)

    def begin_move(self, slot: int, to: RedisServer) -> None:
        source = self.owner(slot)
        assert to.command("CLUSTER", "SETSLOT", slot, "IMPORTING", self.id_of(source)) == b"OK"
        assert source.command("CLUSTER", "SETSLOT", slot, "MIGRATING", self.id_of(to)) == b"OK"

    def move_keys(self, source: RedisServer, to: RedisServer, keys: list[bytes]) -> None:
        answer = source.command("MIGRATE", "127.0.0.1", to.port, "", 0, 5000, "KEYS", *keys)
        assert answer == b"OK", answer

    def end_move(self, slot: int, to: RedisServer) -> None:
        name = self.id_of(to)
        for node in [to, *(other for other in self.masters if other is not to)]:
            answer = node.command("CLUSTER", "SETSLOT", slot, "NODE", name)
            assert answer == b"OK", answer
        # A node that takes the slot back before it has learned the other's epoch claims it with an older one. Then
        # each names the other, forever. Only tests move slots so quickly.
        wait_until(self._agree, "all nodes agree")

    def _agree(self) -> bool:
        """Whether all nodes see the same slots and epochs."""
        views = []
        for node in self.nodes:
            if node.running:
                rows = [line.split(" ") for line in node.command("CLUSTER", "NODES").decode().splitlines()]
                views.append(sorted((row[0], row[6], *row[8:]) for row in rows))
        return all(view == views[0] for view in views)

    def healthy(self) -> bool:
        """Whether every running node reports a healthy cluster."""
        return all(node.info_of("CLUSTER", "INFO").get("cluster_state") == "ok" for node in self.nodes if node.running)

    def __enter__(self) -> Self:
        for attempt in range(3):
            try:
                self._begin()
            except BaseException as error:  # what was started has to end (SUR1)
                self.__exit__(None, None, None)
                if not isinstance(error, PortTakenError) or attempt == 2:
                    raise
                self._make()
            else:
                break
        return self

    def _begin(self) -> None:
        for node in self.nodes:
            node.start(ready=False)
        for node in self.nodes:
            wait_until(node.answers, lambda: "a node of the cluster answers")
        bounds = (0, 5461, 10923, 16384)
        for number, node in enumerate(self.masters):
            assert node.command("CLUSTER", "ADDSLOTSRANGE", bounds[number], bounds[number + 1] - 1) == b"OK"
        for number, node in enumerate(self.nodes):
            node.command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        first = self.nodes[0]
        for node in self.nodes[1:]:
            first.command("CLUSTER", "MEET", "127.0.0.1", node.port, node.options["cluster_port"])
        for number, node in enumerate(self.replicas):
            master = self.id_of(self.masters[number % 3])
            wait_until(
                lambda node=node, master=master: node.command("CLUSTER", "REPLICATE", master) == b"OK",  # type: ignore[misc]
                "a replica knows its master",
            )
        wait_until(self.complete, lambda: "the cluster is complete:\n" + first.log)

    def complete(self) -> bool:
        """Whether all nodes know each other and report a healthy cluster."""
        everybody = str(len(self.nodes))
        known = all(node.info_of("CLUSTER", "INFO").get("cluster_known_nodes") == everybody for node in self.nodes)
        linked = all(node.info("replication").get("master_link_status") == "up" for node in self.replicas)
        return known and linked and self.healthy()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for node in self.nodes:
            node.__exit__(kind, error, trace)


class RedisSentinels:
    """A primary, a replica and three sentinels, as a context manager.

    Args:
        down_after_ms: the silence after which the primary counts as down.
        options: for the redis.conf of primary and replica.
    """

    name = "mymaster"

    def __init__(self, *, down_after_ms: int = 500, **options: str | int) -> None:
        self._options, self._down_after_ms = options, down_after_ms
        self._make()

    def _make(self) -> None:
        options = self._options
        self.primary = RedisServer(None, **options, repl_diskless_sync_delay=0)  # the replica is ready at once
        self.replica = RedisServer(None, replicaof=f"127.0.0.1 {self.primary.port}", **options)
        password = str(options.get("requirepass", ""))
        self.sentinels = [_Sentinel(self.name, self.primary.port, self._down_after_ms, password) for _ in range(3)]

    @property
    def url(self) -> str:
        return "redis+sentinel://" + ",".join(sentinel.place for sentinel in self.sentinels) + f"/{self.name}/0"

    def failover(self) -> None:
        """Ask a sentinel for a failover and wait until it names another primary."""
        assert self.sentinels[0].command("SENTINEL", "FAILOVER", self.name) == b"OK"

    def named(self) -> int:
        """The port of the primary, according to the first sentinel."""
        return int(self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.name)[1])

    def __enter__(self) -> Self:
        for attempt in range(3):
            try:
                self._begin()
            except BaseException as error:  # what was started has to end (SUR1)
                self.__exit__(None, None, None)
                if not isinstance(error, PortTakenError) or attempt == 2:
                    raise
                self._make()
            else:
                break
        return self

    def _begin(self) -> None:
        for server in (self.primary, self.replica):
            server.start()
        wait_until(lambda: self.replica.info("replication").get("master_link_status") == "up", lambda: self.replica.log)
        for sentinel in self.sentinels:
            sentinel.start()
        wait_until(self.complete, lambda: "the sentinels know each other and the replica:\n" + self.sentinels[0].log)

    def complete(self) -> bool:
        """Whether every sentinel knows the other sentinels, a replica and a healthy primary."""
        for sentinel in self.sentinels:
            answer = sentinel.command("SENTINEL", "MASTER", self.name)
            state = dict(zip(answer[::2], answer[1::2], strict=True))
            if state[b"num-other-sentinels"] != b"2" or state[b"num-slaves"] != b"1" or state[b"flags"] != b"master":
                return False
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in (*self.sentinels, self.primary, self.replica):
            server.__exit__(kind, error, trace)


class _Sentinel(RedisServer):
    def __init__(self, name: str, primary_port: int, down_after_ms: int, password: str) -> None:
        super().__init__()
        (self.folder / "sentinel.conf").write_text(
            f"port {self.port}\nbind 127.0.0.1\ndir {self.folder}\n"
            f"sentinel monitor {name} 127.0.0.1 {primary_port} 2\n"
            f"sentinel down-after-milliseconds {name} {down_after_ms}\n"
            f"sentinel failover-timeout {name} 4000\n" + (f"sentinel auth-pass {name} {password}\n" if password else "")
        )

    def _command(self) -> list[str]:
        return [str(self.folder / "sentinel.conf"), "--sentinel"]


@asynccontextmanager
async def obedient_sentinel(name: str, port: Callable[[], int]) -> AsyncIterator[int]:
    """A sentinel that names the primary that a test wants, without votes or waiting; yields its own port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            state = {"name": name, "ip": "127.0.0.1", "port": port(), "flags": "master", "num-other-sentinels": 0}
            flat = [str(part) for item in state.items() for part in item]
            body = "".join(f"${len(part)}\r\n{part}\r\n" for part in flat)
            writer.write(f"*1\r\n*{len(flat)}\r\n{body}".encode())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]
