"""Where an attack is played: a server with keys, or two replicas, of this build or of another one.

Rules:
    ATP1  The server runs on core 0 with its defaults, everything else on core 1. Its memory is limited, so that an
         attack on memory does not take the machine with it.
    ATP2  Another build may have another name: its environment variables, the claim in its tokens and its package are
         called after its command.
    ATP3  Every client says with `X-Forwarded-For` who it is, as behind a proxy on this machine, which is the default
         setting: so clients have addresses that count, and everything stays on loopback.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.redis import RedisServer
from tests.support.server import RaffiaServer, raffia_command
from tests.support.tokens import SECRET, token

from tools.bench.servers import LOAD_CORE, SERVER_CORE, pinned

ADDRESS_SPACE_BYTES = 6 << 30  # of the server, virtual
FILES = 4096  # that it may open, unless an attack says otherwise
FRONT, BEHIND = -10, -5  # nice values: the server and those who measure; the attacker
ATTACKER, VICTIM = "203.0.113.66", "198.51.100.1"


@dataclass(frozen=True, slots=True)
class Build:
    """The build that is attacked.

    Attributes:
        command: what starts it, with `{port}` and `{data}`.
        name: of its command, and so of its package, its variables and its claim (ATP2).
    """

    command: tuple[str, ...]
    name: str

    @classmethod
    def of(cls, command: str | None = None) -> Build:
        """Of a command line; this checkout when there is none."""
        parts = tuple(command.split()) if command else tuple(raffia_command())
        return cls(parts, Path(parts[0]).name)

    def variables(self, settings: Mapping[str, str]) -> dict[str, str]:
        """Settings, by the names of their flags, as environment variables."""
        return {f"{self.name}_{name}".upper(): value for name, value in settings.items()}

    def token(self, user: str | None, rights: Mapping[str, str], **more: Any) -> str:
        """A token that this build believes."""
        claims: dict[str, Any] = {"raffia": None, self.name: dict(rights), **more}
        return token(sub=user, **claims)


def in_front_of_others() -> list[str]:
    """Put a command in front of other work on its core, where we may: that is not what we measure."""
    return ["nice", "-n", f"{FRONT}"] if os.geteuid() == 0 and shutil.which("nice") else []


@dataclass
class Place:
    """A server or two, as a context manager that makes them ready to be started; the folder is dropped at the end.

    Args:
        build: which.
        settings: more settings, by name.
        files: that the server may open.
        replicas: on one Redis; 0 for one process on SQLite.
        seconds: how long the attack lasts.
        calm_s: how long the calm before it is measured.

    Attributes:
        servers: the victims use the first one, the attacker the last one.
    """

    build: Build
    settings: Mapping[str, str] = field(default_factory=dict)
    files: int = FILES
    replicas: int = 0
    seconds: float = 10.0
    calm_s: float = 2.0
    servers: list[RaffiaServer] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._stack = ExitStack()
        self.folder = Path(tempfile.mkdtemp(prefix="raffia-attacks-"))
        self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        key = self.folder / "key"
        key.write_text(SECRET)
        key.chmod(0o600)
        given = {"auth_key_file": str(key), "log_format": "json", **self.settings}
        try:
            if self.replicas:
                redis = self._stack.enter_context(RedisServer(None, appendonly="yes"))
                given |= {"redis": redis.url, "files": (self.folder / "files").as_uri()}
            for number in range(self.replicas or 1):
                server = RaffiaServer(
                    self.folder / f"data{number}",
                    env=self.build.variables(given),
                    command=self.build.command,
                    wrapper=self._wrapper(),
                )
                self._stack.callback(server.kill)
                self.servers.append(server)
        except BaseException:
            self._stack.close()
            raise
        return self

    def start(self) -> None:
        """Start the servers and wait until they are ready."""
        for server in self.servers:
            server.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        workers = [pid for server in self.servers if server.running for pid in children(server.pid)]
        self._stack.close()
        end_leftovers(workers)

    def _wrapper(self) -> list[str]:
        limits: Sequence[str] = ()
        if shutil.which("prlimit"):
            limits = ("prlimit", f"--as={ADDRESS_SPACE_BYTES}", f"--nofile={self.files}")
        return [*in_front_of_others(), *pinned(SERVER_CORE), *limits]

    @property
    def server(self) -> RaffiaServer:
        """The one that the victims use."""
        return self.servers[0]

    @property
    def port(self) -> int:
        return self.server.port

    def token(self, user: str | None, rights: Mapping[str, str], **more: Any) -> str:
        """See `Build.token`."""
        return self.build.token(user, rights, **more)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def end_leftovers(workers: list[int], wait_s: float = 0.5) -> list[int]:
    """End the workers of a server that has been killed, if they have not ended by themselves; which had not."""
    end_s = time.monotonic() + wait_s
    left = workers
    while (left := [pid for pid in left if _runs(pid)]) and time.monotonic() < end_s:
        time.sleep(0.02)
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return left


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (OSError, IndexError):
        return False


def load_core() -> set[int]:
    """The core of everything that is not the server; all of them when there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return {cores[LOAD_CORE]} if len(cores) > 1 else set(cores)
