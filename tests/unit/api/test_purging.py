"""What becomes of the files of documents that are deleted, restored and purged: FL6 of files.py, J22."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.support.images import png
from tests.unit.api.rest import rest

from raffia.errors import LaterError
from raffia.files.store import FolderFiles, directory_of
from raffia.journal.protocol import TRASH_MS
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.testing.contract import Clock


async def test_fl6_files_go_when_their_document_is_purged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock, files = Clock(), tmp_path / "files"

    def journal() -> SqliteJournal:
        return SqliteJournal(tmp_path, now_ms=clock, elapsed_ms=clock.elapsed_ms)

    async with rest(data=tmp_path, journal=journal()) as here:
        made = await here("POST", "/documents", 201, json={"kind": "board"})
        path = f"/documents/{made['id']}"
        url = (await here("POST", f"{path}/files", 201, content=png()))["url"]
        copied = await here("POST", f"{path}/duplicate", 201)
        of_copy = url.replace(made["id"], copied["id"])
        await here("DELETE", path, 204)
        assert (await here.client.get(url)).json()["error"]["reason"] == "deleted"
        clock.advance(TRASH_MS - 1)
        await here.raffia.hub.journal.prune()
        await here("POST", f"{path}/restore")
        assert (await here.client.get(url)).content == png()
        await here("DELETE", path, 204)
        clock.advance(TRASH_MS)
        real = FolderFiles._remove

        async def away(self: FolderFiles, shelf: str) -> None:
            raise LaterError("the folder is away")

        monkeypatch.setattr(FolderFiles, "_remove", away)
        await here.raffia.hub.journal.prune()
        await here("POST", f"{path}/restore", 403)  # purged, though its files are not removed yet
        monkeypatch.setattr(FolderFiles, "_remove", real)
    assert {folder.name for folder in files.iterdir()} == {directory_of(made["id"]), directory_of(copied["id"])}
    async with rest(data=tmp_path, journal=journal()) as here:
        await here.raffia.hub.journal.prune()
        assert [folder.name for folder in files.iterdir()] == [directory_of(copied["id"])]
        assert (await here.client.get(of_copy)).content == png()
