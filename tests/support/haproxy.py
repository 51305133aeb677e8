"""A real HAProxy with infra/haproxy.cfg in front of any number of replicas.

Rules:
    SUH1  Only the process that this object started gets signals, by pid; leaving the `with` ends it.
    SUH2  It runs infra/haproxy.cfg itself; variables set other addresses and shorter times.
"""

from __future__ import annotations

import csv
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from infra.cluster import find_program

from tests.support.ports import free_port
from tests.support.redis import wait_until
from tests.support.server import ROOT

CONFIG = ROOT / "infra/haproxy.cfg"
STOP_S = 10.0
CHECK_MS = 100


def with_replicas(config: str, addresses: Sequence[str]) -> str:
    """haproxy.cfg for any number of replicas: in each backend, the line of replica 1 once per address."""

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


class Haproxy:
    """One HAProxy process, as a context manager.

    Args:
        folder: for its configuration and its log.
        replicas: `address:port` of each replica.
        env: variables of infra/haproxy.cfg, such as `LB_HASH_DOCUMENTS`.
        port: the public port; a free one if not given.
    """

    def __init__(
        self, folder: Path, replicas: Sequence[str], *, env: Mapping[str, str] | None = None, port: int | None = None
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.port = port or free_port()
        self.stats_port = free_port()
        self.env = {
            "LB_BIND": f"127.0.0.1:{self.port}",
            "LB_STATS_BIND": f"127.0.0.1:{self.stats_port}",
            "LB_CHECK_MS": str(CHECK_MS),
            "LB_MAXCONN": "2000",
            **(env or {}),
        }
        self.config = folder / "haproxy.cfg"
        self.config.write_text(with_replicas(CONFIG.read_text(), replicas))
        self.log_path = folder / "haproxy.txt"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def http(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def ws(self) -> str:
        return f"ws://127.0.0.1:{self.port}/sync"

    @property
    def pid(self) -> int:
        assert self._process is not None, "HAProxy is not running"
        return self._process.pid

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self) -> Self:
        """Start it and wait until it answers."""
        assert not self.running, "it is running already"
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [find_program("haproxy", "haproxy"), "-db", "-f", str(self.config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.env},
            )
        wait_until(self._answers, lambda: f"HAProxy answers\n{self.log()}")
        return self

    def _answers(self) -> bool:
        assert self.running, f"HAProxy ended at once:\n{self.log()}"
        try:
            self.states()
        except (OSError, urllib.error.URLError):
            return False
        return True

    def stop(self) -> None:
        """Send SIGTERM; it cuts its connections at once."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(number)
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # -- inspection

    def log(self, lines: int = 60) -> str:
        """The end of its output."""
        text = self.log_path.read_text(errors="replace") if self.log_path.exists() else ""
        return "\n".join(text.splitlines()[-lines:])

    def table(self) -> list[dict[str, str]]:
        """Its statistics: one row per frontend, server and backend."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stats_port}/;csv", timeout=5) as answer:
            return list(csv.DictReader(answer.read().decode().removeprefix("# ").splitlines()))

    def states(self, backend: str = "raffia") -> dict[str, str]:
        """The state of each replica: `replica1` -> `UP`, `DOWN` or in between (`UP 1/2`)."""
        return {row["svname"]: row["status"] for row in self.table() if self._is_server(row, backend)}

    def sessions(self, backend: str = "raffia") -> dict[str, int]:
        """How many connections each replica has had through this backend."""
        return {row["svname"]: int(row["stot"]) for row in self.table() if self._is_server(row, backend)}

    def open_now(self) -> int:
        """How many connections to replicas are open, in all backends."""
        return sum(int(row["scur"]) for row in self.table() if row["svname"].startswith("replica"))

    @staticmethod
    def _is_server(row: Mapping[str, str], backend: str) -> bool:
        return row["pxname"] == backend and row["svname"] not in {"FRONTEND", "BACKEND"}

    def metrics(self) -> str:
        """Its Prometheus metrics."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.stats_port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())
