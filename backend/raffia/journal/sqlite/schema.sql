-- The tables of raffia.sqlite, format 2. docs/formats.md describes them; any change is a new format.
-- rows.py says what the checksums cover. They are near the front of a row, where a scan of a damaged file finds them.
-- PRAGMA application_id ('Raff') and user_version (the format) are set together with these in one transaction.

CREATE TABLE documents (
    key            INTEGER PRIMARY KEY,                -- follows from the name, see rows.py
    checksum       BLOB    NOT NULL,                   -- 4 bytes
    edited_checksum BLOB   NOT NULL,                   -- 4 bytes, of edited_ms and updated_by
    name           TEXT    NOT NULL UNIQUE,
    created_ms     INTEGER NOT NULL,
    updated_ms     INTEGER NOT NULL,
    deleted_ms     INTEGER,                            -- the tombstone; NULL while the document lives
    purged         INTEGER NOT NULL DEFAULT 0,         -- 1: only the tombstone is left
    title          TEXT,
    kind           TEXT,
    last           INTEGER NOT NULL DEFAULT 0,         -- position of the last entry
    last_inverted  INTEGER NOT NULL DEFAULT -1,        -- ~last
    folded         INTEGER NOT NULL DEFAULT 0,         -- position the present snapshot goes up to; 0: there is none
    folded_ms      INTEGER NOT NULL DEFAULT 0,         -- time of the last folded edit, never going back
    complete_from  INTEGER NOT NULL DEFAULT 0,         -- the history before this position is gone
    segments       INTEGER NOT NULL DEFAULT 0,         -- how many there are: an index that is damaged may hide some
    history_ms     INTEGER,                            -- window of the oldest segment; NULL: there is none
    snapshot_bytes INTEGER NOT NULL DEFAULT 0,
    tail_bytes     INTEGER NOT NULL DEFAULT 0,         -- bodies of the entries after `folded`
    history_bytes  INTEGER NOT NULL DEFAULT 0,         -- segments and older snapshots
    updated_by       TEXT,                             -- author of the last edit; NULL: anonymous
    edited_ms        INTEGER NOT NULL DEFAULT 0,       -- updated_ms, some seconds late: what the listing is ordered by
    schema           INTEGER,
    links_generation INTEGER NOT NULL DEFAULT 0,       -- links of an older one open nothing
    link_read_ms     INTEGER,                          -- when the link was made; NULL: there is none
    link_edit_ms     INTEGER,
    cleared          INTEGER NOT NULL DEFAULT 0        -- 1: purged, and its files are removed
);
CREATE INDEX documents_edited ON documents (edited_ms, name);
CREATE INDEX documents_history ON documents (history_ms) WHERE history_ms IS NOT NULL;
-- With `purged`, so that a scan can tell its entries from those of the other indexes.
CREATE INDEX documents_deleted ON documents (deleted_ms, purged) WHERE deleted_ms IS NOT NULL;

-- The tail. Rows at or before documents.folded are left-overs of a compaction and mean nothing.
CREATE TABLE entries (
    document INTEGER NOT NULL,
    position INTEGER NOT NULL,
    checksum BLOB    NOT NULL,
    time_ms  INTEGER NOT NULL,                         -- of the last edit of the batch
    body     BLOB    NOT NULL,                         -- a batch, see entries.py
    PRIMARY KEY (document, position)
) WITHOUT ROWID;

-- In a trigger, so that an append is one statement: one turn through the interpreter lock instead of four.
CREATE TRIGGER entries_counted AFTER INSERT ON entries BEGIN
    UPDATE documents
       SET last = NEW.position, last_inverted = ~NEW.position,
           updated_ms = max(updated_ms, NEW.time_ms), tail_bytes = tail_bytes + length(NEW.body)
     WHERE key = NEW.document;
END;

-- Large values in pieces: the rowid is blob << 20 | number of the piece. A blob that nothing names and that is not in
-- `staging` does not exist; one in `staging` belongs to a write that was cut short, and is dropped at the next start.
CREATE TABLE pieces (
    id       INTEGER PRIMARY KEY,
    checksum BLOB    NOT NULL,
    document INTEGER NOT NULL,
    bytes    BLOB    NOT NULL
);
CREATE TABLE staging (blob INTEGER PRIMARY KEY);

-- Written by `healthy` while the last commit failed.
CREATE TABLE probe (count INTEGER NOT NULL);
INSERT INTO probe VALUES (0);

CREATE TABLE snapshots (
    document    INTEGER NOT NULL,
    upto        INTEGER NOT NULL,                      -- equal to documents.folded: the current one; else a base snapshot
    checksum    BLOB    NOT NULL,
    time_ms     INTEGER NOT NULL,                      -- of its last edit
    state       INTEGER NOT NULL,                      -- blob
    state_bytes INTEGER NOT NULL,
    aside       INTEGER NOT NULL,                      -- blob: the index beside the state
    aside_bytes INTEGER NOT NULL,
    PRIMARY KEY (document, upto)
) WITHOUT ROWID;

CREATE TABLE segments (
    id        INTEGER PRIMARY KEY,
    checksum  BLOB    NOT NULL,
    document  INTEGER NOT NULL,
    first     INTEGER NOT NULL,                        -- positions of the entries it was made of
    last      INTEGER NOT NULL,
    window_ms INTEGER NOT NULL,
    author    TEXT,
    blob      INTEGER NOT NULL,                        -- a list of updates, see entries.py
    bytes     INTEGER NOT NULL
);
CREATE INDEX segments_document ON segments (document, window_ms);

CREATE TABLE versions (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    checksum BLOB    NOT NULL,
    document INTEGER NOT NULL,
    time_ms  INTEGER NOT NULL,
    authors  TEXT    NOT NULL,                         -- JSON list of strings
    name     TEXT,
    blob     INTEGER NOT NULL,
    bytes    INTEGER NOT NULL
);
CREATE INDEX versions_document ON versions (document, time_ms);

-- What was revoked up to a certain time.
CREATE TABLE revocations (
    kind      TEXT    NOT NULL,
    subject   TEXT    NOT NULL,
    checksum  BLOB    NOT NULL,
    before_ms INTEGER NOT NULL,
    until_ms  INTEGER,                                 -- NULL: never forgotten
    PRIMARY KEY (kind, subject)
) WITHOUT ROWID;

-- At most one row: the time that has certainly passed, see raffia.journal.passed_time.
CREATE TABLE passed_time (checksum BLOB NOT NULL, passed_ms INTEGER NOT NULL);
