"""Documents to load into servers, as Yjs updates in files under .bench/, made once.

The real one is the trace `automerge-paper` (public, github.com/josephg/editing-traces), found as tests/traces.py says.
Without it a synthetic document of the same size stands in, and the report says so.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.traces import trace_path

from tools.bench.frames import ROOT as TEXT_NAME
from tools.bench.frames import buffer, client_id, varuint
from tools.bench.servers import BENCH, PEERS, Y_WEBSOCKET, UnavailableError

TRACE = "automerge-paper"
STAND_IN_BYTES = 311_041  # what Yjs makes of the trace
CHUNK_BYTES = 4 << 20  # every server takes updates of this size
SENTENCE = "Zwölf Boxkämpfer 🥊 jagen Viktor quer über."


@dataclass(frozen=True, slots=True)
class Document:
    """A document's updates, in causal order, and what it is."""

    title: str
    files: tuple[Path, ...]

    @property
    def arguments(self) -> list[str]:
        """The arguments for the load generator."""
        return [part for path in self.files for part in ("--file", str(path))]


def paper() -> Document:
    """The automerge-paper document, replayed by Yjs, or its stand-in."""
    try:
        trace = trace_path(TRACE)
    except FileNotFoundError:
        return Document(f"a synthetic document of {STAND_IN_BYTES // 1024} KB", synthetic(STAND_IN_BYTES).files)
    out = BENCH / "documents" / f"{TRACE}.update"
    if not out.exists():
        out.parent.mkdir(parents=True, exist_ok=True)
        Y_WEBSOCKET.install()
        script, part = PEERS / "y-websocket" / "replay.cjs", out.with_suffix(".part")
        command = ["node", str(script), str(trace), str(part)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise UnavailableError(f"replaying the trace: {done.stderr.strip()[-400:]}")
        part.rename(out)
    return Document(f"the {TRACE} document ({out.stat().st_size / 1024:.0f} KB)", (out,))


def synthetic(size_bytes: int) -> Document:
    """A text of about this many bytes, written by two people in turns, so that no runs can be joined."""
    folder = BENCH / "documents"
    folder.mkdir(parents=True, exist_ok=True)
    count = max(1, -(-size_bytes // CHUNK_BYTES))
    files = tuple(folder / f"synthetic-{size_bytes}-{part}.update" for part in range(count))
    if not all(path.exists() for path in files):
        author = _Pair()
        for path in files:
            path.write_bytes(author.update(size_bytes // count))
    return Document(f"a synthetic document of {size_bytes / 1024:.0f} KB", files)


class _Pair:
    """Two people who append sentences in turn; each sentence begins right of the other's last one."""

    def __init__(self) -> None:
        self._clients = [client_id(1), client_id(2)]
        self._clocks = [0, 0]
        self._turn = 0

    def update(self, size_bytes: int) -> bytes:
        """The next update of about this size."""
        content, length = buffer(SENTENCE.encode()), len(SENTENCE.encode("utf-16-le")) // 2
        starts = list(self._clocks)
        structs: list[list[bytes]] = [[], []]
        size = 0
        while size < size_bytes:
            me, other = self._turn, 1 - self._turn
            if self._clocks == [0, 0]:
                struct = b"\x04\x01" + buffer(TEXT_NAME) + content
            else:
                origin = varuint(self._clients[other]) + varuint(self._clocks[other] - 1)
                struct = b"\x84" + origin + content
            structs[me].append(struct)
            self._clocks[me] += length
            self._turn = other
            size += len(struct)
        sections = []
        for who in sorted((0, 1), key=lambda index: -self._clients[index]):
            if structs[who]:
                head = varuint(len(structs[who])) + varuint(self._clients[who]) + varuint(starts[who])
                sections.append(head + b"".join(structs[who]))
        return varuint(len(sections)) + b"".join(sections) + b"\x00"
