"""`make cluster` as people start it: rules CLU1 to CLU5 of infra/cluster.py."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from infra import cluster as module
from infra.cluster import Cluster, ClusterError, find_program
from tests.support.client import HocuspocusClient, YClient, fresh_reader
from tests.support.haproxy import CONFIG, with_replicas
from tests.support.lib0 import insert
from tests.support.server import ROOT

DEADLINE_S = 40.0
RAFFIA = Path(sys.executable).with_name("raffia")
DOCUMENT = "team/cluster"


def until(condition: Callable[[], object], what: Callable[[], str], deadline_s: float = DEADLINE_S) -> None:
    end = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end, f"not within {deadline_s:.0f} s: {what()}"
        time.sleep(0.02)


class Command:
    """One running cluster, and every process that it has ever been seen with."""

    def __init__(self, folder: Path, *, make: bool = False) -> None:
        self.data = folder / "raffia-cluster"
        self.out, self.err = folder / "out.txt", folder / "err.txt"
        arguments = ["--port=0", f"--data={self.data}"]
        command = [sys.executable, str(ROOT / "infra/cluster.py"), *arguments]
        if make:  # what setup would do is no part of this
            command = ["make", "-o", "setup", "cluster", f"ARGS={' '.join(arguments)}"]
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("RAFFIA_", "MAKE", "MFLAGS"))}
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=kept, start_new_session=True
            )
        self.seen: dict[int, psutil.Process] = {}
        until(self._started, self.said)
        self.url = re.findall(r"http://\S+", self.out.read_text())[0]
        self.ws = self.url.replace("http", "ws", 1) + "/sync"

    def _started(self) -> bool:
        assert self.process.poll() is None, self.said()
        return "http://" in self.out.read_text()

    def said(self) -> str:
        logs = "\n".join(f"---- {log.name}\n{log.read_text()[-1500:]}" for log in self.data.glob("logs/*.log"))
        return f"{self.out.read_text()}{self.err.read_text()}{logs}"

    def children(self) -> dict[str, psutil.Process]:
        """Its processes by name: redis, haproxy, replica1 ..."""
        found = {}
        for child in psutil.Process(self.process.pid).children(recursive=True):
            self.seen[child.pid] = child
            with contextlib.suppress(psutil.Error):
                line = " ".join(child.cmdline())
                name = next((name for name in ("redis-server", "haproxy") if f"{name} " in line), None)
                name = name or "".join(re.findall(r"--data \S+/(replica\d)", line))
                found[name or "cluster.py"] = child
        return found

    def left(self) -> list[psutil.Process]:
        """Processes of it that are still there."""
        _, alive = psutil.wait_procs(list(self.seen.values()), timeout=0)
        return alive

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.children()
        self.process.send_signal(number)
        return self.process.wait(DEADLINE_S)

    def end(self) -> None:
        """Whatever a test did: nothing of it stays (each process by its own pid)."""
        if self.process.poll() is None:
            with contextlib.suppress(psutil.Error):
                self.children()
            self.process.kill()
            self.process.wait(DEADLINE_S)
        for process in self.left():
            with contextlib.suppress(psutil.Error):
                process.kill()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Command]]:
    running: list[Command] = []

    def start(*, make: bool = False) -> Command:
        running.append(Command(tmp_path, make=make))
        return running[-1]

    yield start
    for command in running:
        command.end()


async def edit_on_every_replica(command: Command) -> set[str]:
    """Three y-websocket and three Hocuspocus clients on one document see each other's edits; what they wrote."""
    clients: list[YClient | HocuspocusClient] = [await YClient().join(command.ws, DOCUMENT) for _ in range(3)]
    clients += [await HocuspocusClient(DOCUMENT).join(command.ws) for _ in range(3)]
    tokens = {f"<{number} é😀>" for number in range(1, 7)}
    for number, client in enumerate(clients, 1):
        client.update(insert(number, 0, f"<{number} é😀>"))
    for client in clients:
        await client.settle()
        for token in tokens:
            if f"<{clients.index(client) + 1} " not in token:
                await client.until(lambda client=client, token=token: client.holds(token.encode()), token)
        await client.close()
    return tokens


