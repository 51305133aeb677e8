"""docs/formats.md says what really lies in Redis."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from tests.support.journals import Journals

from raffia.errors import JournalUnavailableError
from raffia.journal.entries import encode_batch
from raffia.journal.protocol import Snapshot
from raffia.journal.redis import keys, records
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.journal.testing.contract import DOCUMENT, Clock, edit
from raffia.types import DocumentId

TEXT = (Path(__file__).parents[4] / "docs" / "formats.md").read_text()
EMPTY = b"\x00\x00"


async def test_every_key_and_field_is_described(journals: Journals, clock: Clock) -> None:
    one = await journals.open()
    for _ in range(2):
        position = await one.append(DOCUMENT, (edit(EMPTY),))
        await one.compact(DOCUMENT, Snapshot(EMPTY, b"i"), position)
        clock.advance(7_200_000)
        await one.versions.save(DOCUMENT, EMPTY, time_ms=1, authors=["é"], name="ü")
    await one.prune()
    last = edit(EMPTY, clock.now_ms)
    await one.compact(DOCUMENT, Snapshot(EMPTY, b"i"), await one.append(DOCUMENT, (last,)))
    await one.directory.set_info(DOCUMENT, title="t", kind="k")
    await one.directory.delete(DocumentId("another"))
    await one.healthy()
    server = journals.server
    for key in server.command("KEYS", "*"):
        name = key.decode().replace(DOCUMENT, "ID").replace("another", "ID")
        name = re.sub(r":blob:[0-9a-f]{16}$", ":blob:<name>", name)
        assert f"`{name}`" in TEXT, f"key {name} is not described"
        if name.endswith(":meta"):
            for field in server.command("HKEYS", key):
                assert re.search(rf"^\|.*`{field.decode()}`.* \|", TEXT, re.MULTILINE), (
                    f"field {field} is not described"
                )
    lines = [
        *server.command("HVALS", f"raffia:{{{DOCUMENT}}}:stones"),
        *server.command("ZRANGE", f"raffia:{{{DOCUMENT}}}:segments", 0, -1),
        server.command("HGET", f"raffia:{{{DOCUMENT}}}:versions", "1"),
    ]
    assert len(lines) >= 3
    for line in lines:
        for field in json.loads(line):
            assert f"`{field}`" in TEXT, f"field {field} is not described"
    (entry,) = server.command("XRANGE", f"raffia:{{{DOCUMENT}}}:log", "-", "+")[-1:]
    assert entry[1] == [b"u", encode_batch((last,))]


def test_the_formats_are_the_ones_in_the_code() -> None:
    assert f"field `format` of each document's `meta` | {keys.FORMAT} |" in TEXT
    assert f"| its field `v` | {records.FORMAT} |" in TEXT


async def test_a_redis_that_is_not_there_at_the_start_is_said_with_what_to_do() -> None:
    with pytest.raises(JournalUnavailableError, match="start Redis, or set --redis"):
        async with RedisJournal(open_engine("redis://127.0.0.1:1/0")):
            pass
