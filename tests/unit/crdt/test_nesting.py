"""How deep JSON nests (NE1, NE2 of `nesting`)."""

from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from raffia.crdt.nesting import nests_deeper


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(depth, inner), default=0)


def value(rnd: random.Random, levels: int) -> Any:
    kind = rnd.randrange(4) if levels else 0
    if kind == 0:
        return rnd.choice(["é[{", '"]"', "\\", '😀\\"[', 1.5, None])
    inner = [value(rnd, levels - 1) for _ in range(rnd.randrange(4))]
    return inner if kind < 3 else {f"{at}[{{": one for at, one in enumerate(inner)}


@pytest.mark.parametrize("seed", range(20))
def test_ne2_like_a_parser(seed: int) -> None:
    rnd = random.Random(seed)
    for _ in range(20):
        made = value(rnd, 6)
        for text in (json.dumps(made), json.dumps(made, ensure_ascii=False, indent=1)):
            for limit in range(8):
                assert nests_deeper(text.encode(), limit) == (depth(made) > limit)


@pytest.mark.parametrize(
    ("text", "deep"),
    [
        (b"[" * 64, False),
        (b"[" * 65, True),
        (b"]" * 100 + b"[" * 65, False),  # the parser refuses it at its first byte
        (b'"' + b"[" * 100, False),
        (b"[" * 64 + b'"[\\', False),
        (b'{"a":' * 65, True),
    ],
)
def test_ne2_what_is_no_json(text: bytes, deep: bool) -> None:
    assert nests_deeper(text, 64) is deep


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"[" * 65 + b'"' + b'\\"' * 500_000, id="quotes-in-a-text-without-end"),
        pytest.param(b"[" * 65 + b'"' + b"\\" * 1_000_000, id="backslashes"),
        pytest.param(b"[" * 65 + b'"\\' * 500_000, id="texts-that-begin"),
        pytest.param(b"[" * 500_000 + b"]" * 500_000, id="brackets"),
        pytest.param(b"[" * 65 + b'""' * 500_000, id="empty-texts"),
    ],
)
def test_ne1_a_megabyte_takes_milliseconds(text: bytes) -> None:
    began = time.process_time()
    assert nests_deeper(text, 64)
    assert time.process_time() - began < 0.5
