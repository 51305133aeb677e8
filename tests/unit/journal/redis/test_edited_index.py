"""The order by time in Redis: late by seconds, without a command for each append; older stores are put into it."""

from __future__ import annotations

from tests.support.journals import Journals

from raffia.journal.redis.keys import Keys
from raffia.journal.testing.contract import BEGIN_MS, DOCUMENT, edit
from raffia.types import DocumentId

KEYS = Keys("raffia")
EMPTY = b"\x00\x00"


async def test_rn1_many_appends_cost_one_command(journals: Journals) -> None:
    one = await journals.open()
    await one.append(DOCUMENT, (edit(EMPTY),))
    await one._recent.tell()
    journals.server.command("CONFIG", "RESETSTAT")
    for number in range(50):
        await one.append(DOCUMENT, (edit(EMPTY, BEGIN_MS + number),))
    assert "cmdstat_zadd" not in journals.server.info("commandstats")
    await one._recent.tell()
    await one._recent.tell()
    assert journals.server.info("commandstats")["cmdstat_zadd"].startswith("calls=1,")
    assert int(journals.server.command("ZSCORE", KEYS.edited, DOCUMENT)) == BEGIN_MS + 49


async def test_rn1_a_deletion_is_not_undone(journals: Journals) -> None:
    one, two = await journals.open(), await journals.open()
    await one.append(DOCUMENT, (edit(EMPTY),))
    await two.load(DOCUMENT)
    await two.append(DOCUMENT, (edit(EMPTY, BEGIN_MS + 9),))
    await one.directory.delete(DOCUMENT)
    await two._recent.tell()
    assert journals.server.command("ZCARD", KEYS.edited) == 0


async def test_rn2_what_was_not_taken_is_told_again(journals: Journals) -> None:
    one = await journals.open()
    await one.append(DOCUMENT, (edit(EMPTY),))
    await one.append(DOCUMENT, (edit(EMPTY, BEGIN_MS + 7),))
    journals.server.command("CONFIG", "SET", "maxmemory", "1")
    await one._recent.tell()
    journals.server.command("CONFIG", "SET", "maxmemory", "0")
    await one._recent.tell()
    assert int(journals.server.command("ZSCORE", KEYS.edited, DOCUMENT)) == BEGIN_MS + 7


async def test_lp2_documents_of_an_older_raffia_are_put_into_the_order(journals: Journals) -> None:
    one = await journals.open()
    for number in range(450):
        await one.append(DocumentId(f"d/{number:03}"), (edit(EMPTY, BEGIN_MS + number * 1000),))
    await one._recent.tell()
    journals.server.command("DEL", KEYS.edited)
    for number in range(450):
        journals.server.command("HDEL", KEYS.meta(DocumentId(f"d/{number:03}")), "updated_by")
    page = await one.directory.documents(order="edited", limit=2)
    assert [info.document for info in page.documents] == ["d/449", "d/448"]
    assert page.total == 450
    assert journals.server.command("ZCARD", KEYS.edited) == 450
