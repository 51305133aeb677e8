"""A real `raffia serve` process for tests, which can be stopped, killed and restarted on one port and data folder.

Rules:
    SUS1  Only the process that this object started gets signals, by pid; leaving the `with` ends it.
    SUS2  Ready means that `/readyz` answers 200, and that no other server answered there before.
        Each wait has a deadline, and a failure shows the process's log.
    SUS3  A restart keeps the port and the data folder, so that clients find the server again.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.ports import free_port

ROOT = Path(__file__).resolve().parents[2]
START_S = 30.0
STOP_S = 20.0


def raffia_command() -> list[str]:
    """The `raffia` command beside this interpreter, or another build of the server given by RAFFIA_TEST_COMMAND."""
    if other := os.environ.get("RAFFIA_TEST_COMMAND"):
        return other.split()
    command = Path(sys.executable).with_name("raffia")
    if not command.exists():
        raise RuntimeError(f"{command} does not exist; run `make setup`")
    return [str(command), "serve", "--host", "127.0.0.1", "--port", "{port}", "--data", "{data}"]


class RaffiaServer:
    """One server process, as a context manager.

    Args:
        data: the data folder; the log goes to its parent.
        env: additional environment variables, such as `RAFFIA_*` settings.
        command: arguments with `{port}` and `{data}` in them, instead of `raffia serve`.
        wrapper: arguments in front of the command (`strace -f ...`).
    """

    def __init__(
        self,
        data: Path,
        *,
        env: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
        wrapper: Sequence[str] = (),
    ) -> None:
        self.data = data
        self.port = free_port()
        self.env = dict(env or {})
        self.command = list(command) if command is not None else raffia_command()
        self.wrapper = list(wrapper)
        self.log_path = data.parent / f"{data.name}.server.txt"
        self._process: subprocess.Popen[bytes] | None = None

    # -- addresses

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        """The server URL for y-websocket clients."""
        return f"ws://127.0.0.1:{self.port}/sync"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    # -- life

    def start(self, deadline_s: float = START_S, *, ready: bool = True) -> Self:
        """Start the process and wait until it is ready (SUS2), unless that is not to be expected."""
        if self.running:
            raise RuntimeError(f"already running as pid {self.pid}")
        if self.ready():
            raise RuntimeError(f"another server answers on port {self.port}")
        self.data.parent.mkdir(parents=True, exist_ok=True)
        arguments = [part.replace("{port}", str(self.port)).replace("{data}", str(self.data)) for part in self.command]
        inherited = {key: value for key, value in os.environ.items() if not key.startswith("RAFFIA_")}
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.wrapper, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.data.parent,
                env={**inherited, "PYTHONUNBUFFERED": "1", "PORT": str(self.port), "HOST": "127.0.0.1", **self.env},
            )
        deadline = time.monotonic() + deadline_s
        while ready and not self.ready():
            if not self.running:
                raise RuntimeError(
                    f"the server ended with {self._process.returncode} before it was ready:\n{self.log()}"
                )
            if time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(f"the server was not ready within {deadline_s:.0f} s:\n{self.log()}")
            time.sleep(0.02)
        return self

    def ready(self) -> bool:
        """Whether `/readyz` answers 200 now."""
        try:
            with urllib.request.urlopen(f"{self.http}/readyz", timeout=2) as answer:
                return bool(answer.status == 200)
        except (OSError, urllib.error.URLError):
            return False

    def stop(self, deadline_s: float = STOP_S) -> int:
        """Send SIGTERM and wait; returns the exit code, and fails if the process does not end in time."""
        process = self._process
        if process is None:
            raise RuntimeError("the server is not running")
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            code = process.wait(deadline_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise RuntimeError(f"the server did not stop within {deadline_s:.0f} s of SIGTERM:\n{self.log()}") from None
        self._process = None
        return code

    def kill(self) -> None:
        """Send SIGKILL, like a crash; returns when the process has ended."""
        process, self._process = self._process, None
        if process is not None:
            if process.poll() is None:
                process.kill()
            process.wait(STOP_S)

    def signal(self, number: signal.Signals) -> None:
        """Send another signal, such as SIGSTOP, to the server alone (SUS1)."""
        os.kill(self.pid, number)

    def restart(self) -> Self:
        """Stop with SIGTERM and start again on the same port and folder (SUS3)."""
        self.stop()
        return self.start()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGCONT)  # a stopped process would not see SIGTERM
        if kind is None:
            self.stop()
        else:
            self.kill()

    # -- inspection

    def log(self, lines: int = 60) -> str:
        """The end of the process's output."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def metrics(self) -> dict[str, float]:
        """`/metrics`, as sample name with labels -> value."""
        with urllib.request.urlopen(f"{self.http}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        samples = (line.rpartition(" ") for line in text.splitlines() if line and not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    def metric(self, prefix: str) -> float:
        """The sum of all samples whose names start with `prefix`; fails if there is none."""
        found = [value for name, value in self.metrics().items() if name.startswith(prefix)]
        if not found:
            raise KeyError(f"/metrics has no sample {prefix}*")
        return sum(found)

    def rss_bytes(self) -> int:
        """The resident memory of the process."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
