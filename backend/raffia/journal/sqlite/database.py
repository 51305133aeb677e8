"""The one connection to raffia.sqlite: opening, the format, transactions, the cache, blobs. Used by one thread only.

Rules:
    DB1  One connection, locked exclusively (`locking_mode=EXCLUSIVE`): nothing else reads, writes or checkpoints.
        SQLite's own lock is the lock on the data folder: it ends with the process, and a forked child does not inherit
        it.
    DB2  WAL and `synchronous=FULL`: a commit that has returned is on disk.
    DB3  After an I/O error the connection is closed and reopened, and before anything is written the WAL is moved into
        the file and truncated: a failed fsync leaves pages that look written and never reach the disk, and frames
        behind such a hole, acknowledged or not, would be lost with it.
    DB4  A blob is written in pieces of 256 KiB and kept as long as a row refers to it. A job that writes or drops one
        over several transactions records it in `staging` first, so that a crash leaves nothing behind.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

from raffia.errors import (
    DataFolderInUseError,
    DocumentDeletedError,
    ForbiddenError,
    FormatTooNewError,
    QuarantinedError,
)
from raffia.journal.search import EDITED_MS
from raffia.types import DocumentId

FORMAT = 1
APPLICATION_ID = 0x52616666  # "Raff"
DATABASE = "raffia.sqlite"
PID_FILE = "raffia.pid"

PIECE_BYTES = 256 * 1024
SLICE_BYTES = 1024 * 1024  # what one slice of a long job reads or writes: about a millisecond of reading
_PIECE_BITS = 20
_KNOWN = 4096  # documents whose row is cached

T = TypeVar("T")
Steps = Generator[None, None, T]
"""A long job: it yields between slices."""

Connect = Callable[[Path], sqlite3.Connection]
"""Opens the database file; tests pass one that fails on demand."""


def connect(path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> sqlite3.Connection:
    """Open a database file the way `Database` expects it: no implicit transactions, no waiting for locks."""
    return sqlite3.connect(path, timeout=0, isolation_level=None, cached_statements=256, factory=factory)


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
        self.abandoned: list[int] = []  # blobs of writes that failed; dropped by the next long write
        self._opener = opener
        self._connection: sqlite3.Connection | None = None
        self._known: dict[DocumentId, Known] = {}
        self._next_blob = 1

    # opening and closing

    @property
    def is_open(self) -> bool:
        """Whether there is a connection."""
        return self._connection is not None

    def open(self) -> None:
        """Open or create the database (DB1, DB2, J16).

        Raises:
            DataFolderInUseError, FormatTooNewError; sqlite3.Error, OSError when the disk refuses.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / DATABASE
        if path.exists() and path.stat().st_size:
            self._peek(path)
        connection = self._opener(path)
        try:
            self._prepare(connection)
        except sqlite3.OperationalError as error:
            connection.close()
            if error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY:
                raise self._in_use() from error
            raise
        except (sqlite3.Error, FormatTooNewError):
            connection.close()
            raise
        self._connection = connection
        self._known.clear()
        (top,) = self.row(
            "SELECT max(coalesce((SELECT max(id) FROM pieces), 0) >> ?, coalesce((SELECT max(blob) FROM staging), 0))",
            (_PIECE_BITS,),
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

    def _check_format(self, connection: sqlite3.Connection) -> int:
        (form,) = connection.execute("PRAGMA user_version").fetchone()
        if form > FORMAT:
            raise FormatTooNewError(
                f"data folder {self.folder} has format {form}; this Raffia reads up to {FORMAT}: start the newer Raffia"
            )
        return int(form)

    def _prepare(self, connection: sqlite3.Connection) -> None:
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
            execute("BEGIN IMMEDIATE")
            for statement in _statements():
                execute(statement)
            execute(f"PRAGMA application_id={APPLICATION_ID}")
            execute(f"PRAGMA user_version={FORMAT}")
            execute("COMMIT")
        else:
            _add_columns(connection)
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
        rows = self.execute(sql, values).fetchall()
        return rows[0] if rows else None

    def rows(self, sql: str, values: Iterable[object] = ()) -> list[tuple[Any, ...]]:
        """Run one statement and read its rows."""
        return self.execute(sql, values).fetchall()

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
        """Look up a document, in the cache or in its row; None if it never existed."""
        known = self._known.get(document)
        if known is None:
            found = self.rows(
                "SELECT key, last, deleted_ms IS NOT NULL, edited_ms, updated_by FROM documents WHERE name = ?",
                (document,),
            )
            if not found:
                return None
            known = self._remember(document, Known(*found[0]))
        return known

    def create(self, document: DocumentId, time_ms: int) -> Known:
        """Create a document's row."""
        cursor = self.execute(
            "INSERT INTO documents (name, created_ms, updated_ms, edited_ms) VALUES (?, ?, ?, ?)",
            (document, time_ms, time_ms, time_ms),
        )
        return self._remember(document, Known(cursor.lastrowid or 0, 0, False, time_ms, None))

    def _remember(self, document: DocumentId, known: Known) -> Known:
        if len(self._known) >= _KNOWN:
            self._known.clear()
        self._known[document] = known
        return known

    def edited(self, known: Known, time_ms: int, author: str | None) -> None:
        """Record who edited a document last, and roughly when."""
        known.edited_ms, known.author = max(known.edited_ms, time_ms), author
        self.execute(
            "UPDATE documents SET edited_ms = ?, updated_by = ? WHERE key = ?", (known.edited_ms, author, known.key)
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

    def put_piece(self, blob: int, number: int, piece: bytes) -> None:
        """Write one piece."""
        self.execute("INSERT INTO pieces (id, bytes) VALUES (?, ?)", (blob << _PIECE_BITS | number, piece))
        self.wal_bytes += len(piece)

    def read_blob(self, blob: int, size: int) -> Steps[bytes]:
        """Read a blob, a slice at a time.

        Raises:
            QuarantinedError: pieces are missing.
        """
        parts: list[bytes] = []
        at = blob << _PIECE_BITS
        got = 0
        while got < size:
            found = self.rows(
                "SELECT bytes FROM pieces WHERE id BETWEEN ? AND ? ORDER BY id",
                (at, at + SLICE_BYTES // PIECE_BYTES - 1),
            )
            if not found:
                break
            parts += (piece for (piece,) in found)
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
                    (blob << _PIECE_BITS, (blob + 1 << _PIECE_BITS) - 1),
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

    def put(self, content: bytes) -> Steps[int]:
        """Write one blob and return its number: 0 if it is empty, since a number without pieces would be reused."""
        if not content:
            return 0
        blob = self._database.new_blob()
        self._fresh.append(blob)
        for number, at in enumerate(range(0, len(content), PIECE_BYTES)):
            if self._room <= 0:
                yield from self.pause()
            piece = content[at : at + PIECE_BYTES]
            self._database.put_piece(blob, number, piece)
            self._room -= len(piece) + 4096
        return blob

    def put_all(self, contents: Iterable[bytes]) -> Steps[list[int]]:
        """Write several blobs."""
        blobs = []
        for content in contents:
            blob = yield from self.put(content)
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


def deleted(document: DocumentId) -> DocumentDeletedError:
    """Build the error for a deleted document (J14)."""
    return DocumentDeletedError(f"document {document} was deleted")


def not_there(document: DocumentId) -> ForbiddenError:
    """Build the error for a document that never existed."""
    return ForbiddenError(f"there is no document {document}")


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


_ADDED = {
    "updated_by": "TEXT",
    "edited_ms": "INTEGER NOT NULL DEFAULT 0",
    "schema": "INTEGER",
    "links_generation": "INTEGER NOT NULL DEFAULT 0",
    "link_read_ms": "INTEGER",
    "link_edit_ms": "INTEGER",
    "cleared": "INTEGER NOT NULL DEFAULT 0",
}
"""Columns of `documents` that the first servers of format 1 did not have; they still work without them."""


def _add_columns(connection: sqlite3.Connection) -> None:
    """Bring a file of an older server up to date; write nothing if there is nothing to do."""
    there = {name for _, name, *_ in connection.execute("PRAGMA table_info(documents)")}
    missing = [name for name in _ADDED if name not in there]
    if missing:
        connection.execute("BEGIN IMMEDIATE")
        for name in missing:
            connection.execute(f"ALTER TABLE documents ADD COLUMN {name} {_ADDED[name]}")
        connection.execute("CREATE INDEX IF NOT EXISTS documents_edited ON documents (edited_ms, name)")
        connection.execute("COMMIT")
    # What an older server has written since. On a full disk the order of the listing stays as it is.
    stale = f"updated_ms > edited_ms + {2 * EDITED_MS}"
    with suppress(sqlite3.OperationalError):
        if connection.execute(f"SELECT 1 FROM documents WHERE {stale} LIMIT 1").fetchone():  # noqa: S608 - our own text
            connection.execute(f"UPDATE documents SET edited_ms = updated_ms WHERE {stale}")  # noqa: S608 - our own text
