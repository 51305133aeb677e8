"""A process that appends to a journal and prints what was acknowledged, until it is killed.

    python tests/faults/journal_writer.py FOLDER SEED

Prints "document number" for each acknowledged append, in one write per line. Compactions, versions and loads run at the
same time.
"""

from __future__ import annotations

import asyncio
import random
import sys

from raffia.journal import Snapshot
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.types import DocumentId, Edit, Position

DOCUMENTS = 5


def token(document: int, number: int, seed: int) -> bytes:
    """The update of the append with this number: it inserts a text that is unique in the run."""
    text = f"é{seed}:{document}:{number}🦊".encode()
    return b"\x01\x01" + bytes([document + 1]) + b"\x00\x04\x01\x01t" + bytes([len(text)]) + text + b"\x00"


async def write(journal: SqliteJournal, document: int, seed: int, first: int) -> None:
    """Append forever, several at a time."""
    name = DocumentId(f"d{document}")
    chance = random.Random(f"{seed} {document}")
    number = first
    while True:
        count = chance.randrange(1, 20)
        waiting = []
        for _ in range(count):
            padding = Edit(None, number, b"\x00" * chance.choice([0, 0, 0, 20_000]))
            waiting.append(
                (number, journal.append(name, (Edit("zoë", number, token(document, number, seed)), padding)))
            )
            number += 1
        for done, future in waiting:
            await future
            sys.stdout.write(f"{document} {done}\n")
            sys.stdout.flush()


async def disturb(journal: SqliteJournal, seed: int) -> None:
    """Compact, save versions and load, forever. A snapshot holds the tokens of the entries that it folds, in order."""
    chance = random.Random(seed)
    while True:
        name = DocumentId(f"d{chance.randrange(DOCUMENTS)}")
        loaded = await journal.load(name)
        if not loaded.entries:
            await asyncio.sleep(0)
            continue
        folded = loaded.entries[: chance.randrange(1, len(loaded.entries) + 1)]
        before = loaded.snapshot.state if loaded.snapshot is not None else b""
        state = before + b"".join(edit.update for entry in folded for edit in entry.batch)
        await journal.compact(name, Snapshot(state, b"i" * chance.choice([0, 600_000])), Position(folded[-1].position))
        await journal.versions.save(name, state[-300_000:], time_ms=1)
        await journal.prune()


async def main(folder: str, seed: int) -> None:
    """Run until killed."""
    async with SqliteJournal(folder) as journal:
        positions = [(await journal.load(DocumentId(f"d{document}"))).position for document in range(DOCUMENTS)]
        sys.stdout.write("open\n")
        sys.stdout.flush()
        await asyncio.gather(
            disturb(journal, seed),
            *[write(journal, document, seed, positions[document]) for document in range(DOCUMENTS)],
        )


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
