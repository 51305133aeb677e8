"""The servers that are measured: how each is installed, started on core 0, and reached.

Every server does its full job: Raffia runs as `raffia serve` with its defaults, which include durable acknowledgement
on SQLite, all limits, and metrics. The peers run as their documentation starts them; none of them stores anything by
default.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.support.server import ROOT, RaffiaServer, raffia_command

from tools.bench.frames import Dialect

BENCH = ROOT / ".bench"
HERE = Path(__file__).parent
PEERS = HERE / "peers"
SERVER_CORE, LOAD_CORE = 0, 1
INSTALL_S = 600


class UnavailableError(Exception):
    """A server cannot be run here; says what is missing."""


@dataclass(frozen=True, slots=True)
class Spec:
    """One server to measure.

    Attributes:
        name: short id, as in `--server` and in the results.
        title: its name in tables and plots.
        dialect: the protocol it is measured with.
        path: path of its WebSocket endpoint.
        command: starts it, with `{port}` and `{data}` to be filled in; its environment has HOST and PORT too.
        install: installs it, or raises `UnavailableError`.
        acknowledges: what its acknowledgement means: `durable`, `memory`, or empty for none.
        awareness: whether it relays awareness.
        documents: whether it has separate documents and keeps their content.
    """

    name: str
    title: str
    dialect: Dialect
    path: str
    command: Callable[[], list[str]]
    install: Callable[[], None]
    acknowledges: str = ""
    awareness: bool = True
    documents: bool = True


@dataclass(frozen=True, slots=True)
class Running:
    """A server that listens."""

    spec: Spec
    port: int
    pid: int
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """Address of its WebSocket endpoint, without a document."""
        return f"ws://127.0.0.1:{self.port}{self.spec.path}"

    @property
    def metrics_url(self) -> str:
        """Address of Raffia's metrics."""
        return f"http://127.0.0.1:{self.port}/metrics"


class Peer(RaffiaServer):
    """Another server's process: ready when it accepts connections; killed at the end."""

    def ready(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, deadline_s: float = 0) -> int:
        self.kill()
        return 0


def pinned(core: int) -> list[str]:
    """Arguments that pin a command to one core; empty if there is only one, or no `taskset`."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or shutil.which("taskset") is None:
        return []
    return ["taskset", "-c", str(cores[core])]


def is_raffia(spec: Spec) -> bool:
    """Whether it is ours."""
    return spec.name.startswith("raffia")


@contextmanager
def running(spec: Spec, *, env: Mapping[str, str] | None = None, wrapper: Sequence[str] = ()) -> Iterator[Running]:
    """Start a server on core 0 with a new data folder; stops it and removes the folder at the end.

    Raises:
        RuntimeError: it did not start; includes its log.
    """
    folder = BENCH / "run" / f"{spec.name}-{os.getpid()}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    kind = RaffiaServer if is_raffia(spec) else Peer
    server = kind(folder / "data", env=env, command=spec.command(), wrapper=[*pinned(SERVER_CORE), *wrapper])
    try:
        with server:
            yield Running(spec, server.port, server.pid, dict(env or {}))
    finally:
        if server.log_path.exists():
            shutil.move(server.log_path, BENCH / f"{spec.name}.log")
        shutil.rmtree(folder, ignore_errors=True)


def generate_load(server: Running, arguments: Sequence[str], *, timeout_s: float = 600) -> dict[str, float]:
    """Run the load generator on core 1 against a server and return its figures.

    Raises:
        RuntimeError: it failed; includes the end of its output.
    """
    done = subprocess.run(
        load_command(server, arguments), cwd=ROOT, capture_output=True, text=True, timeout=timeout_s, check=False
    )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines() or ["nothing"]
        raise RuntimeError(f"load generator against {server.spec.title}: {said[-1]}")
    figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return figures


def load_command(server: Running, arguments: Sequence[str]) -> list[str]:
    """The command line of the load generator against a server."""
    where = ["--url", server.url, "--pid", str(server.pid), "--dialect", server.spec.dialect]
    return [*pinned(LOAD_CORE), sys.executable, "-m", "tools.bench.load", *where, *arguments]


# -- installing


def _run(command: Sequence[str], what: str) -> None:
    try:
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    except OSError as error:
        raise UnavailableError(f"{what}: {error}") from error
    if done.returncode != 0:
        raise UnavailableError(f"{what}: {done.stderr.strip()[-400:]}")


def install_npm(folder: str) -> Callable[[], None]:
    """An installer of one npm folder, from its lock file."""
    return lambda: _run([str(ROOT / "infra" / "npm-ci.sh"), str(PEERS / folder)], f"npm folder {folder}")


def _install_floor() -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        raise UnavailableError("the floor needs a C compiler (cc)")
    BENCH.mkdir(exist_ok=True)
    _run([compiler, "-O2", "-o", str(BENCH / "floor"), str(HERE / "floor.c")], "compiling the floor")


def _install_pycrdt_websocket() -> None:
    folder = PEERS / "pycrdt-websocket"
    wanted, stamp = (folder / "requirements.txt").read_text(), folder / ".venv" / "installed"
    if stamp.exists() and stamp.read_text() == wanted:
        return
    _run([sys.executable, "-m", "venv", "--clear", str(folder / ".venv")], "virtual environment of pycrdt-websocket")
    pip = [str(folder / ".venv" / "bin" / "python"), "-m", "pip", "install", "--quiet", "--require-hashes"]
    _run([*pip, "-r", str(folder / "requirements.txt")], "pycrdt-websocket")
    stamp.write_text(wanted)


def _nothing() -> None:
    """Raffia is installed by `make setup`."""


RAFFIA_YWS = Spec("raffia-yws", "Raffia (y-websocket protocol)", "yws", "/sync", raffia_command, _nothing, "durable")
RAFFIA_HP = Spec("raffia-hp", "Raffia (Hocuspocus protocol)", "hp", "/sync", raffia_command, _nothing, "durable")
HOCUSPOCUS = Spec(
    "hocuspocus",
    "Hocuspocus 4.7",
    "hp",
    "",
    lambda: ["node", str(PEERS / "hocuspocus" / "server.mjs")],
    install_npm("hocuspocus"),
    "memory",
)
Y_WEBSOCKET = Spec(
    "y-websocket",
    "y-websocket server 2.1",
    "yws",
    "",
    lambda: ["node", str(PEERS / "y-websocket" / "node_modules" / "y-websocket" / "bin" / "server.cjs")],
    install_npm("y-websocket"),
    "memory",
)
PYCRDT_WEBSOCKET = Spec(
    "pycrdt-websocket",
    "pycrdt-websocket 0.16",
    "yws",
    "",
    lambda: [
        str(PEERS / "pycrdt-websocket" / ".venv" / "bin" / "python"),
        str(PEERS / "pycrdt-websocket" / "server.py"),
    ],
    _install_pycrdt_websocket,
    "memory",
)
FLOOR = Spec(
    "floor",
    "C floor",
    "yws",
    "",
    lambda: [str(BENCH / "floor")],
    _install_floor,
    awareness=False,
    documents=False,
)
SERVERS = {spec.name: spec for spec in (RAFFIA_YWS, RAFFIA_HP, HOCUSPOCUS, Y_WEBSOCKET, PYCRDT_WEBSOCKET, FLOOR)}
