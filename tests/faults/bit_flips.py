"""A data folder with documents of every kind, flipped bits in it, and what must still be there.

Rules:
    BF1  Whatever is flipped, nothing that is read differs from what was written: it is right, or an error.
    BF2  A document on none of whose pages a bit was flipped is served, unless the flip hit a page that belongs to no
         document (the schema, an index, an inner page of a tree), which may keep the server from starting.
    BF3  After `raffia check --repair` the folder opens, a second check finds nothing, and every document none of whose
         bytes was flipped is there with its history, versions and title. Of the others what is left was written.
"""

from __future__ import annotations

import random
import shutil
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from raffia.cli.check import check_folder
from raffia.crdt.document import Document
from raffia.crdt.merge import merge
from raffia.crdt.view import read_text
from raffia.errors import DocumentDeletedError, ForbiddenError, LaterError, QuarantinedError
from raffia.files.store import FOLDER, FolderFiles, directory_of, name_of
from raffia.journal import Snapshot
from raffia.journal.sqlite.database import DATABASE, WAL, connect, create_tables
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.sqlite.salvage import Row, Scan, stored_columns
from raffia.journal.sqlite.wal import PAGE_BYTES
from raffia.journal.testing.contract import BEGIN_MS, Clock, Typist
from raffia.rooms.durable.loading import build_document
from raffia.settings import load_settings
from raffia.types import DocumentId, Edit

DOCUMENTS = 40
TOKEN = 24  # characters that one edit types
DELETED = DocumentId("kind/deleted")
LAST = DocumentId("kind/last")  # the last transaction of the WAL, which may be cut off by a flip
MOMENTS = (BEGIN_MS + 15_000, BEGIN_MS + 45_000)
FILE_LIMIT = 1 << 30


def token(document: int, number: int) -> str:
    return f"<{document:02}.{number:03}.é{'abcdefghijklmnop'[number % 16] * 14}>"[:TOKEN]


def tokens_of(text: str) -> list[str]:
    return [text[at : at + TOKEN] for at in range(0, len(text), TOKEN)]


def folded(updates: list[bytes]) -> Snapshot:
    document = Document.from_state(merge(updates))
    job = document.fold()
    document.folded(job, job.run())
    return Snapshot(document.base, document.index(document.base))


async def write(folder: Path, copy_to: Path) -> None:
    """Write the documents and some files; copy the folder before the journal is closed, while it has a WAL."""
    clock = Clock()
    async with SqliteJournal(folder, now_ms=clock) as journal:
        for number in range(DOCUMENTS):
            await _write_one(journal, clock, number)
        await journal.append(DELETED, (Edit("zoë", BEGIN_MS, Typist(7).type("gone")),))
        await journal.directory.delete(DELETED)
        files = FolderFiles(folder / FOLDER, FILE_LIMIT)
        for number in range(8):
            content = random.Random(number).randbytes(2_000 << number % 4)
            await files.put(document(number), name_of(content, "png"), content)
        for client in range(3):  # each stands on its own
            await journal.append(LAST, (Edit(None, BEGIN_MS, Typist(100 + client).type(token(99, client))),))
        shutil.copytree(folder, copy_to)


def document(number: int) -> DocumentId:
    return DocumentId(f"kind-{number % 4}/document {number:02} ü")


async def _write_one(journal: SqliteJournal, clock: Clock, number: int) -> None:
    name, kind = document(number), number % 4
    typists = [Typist(10 + number), Typist(60 + number)]
    updates: list[bytes] = []
    for step in range(24):
        clock.now_ms = BEGIN_MS + step * 5_000
        update = typists[step % 2].type(token(number, step))
        updates.append(update)
        position = await journal.append(name, (Edit(("ana", "bo 🦊")[step % 2], clock.now_ms, update),))
        if kind and step in (9, 17):  # a snapshot, history, and entries after it
            await journal.compact(name, folded(updates), position)
    if kind == 2:  # large: a snapshot of many pages
        for step in range(24, 60):
            update = typists[0].type("".join(token(number, 24 + step) for _ in range(20)))
            updates.append(update)
            position = await journal.append(name, (Edit("ana", clock.now_ms, update),))
        await journal.compact(name, folded(updates), position)
    if kind == 3:
        await journal.versions.save(name, folded(updates).state, time_ms=clock.now_ms, authors=["ana"], name="é")
        await journal.links.add(name, "edit", clock.now_ms)
    await journal.directory.set_info(name, title=f"Title {number} 😀", kind=("doc", "board")[number % 2])


@dataclass(slots=True)
class Seen:
    """What can be read of a document; an error where it cannot."""

    content: Any = None
    history: Any = None
    versions: Any = None
    info: Any = None
    files: dict[str, bytes | str] = field(default_factory=dict)


async def _or_error(reading: Any) -> Any:
    try:
        return await reading
    except (QuarantinedError, DocumentDeletedError, ForbiddenError, LaterError) as error:
        return error


async def read_all(folder: Path) -> dict[DocumentId, Seen]:
    """Open a folder as a server does, and read everything.

    Raises:
        DamagedStoreError: it is not opened.
    """
    seen: dict[DocumentId, Seen] = {}
    store = FolderFiles(folder / FOLDER, FILE_LIMIT)
    async with SqliteJournal(folder, now_ms=Clock(BEGIN_MS + 300_000)) as journal:
        for name in [*map(document, range(DOCUMENTS)), DELETED]:
            one = seen[name] = Seen()
            one.content = await _or_error(_content(journal, name))
            one.history = await _or_error(_history(journal, name))
            one.versions = await _or_error(_versions(journal, name))
            one.info = await _or_error(_info(journal, name))
            for path in sorted((folder / FOLDER / directory_of(name)).glob("*")):
                size = await store.size(name, path.name)
                assert size is not None
                one.files[path.name] = await _or_error(_file(store, name, path.name, size))
    return seen