async def test_clu1_t2_t4_one_url_one_document_and_nothing_left(start: Callable[..., Command]) -> None:
    command = start(make=True)
    assert len(re.findall(r"http://", command.out.read_text() + command.err.read_text())) == 1
    names = set(command.children())
    assert {"redis-server", "haproxy", "replica1", "replica2", "replica3"} <= names
    async with httpx.AsyncClient(base_url=command.url) as http:
        assert (await http.get("/readyz")).json() == {"status": "ready"}
    tokens = await edit_on_every_replica(command)
    watcher = await YClient().join(command.ws, DOCUMENT)

    command.children()
    command.process.send_signal(signal.SIGTERM)
    assert (await watcher.until_closed())[0] == 1012, "CLU2: replicas end before HAProxy"
    await asyncio.to_thread(command.process.wait, DEADLINE_S)
    assert command.left() == []
    assert f"documents stay in {command.data}" in command.err.read_text()

    again = start()
    reader = await fresh_reader(again.ws, DOCUMENT)
    assert all(reader.holds(token.encode()) for token in tokens), "CLU4: the next start has the documents"
    assert await asyncio.to_thread(again.stop, signal.SIGINT) == 0
    assert again.left() == []


@pytest.mark.parametrize("name", ["replica2", "haproxy"])
def test_clu3_a_program_that_ends_stops_the_cluster(name: str, start: Callable[..., Command]) -> None:
    command = start()
    command.children()[name].kill()
    assert command.process.wait(DEADLINE_S) == 1
    assert f"cluster: {name} was killed by SIGKILL; the end of {command.data / 'logs' / name}.log:\n" in (
        command.err.read_text()
    )
    assert command.left() == []


def test_clu2_clu4_one_folder_one_cluster_and_nothing_left_when_it_is_killed(start: Callable[..., Command]) -> None:
    command = start()
    second = run("--port=0", f"--data={command.data}")
    assert (second.returncode, second.stdout) == (2, "")
    assert second.stderr == f"cluster: another cluster (pid {command.process.pid}) runs in {command.data}\n"

    command.children()
    if sys.platform == "linux":
        command.process.kill()
        until(lambda: not command.left(), lambda: f"still there: {command.left()}")


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run infra/cluster.py where it does not start."""
    command = [sys.executable, str(ROOT / "infra/cluster.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)


def test_clu3_a_program_that_ends_at_once_stops_the_start(tmp_path: Path) -> None:
    raffia = tmp_path / "raffia"
    raffia.write_text("#!/bin/sh\necho the reason é 😀\nexit 3\n")
    raffia.chmod(0o755)
    done = run("--port=0", f"--data={tmp_path / 'data'}", f"--raffia={raffia}")
    assert (done.returncode, done.stdout) == (1, "")
    log = tmp_path / "data/logs/replica1.log"
    assert f"cluster: replica1 ended with status 3; the end of {log}:\n  | the reason é 😀\n" in done.stderr


def test_clu5_what_is_missing_or_taken_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        pytest.raises(ClusterError, match="choose another with --port"),
    ):
        Cluster(tmp_path, taken.getsockname()[1], RAFFIA)
    with pytest.raises(ClusterError, match="run `make setup`"):
        Cluster(tmp_path, 0, tmp_path / "raffia")
    done = run("--port=0", f"--data={tmp_path}", f"--raffia={tmp_path / 'raffia'}")
    assert (done.returncode, done.stderr) == (2, f"cluster: {tmp_path / 'raffia'} is missing; run `make setup`\n")
    monkeypatch.setattr(module.shutil, "which", lambda *_, **__: None)
    with pytest.raises(ClusterError, match=r"^haproxy is missing; install it .*apt-get install haproxy"):
        find_program("haproxy", "haproxy")
    with pytest.raises(ClusterError, match="redis-server is missing"):
        Cluster(tmp_path, 0, RAFFIA)


@pytest.mark.parametrize("count", [1, 3, 5])
def test_the_configuration_takes_any_number_of_replicas(count: int, tmp_path: Path) -> None:
    made = with_replicas(CONFIG.read_text(), [f"127.0.0.1:{9000 + number}" for number in range(1, count + 1)])
    assert len(re.findall(r"^    server replica", made, re.MULTILINE)) == 3 * count
    assert "REPLICA_1-" not in made
    if count == 3:
        plain = re.sub(r'"\$\{REPLICA_\d-127.0.0.1:8(\d+)\}"', r"127.0.0.1:9\1", CONFIG.read_text())
        assert made == plain, "for three it is the file itself"
    config = tmp_path / "haproxy.cfg"
    config.write_text(made)
    check = [find_program("haproxy", "haproxy"), "-c", "-f", str(config)]
    done = subprocess.run(check, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
