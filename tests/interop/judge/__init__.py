"""Yjs in Node as the judge: what does Yjs see in these bytes?

`YjsJudge` keeps one Node process and asks it one question at a time. The package is installed from its lock file on
first use; a test that needs the judge fails, loudly, where Node or the package is missing.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

FOLDER = Path(__file__).parent
INSTALL_TIMEOUT_S = 180


class JudgeError(AssertionError):
    """The judge could not be asked, or Yjs threw."""


@dataclass(frozen=True, slots=True)
class Description:
    """What a fresh Y.Doc shows after loading updates.

    Attributes:
        content: root name -> {"sequence": [...], "map": {...}}, nested types the same; empty roots left out. Adjacent
            texts are joined; formats stand in the sequence.
        state_vector: client id -> next clock.
        deletes: client id -> [(start, end), ...], end exclusive, of all deleted structs that Yjs knows.
        structs: how many structs Yjs keeps.
        pending: whether Yjs waits for something that is missing.
    """

    content: dict[str, Any]
    state_vector: dict[int, int]
    deletes: dict[int, list[tuple[int, int]]]
    structs: int
    pending: bool

    def text(self, root: str = "text") -> str:
        """The characters of one root, embeds and formats left out."""
        sequence = self.content.get(root, {"sequence": []})["sequence"]
        return "".join(entry.get("text", "") for entry in sequence)

    def same(self, other: Description) -> bool:
        """Equal content, state vector and deletes (structs may be cut differently)."""
        return self.key() == other.key()

    def key(self) -> tuple[object, ...]:
        """What `same` compares, to be shown by an assertion."""
        return self.content, self.state_vector, self.deletes, self.pending


@dataclass(frozen=True, slots=True)
class Session:
    """A random editing session of several clients.

    Attributes:
        clients: client ids.
        log: (index of the client, update) in order of creation.
        arrivals: indexes into `log` in the order in which a server would see them: an offline client's come late.
        deliveries: (index of the receiving client, index into `log`), in order.
        states: each client's whole state at the end, when everybody has heard everything.
    """

    clients: list[int]
    log: list[tuple[int, bytes]]
    arrivals: list[int]
    deliveries: list[tuple[int, int]]
    states: list[bytes]

    @property
    def updates(self) -> list[bytes]:
        """All updates in the order of arrival."""
        return [self.log[index][1] for index in self.arrivals]


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _description(answer: dict[str, Any]) -> Description:
    return Description(
        content=answer["content"],
        state_vector={int(client): clock for client, clock in answer["sv"].items()},
        deletes={int(client): [(start, end) for start, end in ranges] for client, ranges in answer["ds"].items()},
        structs=answer["structs"],
        pending=answer["pending"],
    )


def install() -> str:
    """Install the judge's package from its lock file if it is not there yet; returns the path of `node`."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise JudgeError("Node with npm is needed: Yjs judges what Raffia does with updates")
    # Test processes start at the same time; one installs, the others wait.
    with (FOLDER / ".install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = FOLDER / "node_modules" / ".package-lock.json"
        if not stamp.exists() or stamp.stat().st_mtime < (FOLDER / "package-lock.json").stat().st_mtime:
            done = subprocess.run(
                [npm, "ci", "--no-audit", "--no-fund"],
                cwd=FOLDER,
                capture_output=True,
                text=True,
                timeout=INSTALL_TIMEOUT_S,
                check=False,
            )
            if done.returncode:
                raise JudgeError(f"npm ci in {FOLDER} failed: {done.stderr[-2000:]}")
            os.utime(stamp)
    return node


class YjsJudge:
    """A Node process with Yjs. Use as a context manager; not for several threads at once."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def __enter__(self) -> YjsJudge:
        self._process = subprocess.Popen(
            [install(), "--max-old-space-size=2048", "judge.mjs"],
            cwd=FOLDER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.communicate(timeout=10)  # closes stdin: the judge ends

    def ask(self, op: str, **arguments: object) -> dict[str, Any]:
        """Ask one question in the judge's own words.

        Raises:
            JudgeError: Yjs threw; holds its stack.
        """
        process = self._process
        assert process is not None, "use the judge as a context manager"
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps({"op": op, **arguments}) + "\n")
        process.stdin.flush()
        line = process.stdout.readline()
        if not line:
            raise JudgeError(f"the judge ended with {process.wait(timeout=10)} at {op!r}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise JudgeError(f"{op}: {answer['error']}")
        return answer

    def describe(self, *updates: bytes, gc: bool = True) -> Description:
        """Load updates, in this order, into a fresh Y.Doc and say what it shows."""
        return _description(self.ask("describe", updates=[_text(update) for update in updates], gc=gc))

    def state(self, *updates: bytes, gc: bool = True) -> bytes:
        """What Yjs itself would keep: load into a fresh Y.Doc and encode its state."""
        answer = self.ask("state", updates=[_text(update) for update in updates], gc=gc)
        return base64.b64decode(answer["update"])

    def merge(self, updates: Iterable[bytes]) -> bytes:
        """`Y.mergeUpdates`."""
        return base64.b64decode(self.ask("merge", updates=[_text(update) for update in updates])["update"])

    def diff(self, update: bytes, state_vector: bytes) -> bytes:
        """`Y.diffUpdate`."""
        return base64.b64decode(self.ask("diff", update=_text(update), sv=_text(state_vector))["update"])

    def session(
        self,
        seed: int,
        *,
        clients: int = 3,
        steps: int = 120,
        kinds: Sequence[str] | None = None,
        surrogates: bool = True,
        undo: bool = True,
        offline: bool = True,
        gc: bool = True,
        ids: Sequence[int] | None = None,
    ) -> Session:
        """A random session, the same for the same arguments.

        Args:
            seed: of every random choice.
            clients: how many edit.
            steps: edits of all of them together.
            kinds: of "text", "array", "map", "xml", "nested", "undo"; None for all.
            surrogates: whether edits split surrogate pairs.
            undo: whether clients use an UndoManager.
            offline: whether one client goes offline for good somewhere and sends its edits at the end.
            gc: whether the clients forget deleted content.
            ids: their client ids; None for random ones of 32 bits.
        """
        options: dict[str, object] = {"seed": seed, "clients": clients, "steps": steps, "surrogates": surrogates}
        options |= {"undo": undo, "offline": offline, "gc": gc}
        if kinds is not None:
            options["kinds"] = list(kinds)
        if ids is not None:
            options["ids"] = list(ids)
        answer = self.ask("session", **options)
        return Session(
            clients=answer["clients"],
            log=[(index, base64.b64decode(update)) for index, update in answer["log"]],
            arrivals=answer["arrivals"],
            deliveries=[(to, index) for to, index in answer["deliveries"]],
            states=[base64.b64decode(state) for state in answer["states"]],
        )

    def edit_on(
        self, *updates: bytes, seed: int, client: int, steps: int = 30, surrogates: bool = True, gc: bool = True
    ) -> tuple[list[bytes], Description]:
        """Load updates, then edit on as `client`; returns its new updates and what it shows in the end."""
        loaded = [_text(update) for update in updates]
        answer = self.ask(
            "continue", updates=loaded, seed=seed, client=client, steps=steps, surrogates=surrogates, gc=gc
        )
        return [base64.b64decode(update) for update in answer["updates"]], _description(answer)

    def trace(self, path: Path, *, limit: int | None = None, client: int = 1) -> tuple[list[tuple[int, bytes]], str]:
        """Replay a recorded trace into the root "text"; the first agent is `client`, the second the one after it.

        Returns:
            (client id, update) in an order that respects causality, and the trace's final text.
        """
        answer = self.ask("trace", path=str(path), limit=limit, client=client)
        return [(author, base64.b64decode(update)) for author, update in answer["updates"]], answer["endContent"]

    def blocks(self, count: int, *, client: int) -> list[bytes]:
        """The updates of one client that creates, fills and deletes `count` blocks in the root "xml"."""
        return [base64.b64decode(update) for update in self.ask("blocks", count=count, client=client)["updates"]]

    def replace(self, text: str, word: str, *, client: int) -> list[bytes]:
        """The updates of one client that types `text` into the root "text", and deletes `word` again."""
        answer = self.ask("replace", text=text, word=word, client=client)
        return [base64.b64decode(update) for update in answer["updates"]]
