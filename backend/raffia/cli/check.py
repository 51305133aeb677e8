"""`raffia check`: read every document in a data folder or a Redis and, with `--repair`, repair damaged ones.

No server may use the folder. With Redis, servers may run (RMT1-RMT4 of `journal/redis/maintenance.py`).

Rules (tests quote these ids):
    CK1  A document is read as the hub reads it, and then its bytes are checked: the strict reader accepts them, they
        are gap-free, and their clocks and deletes are those in the snapshot's index. Its history and its versions are
        checked too.
    CK2  A damaged document does not end the check: each one is reported, with the error and its sizes.
    CK4  A rebuilt document is read back like any other before it is stored. A document of which nothing can be read is
        left as it is: replacing it by an empty one would not help.
    CK5  Where possible, single changed bits are corrected in place, which loses nothing. Any other repair ends the
        document's history; versions that can be read are kept. What was kept and what was left out is reported.
    CK6  Damage to the file itself (its header, schema, pages, indexes, rows of its tables) is reported first. A repair
        rebuilds the file from every row that can be found, before the documents are checked.
    CK7  With Redis, the listing is checked instead of a file. Copies of the original data go to `quarantine` in the
         folder given with `--data`, or else in the current folder.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from raffia.cli.failure import reported
from raffia.cli.quarantine import set_aside
from raffia.cli.repair import repair as rebuild_document
from raffia.crdt.document import Document
from raffia.errors import (
    DamagedStoreError,
    DataFolderInUseError,
    JournalUnavailableError,
    RaffiaError,
    SettingsError,
    UpdateError,
)
from raffia.files.store import FOLDER
from raffia.files.verify import check_files, drop_file
from raffia.journal import Loaded
from raffia.journal.redis.client import open_engine
from raffia.journal.redis.maintenance import RedisMaintenance
from raffia.journal.sqlite.database import DATABASE, MARKER
from raffia.journal.sqlite.journal import SqliteJournal
from raffia.journal.sqlite.rebuild import rebuild
from raffia.rooms.durable.loading import build_document
from raffia.runtime.logs import configure_logging
from raffia.settings import Settings, load_settings
from raffia.types import DocumentId

Report = Callable[[str], None]
Checked = SqliteJournal | RedisMaintenance


@dataclass(slots=True)
class Findings:
    """The result of a check.

    Attributes:
        documents: number of documents checked; deleted ones are skipped.
        damaged: how many of them could not be read.
        repaired: how many of those were repaired.
        file_damage: number of problems with the file itself that were not repaired.
        files: number of damaged uploaded files that are still in their place.
        listing: number of problems with the listing in Redis that were not repaired.
    """

    documents: int = 0
    damaged: int = 0
    repaired: int = 0
    file_damage: int = 0
    files: int = 0
    listing: int = 0

    @property
    def is_well(self) -> bool:
        """Whether everything can be read now."""
        return self.damaged == self.repaired and not self.file_damage and not self.files and not self.listing


def check(
    data: Annotated[
        str | None,
        typer.Option(
            metavar="TEXT", help="Data folder. With --redis: where copies of damaged data go. [default: raffia-data]"
        ),
    ] = None,
    redis: Annotated[
        str | None,
        typer.Option(metavar="TEXT", help="Check this Redis; servers may run. [default: RAFFIA_REDIS, without --data]"),
    ] = None,
    redis_prefix: Annotated[
        str | None, typer.Option(metavar="TEXT", help="As in raffia serve. [default: raffia]")
    ] = None,
    keep_deleted: Annotated[
        bool | None,
        typer.Option("--keep-deleted/--no-keep-deleted", show_default=False, help="As in raffia serve. [default: off]"),
    ] = None,
    repair: Annotated[
        bool, typer.Option("--repair", help="Repair damaged documents; a copy of the original data is kept.")
    ] = False,
) -> None:
    """Read every document and report those that cannot be read. Stop the server first, except with Redis.

    Exit status 0: everything can be read; 1: something is damaged or unavailable; 2: the check could not run.
    """
    flags = {"data": data, "redis": redis, "redis_prefix": redis_prefix, "keep_deleted": keep_deleted}
    with reported():
        settings = load_settings(**{name: value for name, value in flags.items() if value is not None})
        configure_logging(settings.log_level, settings.log_format)
        if redis is not None or (settings.redis is not None and data is None):
            folder = Path.cwd() if data is None else settings.data
            findings = check_redis(settings, repair=repair, report=typer.echo, folder=folder)
        else:
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
    if not any((settings.data / name).is_file() for name in (DATABASE, MARKER)):
        raise SettingsError(f"there is no {DATABASE} in {settings.data}; name the data folder with --data")
    return asyncio.run(_check_folder(settings, repair=repair, report=report))


def check_redis(settings: Settings, *, repair: bool, report: Report, folder: Path) -> Findings:
    """Check the Redis that the settings name (CK7).

    Args:
        settings: `redis`, `redis_prefix`, `redis_timeout_s` and `keep_deleted` are used.
        repair: whether to repair damaged documents.
        report: called with one line of text at a time.
        folder: where the original data of damaged documents is copied to, below `quarantine`.

    Raises:
        SettingsError: there is no Raffia data in this Redis, or its URL is invalid.
        JournalUnavailableError: Redis does not answer.
    """
    return asyncio.run(_check_redis(settings, repair=repair, report=report, folder=folder))


async def _check_redis(settings: Settings, *, repair: bool, report: Report, folder: Path) -> Findings:
    if settings.redis is None:
        raise SettingsError("name the Redis to check with --redis")
    engine = open_engine(settings.redis.get_secret_value(), timeout_s=settings.redis_timeout_s)
    async with RedisMaintenance(engine, prefix=settings.redis_prefix, folder=folder) as journal:
        findings = Findings()
        for line in await journal.listing_problems(repair=repair):
            report(f"{line}{'; corrected' if repair else ''}")
            findings.listing += not repair
        return await check_journal(
            journal, keep_deleted=settings.keep_deleted, repair=repair, report=report, findings=findings
        )


async def _check_folder(settings: Settings, *, repair: bool, report: Report) -> Findings:
    try:
        problems = await _problems(settings)
        for line in problems:
            report(line)
        findings = Findings(file_damage=len(problems))
        if problems and repair:
            _rebuild(settings, report)
            findings.file_damage = 0
        await _check_files(settings, findings, repair, report)
        async with SqliteJournal(settings.data) as journal:
            return await check_journal(
                journal, keep_deleted=settings.keep_deleted, repair=repair, report=report, findings=findings
            )
    except DataFolderInUseError as error:
        who = str(error).rpartition(";")[0]
        raise DataFolderInUseError(f"{who}; stop it first: a check needs exclusive access to the folder") from error
    except DamagedStoreError as error:
        if not findings.file_damage:  # it was not found by the first look
            report(str(error))
            findings.file_damage += 1
        report(_summary(findings, repair))
        return findings


async def _problems(settings: Settings) -> list[str]:
    """Return what is wrong with the file itself (CK6)."""
    try:
        async with SqliteJournal(settings.data) as journal:
            return await journal.problems()
    except DataFolderInUseError:
        raise
    except DamagedStoreError as error:
        return [str(error)]
    except RaffiaError as error:
        if isinstance(error, SettingsError | JournalUnavailableError):
            raise
        return [str(error)]


def _rebuild(settings: Settings, report: Report) -> None:
    try:
        for line in rebuild(settings.data):
            report(f"  {line}")
    except (OSError, sqlite3.Error) as error:
        raise JournalUnavailableError(f"the file cannot be rebuilt: {error}") from error


async def _check_files(settings: Settings, findings: Findings, repair: bool, report: Report) -> None:
    """Check the uploaded files in the data folder."""
    folder = settings.data / FOLDER
    for path, why in check_files(folder):
        findings.files += 1
        report(f"{path.relative_to(settings.data)}: {why}")
        if repair:
            try:
                report(f"  {drop_file(path, settings.data)}")
                findings.files -= 1
            except OSError as error:
                report(f"  not repaired: {error}")


async def check_journal(
    journal: Checked, *, keep_deleted: bool, repair: bool, report: Report, findings: Findings | None = None
) -> Findings:
    """Check all documents of an open journal, as `check_folder` does."""
    findings = Findings() if findings is None else findings
    for document in await journal.names():
        findings.documents += 1
        trouble = await _trouble(journal, document, keep_deleted)
        if not trouble:
            continue
        findings.damaged += 1
        row = await journal.row(document)
        report(
            f"{document}: {trouble} (snapshot {row.snapshot_bytes} bytes, log {row.tail_bytes} bytes, "
            f"history {row.history_bytes} bytes, position {row.last})"
        )
        if repair and await _repair(journal, document, keep_deleted, report):
            findings.repaired += 1
    report(_summary(findings, repair))
    return findings


async def _trouble(journal: Checked, document: DocumentId, keep_deleted: bool) -> str | None:
    """Return what is wrong with a document (CK1); None if nothing is."""
    try:
        examine(await journal.load(document), keep_deleted=keep_deleted)
        stored = await journal.stored(document)
        damaged = sum(not one.is_whole for one in stored.snapshots) + sum(not one.is_whole for one in stored.segments)
        if damaged:
            return f"{damaged} parts of its history are damaged"
        await journal.history.windows(document)
        versions = await journal.damaged_versions(document)
        if versions:
            return "; ".join(f"version {number} is damaged: {why}" for number, why in versions)
    except RaffiaError as error:  # CK2
        return str(error)
    return None


def _summary(findings: Findings, repair: bool) -> str:
    count = f"{findings.documents} document{'' if findings.documents == 1 else 's'} checked"
    if findings.file_damage:
        return f"{count}: {DATABASE} is damaged; raffia check --repair rebuilds it from what can be read"
    files = f"; {findings.files} uploaded files damaged" if findings.files else ""
    files += "; the listing is damaged: raffia check --repair corrects it" if findings.listing else ""
    if not findings.damaged:
        return f"{count}: all can be read{files}"
    if repair:
        return f"{count}: {findings.damaged} damaged, {findings.repaired} of them repaired{files}"
    return f"{count}: {findings.damaged} damaged; raffia check --repair recovers what can be read{files}"


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


async def _repair(journal: Checked, document: DocumentId, keep_deleted: bool, report: Report) -> bool:
    """Copy what is stored, mend or rebuild the document and store it; returns whether it can be read now."""
    try:
        stored = await journal.stored(document)
        folder = set_aside(stored, journal.folder)
        report(f"  the original data is in {folder}")
        for line in await journal.mend(document):
            report(f"  corrected: {line}")
        for number, why in await journal.damaged_versions(document):
            report(f"  left out: {await journal.drop_version(document, number)}: {why}")
        if await _trouble(journal, document, keep_deleted) is None:
            report("  repaired")
            return True
        stored = await journal.stored(document)
        rescued = rebuild_document(stored, keep_deleted=keep_deleted)
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
