"""Valid inputs for the mutators: updates, state vectors, presence payloads and frames as real clients send them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pycrdt

from raffia.wire import awareness, hocuspocus, lib0, ywebsocket

WORDS = ("raffia", "é", "😀", "naïve café", "a😀b", "\n", "🧑‍🚀")
ADDRESSES = ("d", "café/😀", "d\0s1", "notes/2024")
STATES: tuple[dict[str, Any] | None, ...] = (
    {},
    None,
    {"user": {"name": "Zoë 😀", "color": "#ff8800"}},
    {"user": {"name": "Bob"}, "cursor": {"anchor": {"type": None, "item": {"client": 7, "clock": 3}}, "head": 4}},
    {"pointer": {"x": 12.5, "y": -3.25}, "selectedElementIds": {"é": True}, "button": "down"},
    {"points": [[x, x * 0.5] for x in range(40)]},
)
# Recorded from published clients, and the shapes that no Python library writes: GC, Skip, every kind of value.
RECORDED_UPDATES = tuple(
    bytes.fromhex(text)
    for text in (
        "0000",
        "01010105c401020100016100",
        "010101000401017402616200",
        "0101010384010102616200",
        "01010102440100016100",
        "000101010101",
        "01010100040101610361626300",
        "0101070000ffffffff0700",
        "010201000401016101610a0500",
        "01010100080101610c7f7e79787d417c3f8000007b3ff00000000000007a0000000000000001"
        "7703c3a96176010161760075027f7e7402000100",
        "010101002801016101780175027f7e00",
    )
)


@dataclass(frozen=True)
class Corpus:
    """All valid inputs; each list holds bytes that the code under test accepts."""

    updates: list[bytes]
    state_vectors: list[bytes]
    payloads: list[bytes]
    ywebsocket: list[bytes]
    hocuspocus: list[bytes]
    numbers: list[bytes]


def _edit(rng: random.Random, doc: pycrdt.Doc[Any]) -> None:
    kind = rng.randrange(6)
    if kind < 3:
        text = doc.get("text", type=pycrdt.Text)
        size = len(str(text).encode())
        if kind == 2 and size > 4:
            text.clear()
        elif kind == 1 and size:
            text.insert(0, rng.choice(WORDS), {"bold": True})
        else:
            text.insert(size, rng.choice(WORDS))
    elif kind == 3:
        items = doc.get("map", type=pycrdt.Map)
        items[rng.choice(WORDS)] = rng.choice(
            [
                1,
                2.5,
                None,
                True,
                "é😀",
                [1, "x", None],
                {"a": {"b": [1]}},
                pycrdt.Text("nested é"),
                pycrdt.Array([1, "é"]),
            ]
        )
    elif kind == 4:
        array = doc.get("array", type=pycrdt.Array)
        if len(array) > 3:
            del array[rng.randrange(len(array))]
        else:
            array.insert(0, rng.choice([1, "é", b"\x00\xff", {"k": 1}]))
    else:
        fragment = doc.get("xml", type=pycrdt.XmlFragment)
        if len(fragment.children) > 2:
            del fragment.children[0]
        else:
            element = fragment.children.append(pycrdt.XmlElement("paragraph"))
            element.attributes["id"] = rng.choice(WORDS)
            element.children.append(pycrdt.XmlText(rng.choice(WORDS)))


def _sessions(rng: random.Random) -> tuple[list[bytes], list[bytes]]:
    """Two clients that edit and exchange everything, several times."""
    updates: list[bytes] = []
    vectors: list[bytes] = [b"\x00"]
    for clients in ((1, 2), (4_000_000_000, 7), (2**32 - 1, 300)):
        docs: list[pycrdt.Doc[Any]] = [pycrdt.Doc(client_id=client) for client in clients]
        for _ in range(12):
            for doc in docs:
                before = doc.get_state()
                _edit(rng, doc)
                updates.append(doc.get_update(before))
            if rng.random() < 0.5:
                for one, other in (docs, docs[::-1]):
                    one.apply_update(other.get_update(one.get_state()))
            vectors.append(docs[0].get_state())
        updates += [doc.get_update() for doc in docs]
    return updates, vectors


def killers() -> list[bytes]:
    """The rows of `tests/vectors/killers.json` that are short enough to be mutated."""
    rows = json.loads((Path(__file__).parents[2] / "tests" / "vectors" / "killers.json").read_text())["rows"]
    found = [
        b"".join(bytes.fromhex(piece) * count for piece, count in row["bytes"])
        for row in rows
        if "bytes" in row and "open" not in row
    ]
    return [content for content in found if len(content) < 1000]


def build(seed: int) -> Corpus:
    """Build the corpus of one seed."""
    rng = random.Random(seed)
    updates, vectors = _sessions(rng)
    updates += RECORDED_UPDATES
    updates = [update for update in updates if len(update) < 4000]
    payloads = [b"\x00"]
    for _ in range(40):
        entries = [
            awareness.write_entry(
                rng.choice((1, 2, 7, 300, 4_000_000_000)),
                rng.choice((0, 1, 2, 100, rng.randrange(1 << 20))),
                None if state is None else json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode(),
            )
            for state in rng.choices(STATES, k=rng.choice((1, 1, 1, 2, 5)))
        ]
        payloads.append(lib0.write_varuint(len(entries)) + b"".join(entries))
    frames = [ywebsocket.update(update) for update in updates] + [ywebsocket.step2(update) for update in updates[::7]]
    frames += [ywebsocket.step1(vector) for vector in vectors] + [ywebsocket.awareness(payload) for payload in payloads]
    bodies = list(frames)
    frames += [b"\x03", ywebsocket.echo_status(b"\x01"), b"\x00", ywebsocket.update(updates[0]) + b"\x00"]
    bodies += [b"\x02\x00\x02tk\x055.0.0", b"\x02\x00\x00", b"\x03", b"\x05" + lib0.write_string("é😀"), b"\x07"]
    return Corpus(
        updates,
        vectors,
        payloads,
        frames,
        [hocuspocus.prefix(rng.choice(ADDRESSES)) + body for body in bodies] + [b"\x09", b"\x0a"],
        [lib0.write_varuint(1 << bit) + lib0.write_varint(-(1 << bit)) for bit in range(53)]
        + [lib0.write_string(word) for word in WORDS],
    )
