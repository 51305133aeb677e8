"""strace shows that the disk has confirmed the sync before the first byte of the acknowledgement is sent.

For one edit, the system calls have to come in this order: the write of the edit to the journal's file, a completed
fsync or fdatasync of that file, the write of the acknowledgement to the writer's socket.
"""

from __future__ import annotations

import asyncio
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.faults.test_kill_server import broken
from tests.support.client import HocuspocusClient
from tests.support.lib0 import insert
from tests.support.server import RaffiaServer

pytestmark = pytest.mark.slow

ATTACH_S = 15.0
CALLS = "write,writev,pwrite64,pwritev,sendto,sendmsg,fsync,fdatasync"
TOKEN = "syncorder😀"
LINE = re.compile(r"(?P<pid>\d+)\s+(?P<rest>.*)")
START = re.compile(r"(?P<name>\w+)\((?P<fd>\d+)<(?P<path>[^>]*)>(?P<args>.*)")
RESUMED = re.compile(r"<\.\.\. (?P<name>\w+) resumed>(?P<args>.*)")


@dataclass
class Call:
    """One system call: its name, its file, and the lines of the log in which it began and ended."""

    name: str
    path: str
    args: str
    began: int
    ended: int


@contextmanager
def traced(pid: int, log: Path) -> Iterator[None]:
    """Run strace on all threads of a process while the block runs."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.fail("strace is not installed (Debian: apt-get install strace); this test is not skipped")
    said = log.with_suffix(".strace.txt")
    with said.open("wb") as errors:
        tracer = subprocess.Popen(
            [strace, "-f", "-y", "-xx", "-s", "4096", "-e", f"trace={CALLS}", "-o", str(log), "-p", str(pid)],
            stdout=subprocess.DEVNULL,
            stderr=errors,
        )
    try:
        deadline = time.monotonic() + ATTACH_S
        threads = len(list(Path(f"/proc/{pid}/task").iterdir()))
        while len(re.findall(r"attached", said.read_text())) < 1 or _traced_threads(pid) < threads:
            if tracer.poll() is not None or time.monotonic() > deadline:
                pytest.fail(f"strace could not attach: {said.read_text()}")
            time.sleep(0.02)
        yield
    finally:
        if tracer.poll() is None:
            tracer.send_signal(signal.SIGINT)  # detaches; the server goes on
        tracer.wait(10)


def _traced_threads(pid: int) -> int:
    tracers = [(task / "status").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    return sum("TracerPid:\t0\n" not in status for status in tracers)


def calls_of(log: Path) -> list[Call]:
    """The calls in a strace log; unfinished ones are joined with their end."""
    calls: list[Call] = []
    open_calls: dict[str, Call] = {}
    for number, line in enumerate(log.read_text().splitlines()):
        found = LINE.match(line)
        if found is None:
            continue
        pid, rest = found["pid"], found["rest"]
        if (start := START.match(rest)) is not None:
            call = Call(start["name"], unhex(start["path"]), start["args"], number, number)
            if "<unfinished ...>" in rest:
                open_calls[pid] = call
            else:
                calls.append(call)
        elif (resumed := RESUMED.match(rest)) is not None and pid in open_calls:
            call = open_calls.pop(pid)
            call.args += resumed["args"]
            call.ended = number
            calls.append(call)
    return calls


def unhex(path: str) -> str:
    return re.sub(r"\\x([0-9a-f]{2})", lambda found: chr(int(found[1], 16)), path)


def hexed(data: bytes) -> str:
    """Bytes as strace -xx prints them."""
    return "".join(f"\\x{byte:02x}" for byte in data)


async def trace_one_edit(server: RaffiaServer, log: Path) -> tuple[int, int, int]:
    """The lines at which the edit was written, synced, and its acknowledgement begun; -1 means never."""
    document = "order"
    writer = await HocuspocusClient(document).join(server.ws)
    await writer.settle()
    with traced(server.pid, log):
        writer.update(insert(1, 0, TOKEN))
        await writer.until_stored()
        await asyncio.sleep(0.3)  # so that the log includes the write of a build that writes later
    await writer.close()
    calls = calls_of(log)
    stored = hexed(writer.prefix + b"\x08\x01")
    to_disk = ("write", "pwrite64", "pwritev", "writev")
    data = str(server.data)
    written = [
        call for call in calls if call.name in to_disk and data in call.path and hexed(TOKEN.encode()) in call.args
    ]
    acknowledged = [call for call in calls if stored in call.args and data not in call.path]
    synced = [
        call
        for call in calls
        if call.name in ("fsync", "fdatasync")
        and call.args.rstrip().endswith("= 0")
        and written
        and call.path == written[0].path
        and call.began > written[0].ended
    ]
    assert acknowledged, f"no acknowledgement in the log of {len(calls)} calls"
    return (
        written[0].ended if written else -1,
        synced[0].ended if synced else -1,
        acknowledged[0].began,
    )


async def test_the_sync_comes_before_the_acknowledgement(tmp_path: Path) -> None:
    with RaffiaServer(tmp_path / "data") as server:
        written, synced, acknowledged = await trace_one_edit(server, tmp_path / "trace")
    print(f"strace: written in line {written}, synced in {synced}, acknowledged in {acknowledged}")
    assert 0 <= written < synced < acknowledged


async def test_the_order_is_wrong_in_a_build_that_acknowledges_too_early(tmp_path: Path) -> None:
    with broken(tmp_path / "data", "eager") as server:
        written, synced, acknowledged = await trace_one_edit(server, tmp_path / "trace")
    print(f"broken build: acknowledged in line {acknowledged}, written in {written}, synced in {synced}")
    assert not 0 <= written < synced < acknowledged