async def _content(journal: SqliteJournal, name: DocumentId) -> str:
    return read_text(build_document(await journal.load(name), keep_deleted=False).merged(), "t")


async def _history(journal: SqliteJournal, name: DocumentId) -> Any:
    moments = [read_text(merge(await journal.history.at(name, at)), "t") for at in MOMENTS]
    return moments, await journal.history.windows(name)


async def _versions(journal: SqliteJournal, name: DocumentId) -> Any:
    listed = await journal.versions.all(name)
    return [(info, (await journal.versions.get(name, info.id)).state) for info in listed]


async def _info(journal: SqliteJournal, name: DocumentId) -> Any:
    info = await journal.directory.info(name)
    return (
        None if info is None else (info.title, info.kind, info.updated_by, info.updated_ms, info.links, info.deleted_ms)
    )


async def _file(store: FolderFiles, name: DocumentId, file: str, size: int) -> bytes:
    await store.check(name, file)
    return b"".join([part async for part in store.parts(name, file, size)])


class _Places(Scan):
    """A scan of the undamaged file that notes where the rows of each document are."""

    def __init__(self, file: memoryview, columns: dict[str, list[str]], overlay: dict[int, bytes]) -> None:
        super().__init__(file, overlay, columns)
        self.cells: dict[int, list[tuple[int, int, int]]] = {}  # by page: from, to, document
        self._number = 0
        self._begin = self._end = 0

    def _page(self, number: int) -> bytes:
        return super()._page(number)

    def _by_pointers(self, number: int) -> bool:
        self._number = number
        return super()._by_pointers(number)

    def _cell(self, page: bytes, at: int, *, is_table: bool) -> bool:
        self._begin = at
        return super()._cell(page, at, is_table=is_table)

    def _payload(self, page: bytes, at: int, size: int, *, is_table: bool) -> bytes | None:
        payload = super()._payload(page, at, size, is_table=is_table)
        self._end = min(PAGE_BYTES, at + size + (4 if self._pages else 0))
        return payload

    def _key(self, table: str, row: Row) -> Any:
        key = super()._key(table, row)
        if key is not None and table != "revocations":
            owner = row["key"] if table == "documents" else row["document"]
            self.cells.setdefault(self._number, []).append((self._begin, self._end, owner))
            for page in self._pages:
                self.cells.setdefault(page, []).append((0, PAGE_BYTES, owner))
        return key


def places(folder: Path) -> dict[int, list[tuple[int, int, int]]]:
    """Return the documents on each page of an undamaged database file, with the bytes that each row takes."""
    with closing(connect(Path(":memory:"))) as connection:
        create_tables(connection)
        columns = stored_columns(connection)
    scan = _Places(memoryview((folder / DATABASE).read_bytes()), columns, {})
    scan.run()
    return scan.cells


@dataclass(slots=True)
class Flips:
    """What was flipped: places in the database file, in the WAL, and files."""

    database: list[int] = field(default_factory=list)
    wal: list[int] = field(default_factory=list)
    files: set[str] = field(default_factory=set)


def flip(folder: Path, seed: int) -> Flips:
    """Flip 1, 3 or 20 bits at random places."""
    chance = random.Random(seed)
    flips = Flips()
    paths = [
        path for path in [folder / DATABASE, folder / WAL, *sorted((folder / FOLDER).rglob("*.png"))] if path.exists()
    ]
    paths = [path for path in paths if path.stat().st_size]
    sizes = [path.stat().st_size for path in paths]
    contents = {path: bytearray(path.read_bytes()) for path in paths}
    for _ in range(chance.choice([1, 3, 20])):
        (path,) = chance.choices(paths, sizes)
        at = chance.randrange(len(contents[path]))
        contents[path][at] ^= 1 << chance.randrange(8)
        if path.name == DATABASE:
            flips.database.append(at)
        elif path.name == WAL:
            flips.wal.append(at)
        else:
            flips.files.add(path.name)
    for path, content in contents.items():
        path.write_bytes(content)
    return flips


def hit(flips: Flips, cells: dict[int, list[tuple[int, int, int]]]) -> tuple[set[int], set[int], bool]:
    """Return the documents whose bytes were hit, those with something on a page that was, and whether another was."""
    bytes_hit: set[int] = set()
    page_hit: set[int] = set()
    shared = bool(flips.wal)
    for at in flips.database:
        page, offset = at // PAGE_BYTES + 1, at % PAGE_BYTES
        owners = cells.get(page)
        if owners is None:
            shared = True
            continue
        page_hit |= {owner for _, _, owner in owners}
        bytes_hit |= {owner for begin, end, owner in owners if begin - 2 <= offset < end}
    return bytes_hit, page_hit, shared


def repair(folder: Path) -> tuple[bool, list[str]]:
    said: list[str] = []
    findings = check_folder(load_settings(data=str(folder)), repair=True, report=said.append)
    return findings.is_well, said


def check(folder: Path) -> tuple[bool, list[str]]:
    said: list[str] = []
    findings = check_folder(load_settings(data=str(folder)), repair=False, report=said.append)
    return findings.is_well, said
