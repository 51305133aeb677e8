"""The one connection to raffia.sqlite: opening, the format, transactions, the cache, blobs. Used by one thread only.

Rules:
    DB1  One connection, locked exclusively (`locking_mode=EXCLUSIVE`): nothing else reads, writes or checkpoints.
        SQLite's own lock is the lock on the data folder: it ends with the process, and a forked child does not inherit
        it.
    DB2  WAL and `synchronous=FULL`: a commit that has returned is on disk.
    DB3  After an I/O error the connection is closed and reopened, and before anything is written the WAL is moved into
        the file and truncated: a failed fsync can leave pages that look written but never reach the disk, and frames
        after such a hole would be lost too, acknowledged or not.
    DB4  A blob is written in pieces of 256 KiB and kept as long as a row refers to it. A job that writes or drops one
        over several transactions records it in `staging` first, so that a crash leaves nothing behind.
    DB5  A file that lacks part of schema.sql, or whose WAL is damaged before its last transaction, is not opened,
        because SQLite could then read or overwrite the wrong pages. `raffia check --repair` rebuilds it.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from raffia.errors import (
    DamagedStoreError,
    DataFolderInUseError,
    DocumentDeletedError,
    ForbiddenError,
    FormatTooNewError,
    FormatTooOldError,
    QuarantinedError,
    SettingsError,
)
from raffia.journal.sqlite.rows import (
    ROW,
    SEALED,
    DocumentRow,
    document_row,
    key_of,
    piece_is_whole,
    seal,
    seal_edit,
    seal_piece,
)
from raffia.journal.sqlite.wal import PAGE_BYTES, read_wal
from raffia.runtime.logs import get_logger
from raffia.types import DocumentId

log = get_logger("raffia.journal")

FORMAT = 2
APPLICATION_ID = 0x52616666  # "Raff"
DATABASE = "raffia.sqlite"
WAL = "raffia.sqlite-wal"
PID_FILE = "raffia.pid"
MARKER = "raffia.rebuilding"  # while `raffia check --repair` replaces the file

PIECE_BYTES = 256 * 1024
SLICE_BYTES = 1024 * 1024  # what one slice of a long job reads or writes: about a millisecond of reading
PIECE_BITS = 20
PIECE_MASK = (1 << PIECE_BITS) - 1
_KNOWN = 4096  # documents whose row is cached

T = TypeVar("T")
Steps = Generator[None, None, T]
"""A long job: it yields between slices."""

Connect = Callable[[Path], sqlite3.Connection]
"""Opens the database file; tests pass one that fails on demand."""


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """Open a database file the way `Database` expects it: no implicit transactions, no waiting for locks."""
    connection = sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=256, factory=factory)
    connection.text_factory = _text
    return connection


def _text(stored: bytes) -> str:
    """Decode text that may be damaged; checksums detect the damage."""
    return stored.decode(errors="surrogateescape")


class Known:
    """What the writer caches about a document, so that an append need not read it."""

    __slots__ = ("author", "deleted", "edited_ms", "key", "last")

    def __init__(self, key: int, last: int, deleted: bool, edited_ms: int, author: str | None) -> None:
        self.key = key
        self.last = last
        self.deleted = bool(deleted)
        self.edited_ms = edited_ms
        self.author = author


class Database:
    """The connection, its state, and the cache of documents.

    Args:
        folder: the data folder; created if it does not exist.
        opener: opens the file.
    """

    def __init__(self, folder: Path, opener: Connect = connect) -> None:
        self.folder = folder
        self.wal_bytes = 0  # an estimate of what the next checkpoint has to move
        self.suspect = False  # the WAL may hold pages that never reached the disk (DB3)
        self.reported: set[object] = set()  # damage that has been logged
        self.abandoned: list[int] = []  # blobs of writes that failed; dropped by the next long write
        self._opener = opener
        self._connection: sqlite3.Connection | None = None
        self._known: dict[DocumentId, Known] = {}
        self._next_blob = 1
        self._has_opened = False

    # opening and closing

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def open(self) -> None:
        """Open or create the database (DB1, DB2, J16).

        Raises:
            DataFolderInUseError, FormatTooNewError, FormatTooOldError.
            DamagedStoreError: the file is damaged (DB5).
            sqlite3.Error, OSError: the file cannot be opened.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / DATABASE
        if (self.folder / MARKER).exists():
            raise self._damaged("a repair was interrupted")
        if path.exists() and path.stat().st_size:
            self._peek(path)
            if not self._has_opened:  # later the WAL is this process's own
                self._check_wal(path)
        connection = self._opener(path)
        try:
            self._prepare(connection, path)
        except sqlite3.OperationalError as error:
            connection.close()
            code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
            if code == sqlite3.SQLITE_BUSY:
                raise self._in_use() from error
            if code == sqlite3.SQLITE_ERROR or (code == sqlite3.SQLITE_READONLY and os.access(path, os.W_OK)):
                raise self._damaged(str(error)) from error
            raise
        except sqlite3.DatabaseError as error:
            connection.close()
            if is_corrupt(error):
                raise self._damaged(str(error)) from error
            raise
        except (sqlite3.Error, SettingsError):
            connection.close()
            raise
        self._connection = connection
        self._has_opened = True
        self._known.clear()
        (top,) = self.row(
            "SELECT max(coalesce((SELECT max(id) FROM pieces), 0) >> ?, coalesce((SELECT max(blob) FROM staging), 0))",
            (PIECE_BITS,),
        ) or (0,)
        self._next_blob = max(self._next_blob, top + 1)
        self.abandoned = [blob for (blob,) in self.rows("SELECT blob FROM staging")]
        with suppress(OSError):  # only for a better error message in the next process
            (self.folder / PID_FILE).write_text(f"{os.getpid()}\n")
        _sync_folder(self.folder)

    def _peek(self, path: Path) -> None:
        # Reading through SQLite as usual would move a newer Raffia's WAL into its file: look at the header alone first.
        # Not with open() and read(): closing any handle of a file drops all locks that this process has on it.
        uri = f"{path.absolute().as_uri()}?mode=ro&immutable=1"
        peek = sqlite3.connect(uri, uri=True, timeout=0)
        try:
            with suppress(sqlite3.DatabaseError):  # its last checkpoint was cut short; what follows reads the WAL too
                self._check_format(peek)
        finally:
            peek.close()

    def _check_wal(self, path: Path) -> None:
        """Refuse a WAL in which SQLite would silently skip commits (DB5)."""
        try:
            wal = read_wal(path.with_name(WAL).read_bytes())
        except FileNotFoundError:
            return
        if not wal.damaged:
            return
        # Before it is opened for writing: closing that connection would move what it can read and remove the rest.
        probe = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=0)
        try:
            probe.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._in_use() from error
        except sqlite3.DatabaseError:
            pass  # that will be said as well
        finally:
            probe.close()
        if wal.lost_commits > 1:
            raise self._damaged(f"{wal.lost_commits} transactions in {WAL} follow a damaged one")
        log.error(
            "the last transaction of the write-ahead log is not whole and is left out; after a power cut it was never "
            "acknowledged, otherwise it is damaged",
            file=str(path.with_name(WAL)),
        )

    def _check_schema(self, connection: sqlite3.Connection, path: Path) -> None:
        """Refuse a damaged header or schema (DB5)."""
        if not expected_schema() <= set(connection.execute(_SCHEMA)):
            raise self._damaged("its schema is not that of this format")
        header = {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in _HEADER}
        if header["encoding"] != "UTF-8" or header["auto_vacuum"] != 2 or header["page_size"] != PAGE_BYTES:
            raise self._damaged(f"its header says {header}")
        wal = path.with_name(WAL)
        has_wal = wal.exists() and wal.stat().st_size > 0
        pages = path.stat().st_size // PAGE_BYTES
        if header["freelist_count"] >= header["page_count"] or (not has_wal and header["page_count"] != pages):
            raise self._damaged(f"its header says {header}, but it has {pages} pages")

    def _damaged(self, what: str) -> DamagedStoreError:
        return DamagedStoreError(
            f"{self.folder / DATABASE} is damaged ({what}); nothing was changed: "
            f"run raffia check --repair --data {self.folder}"
        )

    def _check_format(self, connection: sqlite3.Connection) -> int:
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if 0 < form < FORMAT:
            raise FormatTooOldError(
                f"data folder {self.folder} has format {form}, of an early build; this Raffia reads format {FORMAT} "
                "and converts nothing: export the documents with the older Raffia, or start with a new folder"
            )
        if form > FORMAT:
            raise FormatTooNewError(
                f"data folder {self.folder} has format {form}; this Raffia reads up to {FORMAT}: start the newer Raffia"
            )
        return int(form)

    def _prepare(self, connection: sqlite3.Connection, path: Path) -> None:
        execute = connection.execute
        execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
        form = self._check_format(connection)
        if form == 0:
            execute("PRAGMA auto_vacuum=INCREMENTAL").fetchall()
        execute("PRAGMA journal_mode=WAL").fetchall()
        execute("PRAGMA synchronous=FULL").fetchall()
        execute("PRAGMA temp_store=MEMORY").fetchall()
        execute("PRAGMA secure_delete=FAST").fetchall()
        execute("PRAGMA cache_size=-4096").fetchall()
        execute("PRAGMA journal_size_limit=67108864").fetchall()
        # The writer checkpoints between commits, after it has acknowledged; this is for estimates that fail.
        execute("PRAGMA wal_autocheckpoint=8192").fetchall()
        if form == 0:
            create_tables(connection)
        else:
            self._check_schema(connection, path)
        # Takes the lock, and writes nothing: a folder on a full disk can be opened and read.
        execute("SELECT count(*) FROM staging").fetchall()

    def _in_use(self) -> DataFolderInUseError:
        who = ""
        with suppress(OSError, ValueError):
            who = f" (pid {int((self.folder / PID_FILE).read_text())})"
        return DataFolderInUseError(
            f"data folder {self.folder} is in use by another process{who}; run replicas with --redis instead"
        )

    def abandon(self) -> None:
        """Close the connection without trusting it or its WAL (DB3)."""
        self.suspect = True
        self._drop_connection()

    def _drop_connection(self) -> None:
        self._known.clear()
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                connection.close()

    def close(self) -> None:
        """Checkpoint and close."""
        if self._connection is not None:
            with suppress(sqlite3.Error):  # everything acknowledged is in the WAL; the next start moves it
                self.checkpoint("TRUNCATE")
        self._drop_connection()

    # statements and transactions

    def execute(self, sql: str, values: Iterable[object] = ()) -> sqlite3.Cursor:
        """Run one statement."""
        if self._connection is None:
            raise sqlite3.OperationalError("the database is not open")
        return self._connection.execute(sql, tuple(values))

    def row(self, sql: str, values: Iterable[object] = ()) -> tuple[Any, ...] | None:
        """Run one statement and read its only row."""
        rows = self.rows(sql, values)
        return rows[0] if rows else None

    def rows(self, sql: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and read its rows."""
        with closing(self.execute(sql, values)) as cursor:  # an error that is kept would keep it open, and the lock
            return cursor.fetchall()

    def begin(self) -> None:
        """Begin a transaction unless one is open."""
        if self._connection is None or not self._connection.in_transaction:
            self.execute("BEGIN IMMEDIATE")

    def commit(self) -> None:
        """Commit the transaction, if one is open."""
        if self._connection is not None and self._connection.in_transaction:
            self.execute("COMMIT")

    def rollback(self) -> None:
        """Roll back the transaction, unless SQLite has done so itself, and clear the cache."""
        self._known.clear()
        if self._connection is not None and self._connection.in_transaction:
            self.execute("ROLLBACK")

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Within a transaction, write everything in this context, or nothing if it raises."""
        self.execute("SAVEPOINT whole")
        try:
            yield
        except (sqlite3.Error, OSError):
            raise  # the whole transaction is rolled back, with the savepoint
        except BaseException:
            self.execute("ROLLBACK TO whole")
            self.execute("RELEASE whole")
            self._known.clear()
            raise
        self.execute("RELEASE whole")

    def checkpoint(self, mode: str = "PASSIVE") -> None:
        """Move the WAL into the database file."""
        self.rows(f"PRAGMA wal_checkpoint({mode})")
        self.wal_bytes = 0

    def trust(self) -> None:
        """Make sure that the next commit builds on a WAL that is on disk (DB3)."""
        if self.suspect:
            self.checkpoint("TRUNCATE")
            self.suspect = False

    # documents

    def known(self, document: DocumentId) -> Known | None:
        """Look up a document, in the cache or in its row; None if it never existed.

        Raises:
            QuarantinedError: its row is damaged or lost (ROW3).
        """
        known = self._known.get(document)
        if known is None:
            row = self.document(document)
            if row is None:
                return None
            known = self._remember(
                document, Known(row.key, row.last, row.deleted_ms is not None, row.edited_ms, row.updated_by)
            )
        return known

    def document(self, document: DocumentId) -> DocumentRow | None:
        """Read a document's row; None if it never existed.

        Raises:
            QuarantinedError: its row is damaged or lost (ROW3).
        """
        key = key_of(document)
        found = self.row(_ROW, (key,))
        if found is None:
            for sql, value in _TRACES:
                if self.row(sql, (value(document),)) is not None:
                    raise QuarantinedError(f"the row of {document} is lost")
            return None
        try:
            row = document_row(found)
        except QuarantinedError as error:
            raise QuarantinedError(f"{document}: {error}") from error
        if row.name != document:
            raise QuarantinedError(f"the number of {document} is taken by another document")
        (last,) = self.row("SELECT max(position) FROM entries WHERE document = ?", (key,)) or (None,)
        if (last or 0) > row.last or (row.last > row.folded and last != row.last):
            raise QuarantinedError(f"the log of {document} ends at {row.last}, but its last entry is {last}")
        return row

    def has_cached(self, document: DocumentId) -> bool:
        """Return whether `known` can answer without reading."""
        return document in self._known

    def create(self, document: DocumentId, time_ms: int) -> Known:
        """Create a document's row."""
        key = key_of(document)
        self.execute(
            "INSERT INTO documents (key, checksum, edited_checksum, name, created_ms, updated_ms, edited_ms)"
            " VALUES (?, x'', ?, ?, ?, ?, ?)",
            (key, seal("edits", key, time_ms, None), document, time_ms, time_ms, time_ms),
        )
        self.seal(key)
        return self._remember(document, Known(key, 0, False, time_ms, None))

    def seal(self, key: int) -> None:
        """Update the checksum of a document's row; call this after changing a column that it covers (ROW1)."""
        (values,) = self.rows(_SEALED, (key,))
        self.execute("UPDATE documents SET checksum = ? WHERE key = ?", (seal("documents", *values), key))

    def check_row(self, key: int) -> DocumentRow:
        """Read the row with this number.

        Raises:
            QuarantinedError: it is damaged or lost.
        """
        found = self.row(_ROW, (key,))
        if found is None:
            raise QuarantinedError(f"the row of document number {key} is lost")
        return document_row(found)

    def report(self, what: object, error: Exception) -> None:
        """Log damage, once for each `what`."""
        if what not in self.reported:
            self.reported.add(what)
            log.error("damaged, and left out; see raffia check", what=str(what), detail=str(error))

    def _remember(self, document: DocumentId, known: Known) -> Known:
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[document] = known
        return known

    def edited(self, known: Known, time_ms: int, author: str | None) -> None:
        """Record who edited a document last, and roughly when."""
        known.edited_ms, known.author = max(known.edited_ms, time_ms), author
        self.execute(
            "UPDATE documents SET edited_ms = ?, updated_by = ?, edited_checksum = ? WHERE key = ?",
            (known.edited_ms, author, seal_edit(known.key, known.edited_ms, author), known.key),
        )

    def forget(self, document: DocumentId) -> None:
        """Drop a document from the cache."""
        self._known.pop(document, None)

    def living(self, document: DocumentId) -> Known | None:
        """Look up a document like `known`; raise if it is deleted (J14)."""
        known = self.known(document)
        if known is not None and known.deleted:
            raise deleted(document)
        return known

    def there(self, document: DocumentId) -> int:
        """Return the key of a document; raise if it is deleted or never existed."""
        known = self.living(document)
        if known is None:
            raise not_there(document)
        return known.key

    # blobs (DB4)

    def new_blob(self) -> int:
        """Return the number of a new blob."""
        blob = self._next_blob
        self._next_blob += 1
        return blob

    def put_piece(self, document: int, blob: int, number: int, piece: bytes) -> None:
        """Write one piece."""
        place = blob << PIECE_BITS | number
        self.execute(
            "INSERT INTO pieces (id, checksum, document, bytes) VALUES (?, ?, ?, ?)",
            (place, seal_piece(place, document, piece), document, piece),
        )
        self.wal_bytes += len(piece)

    def read_blob(self, document: int, blob: int, size: int) -> Steps[bytes]:
        """Read a blob of a document, a slice at a time.

        Raises:
            QuarantinedError: pieces are missing or damaged.
        """
        parts: list[bytes] = []
        at = blob << PIECE_BITS
        got = 0
        while got < size:
            found = self.rows(
                "SELECT id, checksum, bytes FROM pieces WHERE id BETWEEN ? AND ? ORDER BY id",
                (at, at + SLICE_BYTES // PIECE_BYTES - 1),
            )
            if not found:
                break
            for number, (place, sealed, piece) in enumerate(found):
                if place != at + number or not piece_is_whole(sealed, place, document, piece):
                    raise QuarantinedError(f"piece {(at + number) & PIECE_MASK} of blob {blob} is damaged")
                parts.append(piece)
            got = sum(map(len, parts))
            at += len(found)
            if got < size:
                yield
        if got != size:
            raise QuarantinedError(f"blob {blob} has {got} of its {size} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def drop_blobs(self, blobs: Iterable[int]) -> Steps[None]:
        """Delete blobs that are in `staging`, a slice at a time."""
        room = SLICE_BYTES
        for blob in blobs:
            while True:
                pieces = self.rows(
                    "SELECT id, length(bytes) FROM pieces WHERE id BETWEEN ? AND ? LIMIT 4",
                    (blob << PIECE_BITS, (blob + 1 << PIECE_BITS) - 1),
                )
                for piece, length in pieces:
                    self.execute("DELETE FROM pieces WHERE id = ?", (piece,))
                    room -= length + 4096
                if len(pieces) < 4:
                    break
                if room <= 0:
                    yield
                    room = SLICE_BYTES
            self.execute("DELETE FROM staging WHERE blob = ?", (blob,))
            if room <= 0:
                yield
                room = SLICE_BYTES

    def drop_abandoned(self) -> Steps[None]:
        """Delete the blobs that failed writes left behind."""
        while self.abandoned:
            yield from self.drop_blobs(self.abandoned[-1:])
            self.abandoned.pop()
            yield


class Putter:
    """Writes the blobs of one long job, and records them in `staging` whenever the job yields (DB4)."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._room = SLICE_BYTES
        self._fresh: list[int] = []
        self.staged: list[int] = []

    def put(self, document: int, content: bytes) -> Steps[int]:
        """Write one blob of a document and return its number.

        It is 0 if the blob is empty, since a number without pieces would be reused.
        """
        if not content:
            return 0
        blob = self._database.new_blob()
        self._fresh.append(blob)
        for number, at in enumerate(range(0, len(content), PIECE_BYTES)):
            if self._room <= 0:
                yield from self.pause()
            piece = content[at : at + PIECE_BYTES]
            self._database.put_piece(document, blob, number, piece)
            self._room -= len(piece) + 4096
        return blob

    def put_all(self, document: int, contents: Iterable[bytes]) -> Steps[list[int]]:
        """Write several blobs."""
        blobs = []
        for content in contents:
            blob = yield from self.put(document, content)
            blobs.append(blob)
        return blobs

    def pause(self) -> Steps[None]:
        """End the slice; no row refers yet to what has been written."""
        for blob in self._fresh:
            self._database.execute("INSERT INTO staging (blob) VALUES (?)", (blob,))
        self.staged += self._fresh
        self._fresh = []
        yield
        self._room = SLICE_BYTES

    def keep(self) -> None:
        """Remove the blobs from `staging`, in the transaction that writes the rows that refer to them."""
        for blob in self.staged:
            self._database.execute("DELETE FROM staging WHERE blob = ?", (blob,))

    def failed(self) -> None:
        """Leave the blobs of a failed job to be dropped later."""
        self._database.abandoned += self.staged


_ROW = f"SELECT {ROW} FROM documents WHERE key = ?"  # noqa: S608 - our own columns
_SEALED = f"SELECT {SEALED['documents']} FROM documents WHERE key = ?"  # noqa: S608 - our own columns
_TRACES: tuple[tuple[str, Callable[[DocumentId], object]], ...] = (
    ("SELECT key FROM documents WHERE name = ?", str),
    ("SELECT position FROM entries WHERE document = ? LIMIT 1", key_of),
    ("SELECT upto FROM snapshots WHERE document = ? LIMIT 1", key_of),
)
"""What else there may be of a document whose row is lost (ROW3)."""


def is_corrupt(error: Exception) -> bool:
    """Return whether SQLite has found damage in its file."""
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def deleted(document: DocumentId) -> DocumentDeletedError:
    """Build the error for a deleted document (J14)."""
    return DocumentDeletedError(f"document {document} was deleted")


def not_there(document: DocumentId) -> ForbiddenError:
    """Build the error for a document that never existed."""
    return ForbiddenError(f"there is no document {document}")


_HEADER = ("encoding", "auto_vacuum", "page_size", "page_count", "freelist_count")
_SCHEMA = "SELECT type, name, tbl_name, rootpage, sql FROM sqlite_schema"


def create_tables(connection: sqlite3.Connection) -> None:
    """Create everything in schema.sql, in one transaction."""
    connection.execute("BEGIN IMMEDIATE")
    for statement in _statements():
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={APPLICATION_ID}")
    connection.execute(f"PRAGMA user_version={FORMAT}")
    connection.execute("COMMIT")


@cache
def expected_schema() -> frozenset[tuple[Any, ...]]:
    """Return the schema of an undamaged file; SQLite creates the tables in the same pages each time."""
    with closing(connect(Path(":memory:"))) as connection:
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL").fetchall()
        create_tables(connection)
        return frozenset(connection.execute(_SCHEMA))


def _statements() -> list[str]:
    text = files("raffia.journal.sqlite").joinpath("schema.sql").read_text()
    statements, statement = [], ""
    for line in text.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            statements.append(statement)
            statement = ""
    return statements


def _sync_folder(folder: Path) -> None:
    for path in (folder, folder.absolute().parent):
        handle = os.open(path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
