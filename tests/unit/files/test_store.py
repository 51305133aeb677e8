"""Where uploaded files are kept: FL1-FL5 of files.py, in a folder and in object stores."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from obstore.store import LocalStore, MemoryStore

from raffia.errors import LaterError, NotConfiguredError, QuarantinedError, SettingsError, TooLargeError
from raffia.files import store as module
from raffia.files.store import (
    PART_BYTES,
    FileStore,
    FolderFiles,
    NoFiles,
    ObjectFiles,
    directory_of,
    is_name,
    name_of,
    open_files,
)
from raffia.files.verify import check_files, drop_file
from raffia.settings import Settings
from raffia.types import DocumentId

DOCUMENT, OTHER = DocumentId("team/é".replace("é", "e")), DocumentId("team/other")
MAX_BYTES = 1000

MAKERS: dict[str, Callable[[Path], FileStore]] = {
    "folder": lambda folder: FolderFiles(folder / "files", MAX_BYTES),
    "memory": lambda _: ObjectFiles(MemoryStore(), MAX_BYTES),
    "local": lambda folder: ObjectFiles(LocalStore(folder), MAX_BYTES),
}


@pytest.fixture(params=list(MAKERS))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    return MAKERS[request.param](tmp_path)


async def test_fl1_the_same_file_is_kept_once(store: FileStore) -> None:
    name = name_of(b"bytes", "png")
    for _ in range(2):
        await store.put(DOCUMENT, name, b"bytes")
    assert await store.get(DOCUMENT, name) == b"bytes"
    assert await store.get(OTHER, name) is None
    assert await store.get(DOCUMENT, name_of(b"others", "png")) is None
    assert await store._sizes(directory_of(DOCUMENT)) == {name: 5}


async def test_fl3_a_document_has_so_many_bytes_in_all(store: FileStore) -> None:
    for letter in (b"a", b"b"):
        await store.put(DOCUMENT, name_of(letter * 500, "gif"), letter * 500)
    await store.put(DOCUMENT, name_of(b"a" * 500, "gif"), b"a" * 500)  # is there already
    with pytest.raises(TooLargeError, match=r"1000 bytes, and this one 1;.*RAFFIA_MAX_DOCUMENT_FILES_BYTES"):
        await store.put(DOCUMENT, name_of(b"c", "gif"), b"c")
    await store.put(OTHER, name_of(b"c", "gif"), b"c")


async def test_fl6_copies_in_a_folder_take_no_space(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = FolderFiles(tmp_path / "files", MAX_BYTES)
    name = name_of(b"bytes", "webp")
    await store.put(DOCUMENT, name, b"bytes")
    for _ in range(2):  # a copy that was cut short is done again
        await store.copy(DOCUMENT, OTHER)
    paths = [tmp_path / "files" / directory_of(one) / name for one in (DOCUMENT, OTHER)]
    assert paths[0].stat().st_ino == paths[1].stat().st_ino
    await store.remove(DOCUMENT)
    assert await store.get(OTHER, name) == b"bytes"

    def no_links(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    await store.copy(OTHER, DOCUMENT)
    assert paths[0].read_bytes() == b"bytes"
    assert paths[0].stat().st_ino != paths[1].stat().st_ino


async def test_copies_have_files_of_their_own(store: FileStore) -> None:
    name = name_of(b"bytes", "webp")
    await store.put(DOCUMENT, name, b"bytes")
    await store.copy(DOCUMENT, OTHER)
    assert await store.get(OTHER, name) == b"bytes"
    await store.copy(DocumentId("nobody"), OTHER)


async def test_fl7_read_in_parts(store: FileStore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PART_BYTES", 4)
    for data in (b"0123456789", b"01234567", b"0", b""):
        name = name_of(data, "png")
        await store.put(DOCUMENT, name, data)
        assert await store.size(DOCUMENT, name) == len(data)
        parts = [part async for part in store.parts(DOCUMENT, name, len(data))]
        assert (b"".join(parts), max(map(len, parts), default=0)) == (data, min(4, len(data)))
    missing = name_of(b"others", "png")
    assert await store.size(DOCUMENT, missing) is None
    with pytest.raises(LaterError, match="removed"):
        [part async for part in store.parts(DOCUMENT, missing, 5)]


async def test_fl6_files_go_with_their_document_and_no_others(store: FileStore) -> None:
    name = name_of(b"bytes", "png")
    await store.put(DOCUMENT, name, b"bytes")
    await store.put(DOCUMENT, name_of(b"more", "gif"), b"more")
    await store.copy(DOCUMENT, OTHER)
    await asyncio.gather(*(store.remove(DOCUMENT) for _ in range(3)))  # as replicas do
    assert await store.get(DOCUMENT, name) is None
    assert await store._sizes(directory_of(DOCUMENT)) == {}
    assert await store.get(OTHER, name) == b"bytes"
    await store.remove(DOCUMENT)
    await store.remove(DocumentId("nobody"))


async def test_fl6_left_overs_go_too_and_what_cannot_be_removed_is_later(tmp_path: Path) -> None:
    store = FolderFiles(tmp_path, MAX_BYTES)
    await store.put(DOCUMENT, name_of(b"x", "png"), b"x")
    (tmp_path / directory_of(DOCUMENT) / ".0123456789abcdef").write_bytes(b"cut short")
    await store.remove(DOCUMENT)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / directory_of(DOCUMENT)).write_bytes(b"no folder")
    with pytest.raises(LaterError):
        await store.remove(DOCUMENT)


def test_fl1_names_are_digests() -> None:
    assert is_name("0" * 64 + ".png")
    for name in (
        "",
        ".png",
        "0" * 63 + ".png",
        "0" * 64,
        "0" * 64 + ".svg",
        "G" * 64 + ".png",
        "../" + "0" * 61 + ".png",
    ):
        assert not is_name(name), name
    assert "/" not in directory_of(DOCUMENT)


async def test_fl2_synced_before_it_is_named_and_whole_or_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, name = FolderFiles(tmp_path / "files", MAX_BYTES), name_of(b"bytes", "png")
    done: list[str] = []
    real_sync, real_rename = os.fsync, Path.rename

    def sync(handle: int) -> None:
        done.append("sync folder" if os.path.isdir(f"/proc/self/fd/{handle}") else "sync")  # noqa: PTH112
        real_sync(handle)

    def rename(self: Path, target: Path) -> Path:
        done.append("rename")
        return real_rename(self, target)

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(Path, "rename", rename)
    await store.put(DOCUMENT, name, b"bytes")
    assert done[:3] == ["sync", "rename", "sync folder"]

    def fails(*_args: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(LaterError, match="No space left"):
        await store.put(OTHER, name, b"bytes")
    monkeypatch.undo()
    assert await store.get(OTHER, name) is None
    assert list((tmp_path / "files" / directory_of(OTHER)).iterdir()) == []


async def test_fl4_replicas_need_a_place(tmp_path: Path) -> None:
    store = open_files(Settings(redis="redis://localhost:1", data=tmp_path))
    assert isinstance(store, NoFiles)
    with pytest.raises(NotConfiguredError, match="RAFFIA_FILES"):
        await store.put(DOCUMENT, name_of(b"x", "png"), b"x")
    assert await store.get(DOCUMENT, name_of(b"x", "png")) is None
    shared = open_files(Settings(redis="redis://localhost:1", files=f"file://{tmp_path}/shared%20folder"))
    await shared.put(DOCUMENT, name_of(b"x", "png"), b"x")
    assert (tmp_path / "shared folder" / directory_of(DOCUMENT) / name_of(b"x", "png")).read_bytes() == b"x"
    assert isinstance(open_files(Settings(data=tmp_path)), FolderFiles)
    assert isinstance(open_files(Settings(files="memory:///")), ObjectFiles)
    assert isinstance(open_files(Settings(files="s3://bucket/path")), ObjectFiles)


@pytest.mark.parametrize("url", ["bogus://x", "nonsense", "file://host/x", "az://nobody"])
def test_a_place_that_cannot_be_is_refused_at_the_start(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(("AZURE", "AWS", "GOOGLE")):
            monkeypatch.delenv(name)
    with pytest.raises(SettingsError, match="RAFFIA_FILES"):
        open_files(Settings(files=url))


async def test_fl5_a_store_that_is_away_is_later() -> None:
    class Away:
        async def list_with_delimiter_async(self, _path: str) -> Any:
            raise ConnectionError("nobody answers")

        async def get_async(self, _path: str) -> Any:
            raise TimeoutError

    store = ObjectFiles(Away(), MAX_BYTES)
    with pytest.raises(LaterError):
        await store.put(DOCUMENT, name_of(b"x", "png"), b"x")
    with pytest.raises(LaterError):
        await store.get(DOCUMENT, name_of(b"x", "png"))
    assert module.FOLDER == "files"


async def test_fl8_a_damaged_file_is_not_served_either_from_a_copy_and_replaced_by_an_upload(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = FolderFiles(tmp_path, 1 << 20)
    data = bytes(range(256)) * 3000  # several parts
    name = name_of(data, "png")
    await store.put(DOCUMENT, name, data)
    path = tmp_path / directory_of(DOCUMENT) / name
    path.write_bytes(data[:-1] + b"x")
    for _ in range(2):
        with pytest.raises(QuarantinedError, match="upload it again"):
            await store.check(DOCUMENT, name)
        with pytest.raises(QuarantinedError):
            await store.get(DOCUMENT, name)
        parts = store.parts(DOCUMENT, name, len(data))
        for start in range(0, len(data) - PART_BYTES, PART_BYTES):
            assert await anext(parts) == data[start : start + PART_BYTES]
        with pytest.raises(QuarantinedError):  # the last part
            await anext(parts)
    assert sum("quarantined" in record.getMessage() for record in caplog.records) == 1
    await store.copy(DOCUMENT, OTHER)
    with pytest.raises(QuarantinedError):
        await store.check(OTHER, name)
    for document in (DOCUMENT, OTHER):
        await store.put(document, name, data)
        await store.check(document, name)
        assert await store.get(document, name) == data
    assert list(check_files(tmp_path)) == []


async def test_fv1_a_check_finds_damaged_files_and_moves_them_aside(tmp_path: Path) -> None:
    store = FolderFiles(tmp_path / "files", 1 << 20)
    for letter in (b"a", b"b"):
        await store.put(DOCUMENT, name_of(letter, "png"), letter)
    path = tmp_path / "files" / directory_of(DOCUMENT) / name_of(b"a", "png")
    path.write_bytes(b"A")
    ((found, why),) = check_files(tmp_path / "files")
    assert (found, why) == (path, "is damaged: its 1 bytes do not match its name")
    assert "left out: 1 bytes, now in " in drop_file(found, tmp_path)
    assert list(check_files(tmp_path / "files")) == []
    assert await store.size(DOCUMENT, name_of(b"b", "png")) == 1
