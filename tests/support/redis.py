"""Real Redis servers for tests: one, a primary with sentinels, a cluster.

Rules:
    V1  Only processes that these objects started are signalled, by their pid; leaving the `with` ends them all, also
        those that were paused.
    V2  Ready is asked for by polling with a deadline; a failure shows the server's log.
    V3  A restart keeps port and folder. Every server has a folder and free loopback ports of its own.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hiredis

from tests.support.server import free_port

START_S = 15.0
POLL_S = 0.01


def wait_until(condition: Callable[[], bool], what: Callable[[], str] | str, deadline_s: float = START_S) -> None:
    """Poll until `condition` holds (V2)."""
    deadline = time.monotonic() + deadline_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {deadline_s:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(POLL_S)


class RedisServer:
    """One `redis-server` process, as a context manager.

    Args:
        folder: where it keeps its files; a temporary one when not given.
        port: to listen on; a free one when not given.
        options: of redis.conf, underscores for dashes: `appendonly="yes"`, `appendfsync="always"`.
    """

    binary = "redis-server"
    arguments: tuple[str, ...] = ()

    def __init__(self, folder: Path | None = None, *, port: int | None = None, **options: str | int) -> None:
        self._temporary = tempfile.TemporaryDirectory(prefix="weft-redis-") if folder is None else None
        self.folder = Path(self._temporary.name) if self._temporary else folder or Path()
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = port or free_port()
        self.options: dict[str, str | int] = {"save": "", "appendonly": "no", **options}
        self._process: subprocess.Popen[bytes] | None = None
        self._paused = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

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
        """Start it, and wait until it answers (V2)."""
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
            wait_until(self._answers, lambda: f"{self.binary} answers on port {self.port}\n{self.log}")
        return self

    def _command(self) -> list[str]:
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        for name, value in self.options.items():
            arguments += [f"--{name.replace('_', '-')}", str(value)]
        return arguments

    def _answers(self) -> bool:
        if not self.running:
            raise AssertionError(f"{self.binary} ended at once:\n{self.log}")
        try:
            answer = self.command("PING")
        except (OSError, EOFError):
            return False
        return answer == b"PONG" or "NOAUTH" in str(answer)

    def command(self, *args: str | bytes | int, timeout_s: float = 5.0) -> Any:
        """Ask it something on a connection of its own; an error is returned, not raised."""
        return self.commands([args], timeout_s=timeout_s)[-1]

    def commands(self, commands: list[tuple[str | bytes | int, ...]], *, timeout_s: float = 5.0) -> list[Any]:
        """Several on one connection; `requirepass` is sent first."""
        if password := self.options.get("requirepass"):
            commands = [("AUTH", str(password)), *commands]
        reader = hiredis.Reader()
        replies: list[Any] = []
        with socket.create_connection(("127.0.0.1", self.port), timeout=timeout_s) as sock:
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
        lines = self.command("INFO", section).decode().splitlines()
        return dict(line.split(":", 1) for line in lines if ":" in line)

    def pause(self) -> None:
        """SIGSTOP: it holds its connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)
        self._paused = True

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)
        self._paused = False

    def kill(self) -> None:
        """`kill -9`, and wait until it is gone."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """SIGTERM, and wait until it is gone; a paused one goes on first."""
        self._end(signal.SIGTERM)

    def restart(self) -> None:
        """Start again on the same folder and port (V3)."""
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
        return self.start()

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
