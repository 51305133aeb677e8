"""Storage of uploaded files, addressed by content.

Rules (tests quote these ids):
    FL1  A file is named by the SHA-256 of its bytes, in a folder named by the SHA-256 of its document's id: nothing
         that a client sends becomes part of a path. A file that is uploaded twice to a document is stored once.
    FL2  When `put` returns, the file is complete and durable: written to a temporary file, synced, renamed, and the
         folders synced. Object stores do this themselves.
    FL3  The files of a document have at most `max_document_files_bytes` in total; more are refused. Uploads to one
         document are counted one after the other. Replicas count separately, and together can exceed the limit by
         the uploads that are in progress.
    FL4  Replicas need a place that all of them can reach; without one, uploads are refused with the setting to set.
    FL5  A store that cannot be reached is reported as "later", never as a missing file.
    FL6  Every document has its own files, even one that is a copy: when a document is purged, its files are removed,
         and other documents keep theirs. In a folder the files of a copy are hard links where the file system allows
         it, which take almost no space. Object stores copy files themselves.
    FL7  A file is read in parts of `PART_BYTES` as the client reads them, so that a slow client does not hold a whole
         file in memory.
    FL8  The name of a file is its checksum. A file in a folder is checked before any of it is served; of one in an
         object store, the last part is held back until the whole is known to match. A damaged file is not served. It is
         replaced when the same bytes are uploaded again.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import shutil
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit
from weakref import WeakValueDictionary

from raffia.errors import LaterError, NotConfiguredError, QuarantinedError, SettingsError, TooLargeError
from raffia.files.images import MIME_TYPES
from raffia.runtime.logs import get_logger
from raffia.settings import Settings
from raffia.types import DocumentId

log = get_logger("raffia.files.store")

FOLDER = "files"
PART_BYTES = 256 * 1024
T = TypeVar("T")


def name_of(data: bytes, extension: str) -> str:
    """The name of a file (FL1)."""
    return f"{hashlib.sha256(data).hexdigest()}.{extension}"


def is_name(name: str) -> bool:
    """Whether this is a valid file name."""
    digest, _, extension = name.partition(".")
    return len(digest) == 64 and set(digest) <= set("0123456789abcdef") and extension in MIME_TYPES


def digest_of(name: str) -> str:
    """The SHA-256 that a file of this name has (FL1)."""
    return name.partition(".")[0]


def directory_of(document: DocumentId) -> str:
    """The folder of a document's files (FL1)."""
    return hashlib.sha256(document.encode()).hexdigest()


class FileStore(ABC):
    """Base class of the file stores.

    Args:
        max_document_bytes: limit for the files of one document (FL3).
    """

    def __init__(self, max_document_bytes: int) -> None:
        self._max_document_bytes = max_document_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._reported: set[tuple[str, str]] = set()

    async def put(self, document: DocumentId, name: str, data: bytes) -> None:
        """Store a file (FL2).

        Raises:
            TooLargeError: the files of the document would exceed their limit (FL3).
            LaterError: it cannot be stored at the moment (FL5).
        """
        directory = directory_of(document)
        # The table is weak: a lock is dropped when the last upload that uses it ends.
        lock = self._locks.setdefault(directory, asyncio.Lock())
        async with lock:
            sizes = await self._sizes(directory)
            if sizes.get(name) == len(data) and await self._digest(directory, name) == digest_of(name):
                return
            sizes.pop(name, None)  # it is damaged (FL8)
            total = sum(sizes.values())
            if total + len(data) > self._max_document_bytes:
                raise TooLargeError(
                    f"the files of this document have {total} bytes, and this one {len(data)}; the limit is "
                    f"{self._max_document_bytes}; use smaller images or raise RAFFIA_MAX_DOCUMENT_FILES_BYTES"
                )
            await self._write(directory, name, data)

    async def get(self, document: DocumentId, name: str) -> bytes | None:
        """Read a file; None if there is none.

        Raises:
            QuarantinedError: it is damaged (FL8).
        """
        directory = directory_of(document)
        data = await self._read(directory, name)
        if data is not None and hashlib.sha256(data).hexdigest() != digest_of(name):
            raise self._damaged(directory, name)
        return data

    async def check(self, document: DocumentId, name: str) -> None:
        """Check a file before it is served, unless that would transfer it twice (FL8).

        Raises:
            QuarantinedError: it is damaged.
            LaterError: it cannot be read.
        """
        return

    def _damaged(self, directory: str, name: str) -> QuarantinedError:
        if (directory, name) not in self._reported:
            self._reported.add((directory, name))
            log.error("file quarantined: its bytes do not match its name", folder=directory, file=name)
        return QuarantinedError("this file is damaged, and not served; upload it again")

    async def size(self, document: DocumentId, name: str) -> int | None:
        """The size of a file in bytes; None if there is none."""
        return await self._size(directory_of(document), name)

    async def parts(self, document: DocumentId, name: str, size_bytes: int) -> AsyncIterator[bytes]:
        """Read a file part by part (FL7).

        Raises:
            LaterError: it cannot be read, or was removed meanwhile.
            QuarantinedError: it is damaged (FL8).
        """
        digest = hashlib.sha256()
        for start in range(0, size_bytes, PART_BYTES):
            wanted = min(PART_BYTES, size_bytes - start)
            part = await self._part(directory_of(document), name, start, wanted)
            if part is None or len(part) != wanted:
                raise LaterError("the file was removed while it was being read")
            digest.update(part)
            if start + wanted == size_bytes and digest.hexdigest() != digest_of(name):
                raise self._damaged(directory_of(document), name)
            yield part

    async def copy(self, document: DocumentId, to: DocumentId) -> None:
        """Copy all files of a document to another one (FL6).

        Raises:
            LaterError: the files cannot be copied at the moment (FL5).
        """
        await self._copy(directory_of(document), directory_of(to))

    async def remove(self, document: DocumentId) -> None:
        """Remove all files of a document (FL6).

        Raises:
            LaterError: the store cannot be reached, and some files may be left (FL5).
        """
        await self._remove(directory_of(document))

    @abstractmethod
    async def _sizes(self, directory: str) -> dict[str, int]:
        """The files in a folder: maps names to sizes in bytes."""

    @abstractmethod
    async def _write(self, directory: str, name: str, data: bytes) -> None:
        """Write one file, completely or not at all."""

    @abstractmethod
    async def _copy(self, source: str, target: str) -> None:
        """Copy all files of one folder to another."""

    @abstractmethod
    async def _read(self, directory: str, name: str) -> bytes | None:
        """Read one file."""

    @abstractmethod
    async def _size(self, directory: str, name: str) -> int | None:
        """The size of one file in bytes."""

    async def _digest(self, directory: str, name: str) -> str | None:
        """The SHA-256 of one file, in hexadecimal digits."""
        data = await self._read(directory, name)
        return None if data is None else hashlib.sha256(data).hexdigest()

    @abstractmethod
    async def _part(self, directory: str, name: str, start: int, count: int) -> bytes | None:
        """Read `count` bytes of one file from `start`."""

    @abstractmethod
    async def _remove(self, directory: str) -> None:
        """Remove a folder and its content."""


