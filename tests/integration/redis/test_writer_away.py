"""What becomes of appends when Redis dies while a pipeline with several documents is under way (RW3, J6)."""

from __future__ import annotations

import asyncio

from tests.support.lib0 import insert
from tests.support.redis import RedisServer

from raffia.errors import JournalUnavailableError
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.journal import RedisJournal
from raffia.types import Batch, DocumentId, Edit

DOCUMENTS = [DocumentId(f"away-{number}") for number in range(3)]


def batch(number: int) -> Batch:
    return (Edit(None, 1, insert(number + 1, 0, f"<{number}é😀>")),)


async def test_every_document_of_a_lost_pipeline_is_told_to_try_again() -> None:
    with RedisServer(appendonly="yes") as server:
        async with RedisJournal(open_engine(server.url)) as journal:
            server.kill()
            appends = [journal.append(document, batch(number)) for number, document in enumerate(DOCUMENTS)]
            for _ in range(2):
                async with asyncio.timeout(10):
                    answers = await asyncio.gather(*appends, return_exceptions=True)
                assert [type(answer) for answer in answers] == [JournalUnavailableError] * len(DOCUMENTS)
                assert journal.stats.queued == 0
                appends = [journal.append(document, batch(number)) for number, document in enumerate(DOCUMENTS)]
            await asyncio.gather(*appends, return_exceptions=True)
            server.start()
            async with asyncio.timeout(10):
                for number, document in enumerate(DOCUMENTS):
                    while True:
                        try:
                            await journal.append(document, batch(number))
                            break
                        except JournalUnavailableError:
                            await asyncio.sleep(0.05)
            loaded = await journal.load(DOCUMENTS[0])
            assert loaded.entries[-1].batch == batch(0)
