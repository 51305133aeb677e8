"""`raffia check`: read every document in a data folder and, with `--repair`, repair damaged ones; no server may run.

Rules (tests quote these ids):
    CK1  A document is read as the hub reads it, and then again from its merged bytes alone: the strict reader has to
        accept them, they have to be gap-free, and their clocks and deletes have to match the snapshot's index.
    CK2  A damaged document does not stop the check: each one is reported, with the error and its sizes.
    CK4  A repaired document is checked like any other, before and after it is stored. If nothing of a document can be
        read, it is left as it is: replacing it with an empty one would not help.
    CK5  A repair discards the document's history and keeps its versions. It reports what it kept and what it left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from raffia.cli.failure import reported
from raffia.cli.quarantine import set_aside
from raffia.cli.repair import repair as rebuild
from raffia.crdt.document import Document
from raffia.errors import DataFolderInUseError, RaffiaError, SettingsError, UpdateError
from raffia.journal import DocumentInfo, Loaded
from raffia.journal.sqlite.database import DATABASE
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.rooms.durable.loading import build_document
from raffia.runtime.logs import configure_logging
from raffia.settings import Settings, load_settings
from raffia.types import DocumentId

PAGE = 200

Report = Callable[[str], None]


@dataclass(slots=True)
class Findings:
    """The result of a check.

    Attributes:
        documents: number of documents checked; deleted ones are skipped.
        damaged: how many of them could not be read.
        repaired: how many of the damaged ones were repaired.
    """

    documents: int = 0
    damaged: int = 0
    repaired: int = 0

    @property
    def is_well(self) -> bool:
        """Whether every document can be read now."""
        return self.damaged == self.repaired


def check(
    data: Annotated[str | None, typer.Option(metavar="TEXT", help="Data folder. [default: raffia-data]")] = None,
    keep_deleted: Annotated[
        bool | None,
        typer.Option("--keep-deleted/--no-keep-deleted", show_default=False, help="As in raffia serve. [default: off]"),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair damaged documents; a copy of the original data is kept.")
    ] = False,
) -> None:
    """Read every document while no server is running, and report those that cannot be read.

    Exit status 0: all documents can be read; 1: something is damaged or unavailable; 2: the check could not run.
    """
    flags = {"data": data, "keep_deleted": keep_deleted}
    with reported():
        settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
        configure_logging(settings.log_level, settings.log_format)
        findings = check_folder(settings, repair=repair, report=typer.echo)
    if not findings.is_well:
        raise typer.Exit(1)


def check_folder(settings: Settings, *, repair: bool, report: Report) -> Findings:
    """Check the data folder that the settings name.

    Args:
        settings: `data` and `keep_deleted` are used.
        repair: whether to repair damaged documents.
        report: called with one line of text at a time.

    Raises:
        SettingsError: there is no data folder, or a server is using it.
        JournalUnavailableError: the journal cannot be opened, or cannot list its documents.
    """
    if not (settings.data / DATABASE).is_file():
        raise SettingsError(f"there is no {DATABASE} in {settings.data}; name the data folder with --data")
    return asyncio.run(_check_folder(settings, repair=repair, report=report))


async def _check_folder(settings: Settings, *, repair: bool, report: Report) -> Findings:
    journal = SqliteJournal(settings.data)
    try:
        async with journal:
            return await check_journal(journal, keep_deleted=settings.keep_deleted, repair=repair, report=report)
    except DataFolderInUseError as error:
        who = str(error).rpartition(";")[0]
        raise DataFolderInUseError(f"{who}; stop it first: a check needs exclusive access to the folder") from error


async def check_journal(journal: SqliteJournal, *, keep_deleted: bool, repair: bool, report: Report) -> Findings:
    """Check all documents of an open journal, as `check_folder` does."""
    findings = Findings()
    async for info in _documents(journal):
        findings.documents += 1
        try:
            examine(await journal.load(info.document), keep_deleted=keep_deleted)
        except RaffiaError as error:  # CK2
            findings.damaged += 1
            report(
                f"{info.document}: {error} (snapshot {info.snapshot_bytes} bytes, log {info.tail_bytes} bytes, "
                f"history {info.history_bytes} bytes, position {info.position})"
            )
            if repair and await _repair(journal, info.document, keep_deleted, report):
                findings.repaired += 1
    report(_summary(findings, repair))
    return findings


async def _documents(journal: SqliteJournal) -> AsyncIterator[DocumentInfo]:
    after: str | None = ""
    while after is not None:
        listing = await journal.directory.documents(after=after, limit=PAGE)
        for info in listing.documents:
            yield info
        after = listing.following


def _summary(findings: Findings, repair: bool) -> str:
    count = f"{findings.documents} document{'' if findings.documents == 1 else 's'} checked"
    if not findings.damaged:
        return f"{count}: all can be read"
    if repair:
        return f"{count}: {findings.damaged} damaged, {findings.repaired} of them repaired"
    return f"{count}: {findings.damaged} damaged; raffia check --repair recovers what can be read"


def examine(loaded: Loaded, *, keep_deleted: bool) -> Document:
    """Read a document as a server does, and compare it with its index (CK1).

    Raises:
        UpdateError, CrdtError, TooLargeError: it cannot be read, or does not match its index.
    """
    document = build_document(loaded, keep_deleted=keep_deleted)
    again = Document.from_state(document.merged(), keep_deleted=keep_deleted)
    for client in document.clocks.keys() | again.clocks.keys():
        indexed, held = document.clocks.get(client, 0), again.clocks.get(client, 0)
        if indexed != held:
            raise UpdateError(f"the state of client {client} ends at clock {held}, but its index says {indexed}")
    if document.deletes != again.deletes:
        raise UpdateError(f"the state has {again.deletes.total} deletes, but its index says {document.deletes.total}")
    return document


async def _repair(journal: SqliteJournal, document: DocumentId, keep_deleted: bool, report: Report) -> bool:
    """Copy what is stored, rebuild the document and store it; returns whether it can be read now."""
    try:
        stored = await journal.stored(document)
        folder = set_aside(stored, journal.folder)
        report(f"  the original data is in {folder}")
        rescued = rebuild(stored, keep_deleted=keep_deleted)
        for line in rescued.kept:
            report(f"  kept: {line}")
        for line in rescued.lost:
            report(f"  left out: {line}")
        if rescued.is_empty:  # CK4
            report("  not repaired: nothing of it can be read; restore a backup, or delete it")
            return False
        snapshot = rescued.snapshot()
        examine(Loaded(snapshot, [], stored.position), keep_deleted=keep_deleted)
        await journal.replace_all(document, snapshot)
        examine(await journal.load(document), keep_deleted=keep_deleted)
    except (RaffiaError, OSError) as error:
        report(f"  not repaired: {error}")
        return False
    report(f"  repaired: {len(snapshot.state)} bytes; its history starts over")
    return True