class FolderFiles(FileStore):
    """Files in a folder: one in the data folder, or a shared one."""

    def __init__(self, folder: Path, max_document_bytes: int) -> None:
        super().__init__(max_document_bytes)
        self._folder = folder

    async def _sizes(self, directory: str) -> dict[str, int]:
        return await self._away(lambda: _sizes(self._folder / directory))

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        await self._away(lambda: _write(self._folder, directory, name, data))

    async def _copy(self, source: str, target: str) -> None:
        await self._away(lambda: _link(self._folder, source, target))

    async def _read(self, directory: str, name: str) -> bytes | None:
        def read() -> bytes | None:
            try:
                return (self._folder / directory / name).read_bytes()
            except FileNotFoundError:
                return None

        return await self._away(read)

    async def _size(self, directory: str, name: str) -> int | None:
        def size() -> int | None:
            try:
                return (self._folder / directory / name).stat().st_size
            except FileNotFoundError:
                return None

        return await self._away(size)

    async def _part(self, directory: str, name: str, start: int, count: int) -> bytes | None:
        def read() -> bytes | None:
            # Opened for each part, so that slow clients do not hold file descriptors.
            try:
                with (self._folder / directory / name).open("rb") as file:
                    file.seek(start)
                    return file.read(count)
            except FileNotFoundError:
                return None

        return await self._away(read)

    async def check(self, document: DocumentId, name: str) -> None:
        """Read the whole file once (FL8)."""
        directory = directory_of(document)
        if await self._digest(directory, name) not in (None, digest_of(name)):
            raise self._damaged(directory, name)

    async def _digest(self, directory: str, name: str) -> str | None:
        def digest() -> str | None:
            try:
                with (self._folder / directory / name).open("rb") as file:
                    return hashlib.file_digest(file, "sha256").hexdigest()
            except FileNotFoundError:
                return None

        return await self._away(digest)

    async def _remove(self, directory: str) -> None:
        def remove() -> None:
            # Another replica that shares the folder may be removing it too.
            shutil.rmtree(self._folder / directory, onerror=_unless_gone)

        await self._away(remove)

    async def _away(self, work: Callable[[], T]) -> T:
        """Run `work` in a thread; disk errors become `LaterError`."""
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            log.exception("files cannot be read or written", folder=str(self._folder))
            raise LaterError(f"files cannot be read or written at the moment ({error.strerror})") from error


def _unless_gone(_call: object, _path: str, raised: tuple[type[BaseException], BaseException, object]) -> None:
    if not issubclass(raised[0], FileNotFoundError):
        raise raised[1]


