"""Uploaded files: where they are kept, by what is in them.

Rules (tests quote these ids):
    FL1  A file is named by the SHA-256 of its bytes, in a folder named by that of its document's id: nothing that a
         client says becomes part of a path. The same file twice is kept once.
    FL2  When `put` returns, a file is durable and whole: written aside, synced, renamed, and the folder synced. An
         object store does as much by itself.
    FL3  Files of a document have `max_document_files_bytes` in all; further ones are refused. Uploads to one document
         are counted one after the other; replicas count by themselves, and may pass the limit together by what each
         has under way.
    FL4  With replicas there has to be a place that all of them reach; without one, uploading says what to set.
    FL5  A store that cannot be reached is "later", never "not there".
    FL6  A document has files of its own, also a copy of another: so all of them go with it when it is purged, and
         no other document lacks one then.
    FL7  A file is read in parts of `PART_BYTES`, as whoever gets it takes them: many who read slowly take no memory.
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

from raffia.errors import LaterError, NotConfiguredError, SettingsError, TooLargeError
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
    """Whether a file can have this name."""
    digest, _, extension = name.partition(".")
    return len(digest) == 64 and set(digest) <= set("0123456789abcdef") and extension in MIME_TYPES


def directory_of(document: DocumentId) -> str:
    """The folder of a document's files (FL1)."""
    return hashlib.sha256(document.encode()).hexdigest()


class FileStore(ABC):
    """Where files are kept.

    Args:
        max_document_bytes: see FL3.
    """

    def __init__(self, max_document_bytes: int) -> None:
        self._max_document_bytes = max_document_bytes
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def put(self, document: DocumentId, name: str, data: bytes) -> None:
        """Keep a file (FL2).

        Raises:
            TooLargeError: the document has too many (FL3).
            LaterError: it cannot be written at the moment (FL5).
        """
        directory = directory_of(document)
        lock = self._locks.setdefault(
            directory, asyncio.Lock()
        )  # held by whoever uses it, and gone with the last of them
        async with lock:
            sizes = await self._sizes(directory)
            if name in sizes:
                return
            total = sum(sizes.values())
            if total + len(data) > self._max_document_bytes:
                raise TooLargeError(
                    f"the files of this document have {total} bytes and {len(data)} more came; the limit is "
                    f"{self._max_document_bytes}; use smaller images or raise RAFFIA_MAX_DOCUMENT_FILES_BYTES"
                )
            await self._write(directory, name, data)

    async def get(self, document: DocumentId, name: str) -> bytes | None:
        """Read a file; None when it is not there."""
        return await self._read(directory_of(document), name)

    async def size(self, document: DocumentId, name: str) -> int | None:
        """How many bytes a file has; None when it is not there."""
        return await self._size(directory_of(document), name)

    async def parts(self, document: DocumentId, name: str, size_bytes: int) -> AsyncIterator[bytes]:
        """Read a file part by part (FL7).

        Raises:
            LaterError: it cannot be read, or has been removed meanwhile.
        """
        for start in range(0, size_bytes, PART_BYTES):
            wanted = min(PART_BYTES, size_bytes - start)
            part = await self._part(directory_of(document), name, start, wanted)
            if part is None or len(part) != wanted:
                raise LaterError("the file was removed while it was read")
            yield part

    async def copy(self, document: DocumentId, to: DocumentId) -> None:
        """Keep all files of a document for another one too."""
        source, target = directory_of(document), directory_of(to)
        for name in await self._sizes(source):
            data = await self._read(source, name)
            if data is not None:
                await self._write(target, name, data)

    async def remove(self, document: DocumentId) -> None:
        """Remove all files of a document (FL6).

        Raises:
            LaterError: some may be left (FL5).
        """
        await self._remove(directory_of(document))

    @abstractmethod
    async def _sizes(self, directory: str) -> dict[str, int]:
        """Name -> bytes of what lies in a folder."""

    @abstractmethod
    async def _write(self, directory: str, name: str, data: bytes) -> None:
        """Write one file, whole or not at all."""

    @abstractmethod
    async def _read(self, directory: str, name: str) -> bytes | None:
        """Read one file."""

    @abstractmethod
    async def _size(self, directory: str, name: str) -> int | None:
        """How many bytes one file has."""

    @abstractmethod
    async def _part(self, directory: str, name: str, start: int, count: int) -> bytes | None:
        """Read so many bytes of one file."""

    @abstractmethod
    async def _remove(self, directory: str) -> None:
        """Remove a folder and what lies in it."""


