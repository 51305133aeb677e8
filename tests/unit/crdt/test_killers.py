"""Every row of `tests/vectors/killers.json`: what breaks the CRDT library is refused by name, or kept exactly."""

from __future__ import annotations

import json
import resource
import time
from pathlib import Path
from typing import Any

import pytest

from raffia.crdt.update import read_state_vector, read_update
from raffia.errors import MalformedError
from raffia.rooms.presence.table import PresenceTable
from raffia.wire import hocuspocus, ywebsocket
from raffia.wire.messages import Awareness, Message, Step1, Update

ROWS: list[dict[str, Any]] = json.loads((Path(__file__).parents[2] / "vectors" / "killers.json").read_text())["rows"]


def content_of(parts: list[list[Any]]) -> bytes:
    return b"".join(bytes.fromhex(piece) * count for piece, count in parts)


def inputs(row: dict[str, Any]) -> list[bytes]:
    if row["given"] == "updates":
        return [bytes.fromhex(piece) for piece in row["sequence"]]
    return [content_of(row["bytes"])]


def read(given: str, content: bytes) -> None:
    if given == "state_vector":
        read_state_vector(content)
    elif given == "awareness":
        PresenceTable().apply(content, "session", 0.0)
    else:
        read_update(content)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param(
            row,
            id=row["name"],
            marks=pytest.mark.xfail(strict=True, reason="not refused yet") if "open" in row else (),
        )
        for row in ROWS
    ],
)
def test_killers_are_refused_by_name_or_accepted(row: dict[str, Any]) -> None:
    started_s, before_kb = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for content in inputs(row):
        if row["expected"] == "refused":
            with pytest.raises(MalformedError) as refused:
                read(row["given"], content)
            assert type(refused.value).__name__ == row["error"]
        else:
            read(row["given"], content)
    assert time.process_time() - started_s < 0.2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 20_000


@pytest.mark.parametrize("row", ROWS, ids=[row["name"] for row in ROWS])
def test_killers_pass_both_dialects_unchanged(row: dict[str, Any]) -> None:
    message: Message
    for content in inputs(row):
        if row["given"] == "state_vector":
            message, frames = Step1(content), (ywebsocket.step1(content), hocuspocus.step1("é", content))
        elif row["given"] == "awareness":
            message, frames = Awareness(content), (ywebsocket.awareness(content), hocuspocus.awareness("é", content))
        else:
            message, frames = Update(content), (ywebsocket.update(content), hocuspocus.update("é", content))
        assert ywebsocket.decode(frames[0]) == message
        assert hocuspocus.decode(frames[1]) == ("é", message)