def _sizes(folder: Path) -> dict[str, int]:
    try:
        with os.scandir(folder) as entries:
            return {entry.name: entry.stat().st_size for entry in entries if is_name(entry.name)}
    except FileNotFoundError:
        return {}


def _write(folder: Path, directory: str, name: str, data: bytes) -> None:
    (folder / directory).mkdir(parents=True, exist_ok=True)
    aside = folder / directory / f".{secrets.token_hex(8)}"
    try:
        with aside.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.rename(folder / directory / name)
    except BaseException:
        aside.unlink(missing_ok=True)
        raise
    _sync(folder, directory)


def _link(folder: Path, source: str, target: str) -> None:
    names = _sizes(folder / source)
    if not names:
        return
    (folder / target).mkdir(parents=True, exist_ok=True)
    for name in names:
        try:
            (folder / target / name).hardlink_to(folder / source / name)
        except FileExistsError:
            continue
        except FileNotFoundError:
            continue  # removed meanwhile: its document was purged
        except OSError:  # a file system without hard links, or with too many of one file
            _write(folder, target, name, (folder / source / name).read_bytes())
    _sync(folder, target)


def _sync(folder: Path, directory: str) -> None:
    for made in (folder / directory, folder, folder.parent):
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ObjectFiles(FileStore):
    """Files in an object store, accessed through obstore."""

    def __init__(self, store: Any, max_document_bytes: int) -> None:
        super().__init__(max_document_bytes)
        self._store = store

    async def _sizes(self, directory: str) -> dict[str, int]:
        listed = await self._asked(self._store.list_with_delimiter_async(f"{FOLDER}/{directory}"))
        objects = listed["objects"] if listed is not None else []
        return {str(one["path"]).rpartition("/")[2]: int(one["size"]) for one in objects}

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        await self._asked(self._store.put_async(f"{FOLDER}/{directory}/{name}", data))

    async def _copy(self, source: str, target: str) -> None:
        for name in await self._sizes(source):
            await self._asked(self._store.copy_async(f"{FOLDER}/{source}/{name}", f"{FOLDER}/{target}/{name}"))

    async def _read(self, directory: str, name: str) -> bytes | None:
        found = await self._asked(self._store.get_async(f"{FOLDER}/{directory}/{name}"))
        if found is None:
            return None
        data = await self._asked(found.bytes_async())
        return None if data is None else bytes(data)

    async def _size(self, directory: str, name: str) -> int | None:
        found = await self._asked(self._store.head_async(f"{FOLDER}/{directory}/{name}"))
        return None if found is None else int(found["size"])

    async def _part(self, directory: str, name: str, start: int, count: int) -> bytes | None:
        part = await self._asked(self._store.get_range_async(f"{FOLDER}/{directory}/{name}", start=start, length=count))
        return None if part is None else bytes(part)

    async def _remove(self, directory: str) -> None:
        for name in await self._sizes(directory):
            await self._asked(self._store.delete_async(f"{FOLDER}/{directory}/{name}"))

    @staticmethod
    async def _asked(answer: Any) -> Any:
        """The result of a call to the store; None if there is no such file (FL5)."""
        try:
            return await answer
        except FileNotFoundError:
            return None
        except Exception as error:
            log.exception("object store cannot be reached")
            raise LaterError("files cannot be read or written at the moment; try again later") from error


class NoFiles(FileStore):
    """The file store if none is configured (FL4)."""

    def __init__(self) -> None:
        super().__init__(0)

    async def _sizes(self, directory: str) -> dict[str, int]:
        raise NotConfiguredError(
            "files cannot be uploaded: with Redis set --files (RAFFIA_FILES) to an object store, such as "
            "s3://bucket/raffia, or to a folder that all replicas share"
        )

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        await self._sizes(directory)

    async def _copy(self, source: str, target: str) -> None:
        return

    async def _read(self, directory: str, name: str) -> bytes | None:
        return None

    async def _size(self, directory: str, name: str) -> int | None:
        return None

    async def _part(self, directory: str, name: str, start: int, count: int) -> bytes | None:
        return None

    async def _remove(self, directory: str) -> None:
        return


def open_files(settings: Settings) -> FileStore:
    """Open the file store that the settings describe.

    Raises:
        SettingsError: the store cannot be used.
    """
    most = settings.max_document_files_bytes
    if settings.files is None:
        return FolderFiles(settings.data / FOLDER, most) if settings.redis is None else NoFiles()
    try:
        parts = urlsplit(settings.files)
        if parts.scheme == "file":
            # Not with obstore, which does not sync (FL2).
            if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
                raise SettingsError("--files (RAFFIA_FILES): write a folder as file:///path/of/folder")  # noqa: TRY301
            return FolderFiles(Path(unquote(parts.path)), most)
        from obstore.store import from_url  # noqa: PLC0415 - slow to import, and few servers need it

        return ObjectFiles(from_url(settings.files), most)
    except SettingsError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise SettingsError(f"--files (RAFFIA_FILES): files cannot be stored there: {said}") from error