class FolderFiles(FileStore):
    """Files in a folder, the data folder's or a shared one."""

    def __init__(self, folder: Path, max_document_bytes: int) -> None:
        super().__init__(max_document_bytes)
        self._folder = folder

    async def _sizes(self, directory: str) -> dict[str, int]:
        return await self._away(lambda: _sizes(self._folder / directory))

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        await self._away(lambda: _write(self._folder, directory, name, data))

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
            # Opened for each part: who reads slowly takes no file descriptor either.
            try:
                with (self._folder / directory / name).open("rb") as file:
                    file.seek(start)
                    return file.read(count)
            except FileNotFoundError:
                return None

        return await self._away(read)

    async def _remove(self, directory: str) -> None:
        def remove() -> None:
            # Others may be doing the same: replicas share the folder.
            shutil.rmtree(self._folder / directory, onerror=_unless_gone)

        await self._away(remove)

    async def _away(self, work: Callable[[], T]) -> T:
        """Work on a thread; what the disk does not do is said as "later"."""
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
    for made in (folder / directory, folder, folder.parent):
        handle = os.open(made, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


class ObjectFiles(FileStore):
    """Files in an object store, by obstore."""

    def __init__(self, store: Any, max_document_bytes: int) -> None:
        super().__init__(max_document_bytes)
        self._store = store

    async def _sizes(self, directory: str) -> dict[str, int]:
        listed = await self._asked(self._store.list_with_delimiter_async(f"{FOLDER}/{directory}"))
        objects = listed["objects"] if listed is not None else []
        return {str(one["path"]).rpartition("/")[2]: int(one["size"]) for one in objects}

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        await self._asked(self._store.put_async(f"{FOLDER}/{directory}/{name}", data))

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
        """An answer of the store; None when there is nothing of that name (FL5)."""
        try:
            return await answer
        except FileNotFoundError:
            return None
        except Exception as error:
            log.exception("the object store cannot be asked")
            raise LaterError("files cannot be read or written at the moment; try again later") from error


class NoFiles(FileStore):
    """There is no place for files (FL4)."""

    def __init__(self) -> None:
        super().__init__(0)

    async def _sizes(self, directory: str) -> dict[str, int]:
        raise NotConfiguredError(
            "files cannot be uploaded: with Redis set --files (RAFFIA_FILES) to an object store, such as "
            "s3://bucket/raffia, or to a folder that all replicas share"
        )

    async def _write(self, directory: str, name: str, data: bytes) -> None:
        await self._sizes(directory)

    async def _read(self, directory: str, name: str) -> bytes | None:
        return None

    async def _size(self, directory: str, name: str) -> int | None:
        return None

    async def _part(self, directory: str, name: str, start: int, count: int) -> bytes | None:
        return None

    async def _remove(self, directory: str) -> None:
        return

    async def copy(self, document: DocumentId, to: DocumentId) -> None:
        """There are none."""


def open_files(settings: Settings) -> FileStore:
    """The store that the settings name.

    Raises:
        SettingsError: it cannot be.
    """
    most = settings.max_document_files_bytes
    if settings.files is None:
        return FolderFiles(settings.data / FOLDER, most) if settings.redis is None else NoFiles()
    try:
        parts = urlsplit(settings.files)
        if parts.scheme == "file":
            # Not obstore's: it does not sync (FL2).
            if parts.netloc not in {"", "localhost"} or not parts.path.startswith("/"):
                raise SettingsError("--files (RAFFIA_FILES): write a folder as file:///folder")  # noqa: TRY301
            return FolderFiles(Path(unquote(parts.path)), most)
        from obstore.store import from_url  # noqa: PLC0415 - takes its time, and most have no object store

        return ObjectFiles(from_url(settings.files), most)
    except SettingsError:
        raise
    except Exception as error:
        said = str(error).partition("\n")[0]
        raise SettingsError(f"--files (RAFFIA_FILES): files cannot be kept there: {said}") from error
