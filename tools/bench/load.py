"""Load generator: `python -m tools.bench.load --url ws://127.0.0.1:8000/sync --pid PID`; prints one line of JSON.

It runs in its own process, so that it can be pinned to another core than the server.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop

from tools.bench.client import Target
from tools.bench.crowding import crowd, cycle, stream
from tools.bench.editing import edit
from tools.bench.opening import idle, join, storm
from tools.bench.work import DOCUMENT, Figures, Kind, Work

KINDS: dict[Kind, Callable[[Work], Awaitable[Figures]]] = {
    "type": edit,
    "point": edit,
    "idle": idle,
    "join": join,
    "storm": storm,
    "crowd": crowd,
    "cycle": cycle,
    "stream": stream,
}


def read_arguments(arguments: list[str]) -> Work:
    """Parse a command line into work."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.load", description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--pid", type=int, required=True, help="process of the server")
    parser.add_argument("--dialect", choices=["yws", "hp"], default="yws")
    parser.add_argument("--access-token", default="")
    parser.add_argument("--source", action="append", default=[], help="local address to connect from; repeat")
    parser.add_argument("--kind", choices=list(KINDS), default="type")
    parser.add_argument("-n", "--clients", type=int, default=100)
    parser.add_argument("-w", "--writers", type=int, default=10)
    parser.add_argument("-r", "--rate", type=float, default=10.0, help="updates a second of each writer")
    parser.add_argument("-t", "--seconds", type=float, default=8.0)
    parser.add_argument("--document", default=DOCUMENT, help="name of the document")
    parser.add_argument("--rooms", type=int, default=1)
    parser.add_argument("--samples", type=int, default=10, help="receivers that look for tokens")
    parser.add_argument("--file", type=Path, action="append", default=[], help="update put into the document; repeat")
    parser.add_argument("--window", type=int, default=64, help="updates in flight (stream)")
    parser.add_argument(
        "--checkpoint", type=int, action="append", default=[], help="number of updates (stream); repeat"
    )
    parser.add_argument("--metrics-url", default="", help="Prometheus metrics of the server (cycle)")
    given = parser.parse_args(arguments)
    if given.kind in ("type", "point") and given.rooms != 1:
        parser.error(f"{given.kind} works on one room; {given.rooms} were asked for")
    return Work(
        kind=given.kind,
        target=Target(given.url, given.dialect, given.access_token, tuple(given.source)),
        pid=given.pid,
        clients=given.clients,
        writers=given.writers,
        name=given.document,
        rooms=given.rooms,
        rate=given.rate,
        seconds=given.seconds,
        samples=given.samples,
        files=tuple(given.file),
        window=given.window,
        checkpoints=tuple(given.checkpoint),
        metrics_url=given.metrics_url,
    )


async def run(work: Work) -> Figures:
    """Do the work and return its figures."""
    return await KINDS[work.kind](work)


def main() -> None:
    """Run from the command line."""
    print(json.dumps(uvloop.run(run(read_arguments(sys.argv[1:])))))


if __name__ == "__main__":
    main()
