-- Version 1. Names, ids and offsets are as in docs/format.md; ids are their 16 bytes, buckets and keys their UTF-8 bytes
-- as blobs, so that every comparison is bytewise.

PRAGMA application_id = 0x52534243;  -- "RSBC"

-- One row: what would otherwise be counted or searched for.
CREATE TABLE state (
    id         INTEGER PRIMARY KEY CHECK (id = 1),
    floor      BLOB NOT NULL,     -- greatest version id whose key may no longer be known; zeros: none
    greatest   BLOB NOT NULL,     -- greatest version id ever reserved or committed; zeros: none
    versions   INTEGER NOT NULL,  -- rows of `versions`
    tombstones INTEGER NOT NULL,  -- live tombstones in `records`
    batches    INTEGER NOT NULL   -- rows of `batches`
) STRICT;
INSERT INTO state VALUES (1, zeroblob(16), zeroblob(16), 0, 0, 0);

CREATE TABLE batches (
    id        BLOB PRIMARY KEY,
    len_bytes INTEGER NOT NULL,
    copies    INTEGER NOT NULL,
    holders   TEXT NOT NULL,              -- JSON: [[backend, copy, doubtful], …]
    live      INTEGER NOT NULL DEFAULT 0  -- its live records
) STRICT, WITHOUT ROWID;
CREATE INDEX dead_batches ON batches (id) WHERE live = 0;

-- Every record, live or dead. kind: 0 a version, 1 a null version, 2 a bucket, 3 a tombstone without a target, 4 one
-- with a target, 5 one that takes the null versions before its target along.
CREATE TABLE records (
    batch    BLOB NOT NULL,
    at       INTEGER NOT NULL,  -- offset in bytes
    len      INTEGER NOT NULL,
    body_len INTEGER NOT NULL,
    kind     INTEGER NOT NULL,
    bucket   BLOB NOT NULL,
    key      BLOB NOT NULL,     -- empty for a bucket's record
    version  BLOB NOT NULL,
    revision INTEGER NOT NULL,
    target   BLOB,
    live     INTEGER NOT NULL,
    body     BLOB,              -- CBOR, of live buckets and tombstones (a live version's is in `versions`)
    PRIMARY KEY (batch, at)
) STRICT, WITHOUT ROWID;
CREATE INDEX records_by_name ON records (bucket, key, kind, live, version, revision);
CREATE INDEX records_by_target ON records (bucket, key, target) WHERE target IS NOT NULL;
CREATE INDEX live_buckets ON records (bucket, version) WHERE kind = 2 AND live = 1;
CREATE INDEX live_tombstones ON records (version) WHERE kind >= 3 AND live = 1;

-- The live versions, in the order of listings.
CREATE TABLE versions (
    bucket        BLOB NOT NULL,
    key           BLOB NOT NULL,
    version       BLOB NOT NULL,
    delete_marker INTEGER NOT NULL,
    latest        INTEGER NOT NULL,  -- 1 on its key's newest version, else 0
    batch         BLOB NOT NULL,
    at            INTEGER NOT NULL,
    len           INTEGER NOT NULL,
    body_len      INTEGER NOT NULL,
    body          BLOB NOT NULL,     -- CBOR
    PRIMARY KEY (bucket, key, version DESC)
) STRICT, WITHOUT ROWID;
CREATE INDEX objects ON versions (bucket, key) WHERE latest = 1 AND delete_marker = 0;

-- Which live versions point at a segment.
CREATE TABLE data_references (
    data_id BLOB NOT NULL,
    batch   BLOB NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (data_id, batch, at)
) STRICT, WITHOUT ROWID;

CREATE TABLE intents (
    version     BLOB PRIMARY KEY,
    batch       BLOB NOT NULL,
    bucket      BLOB NOT NULL,
    key         BLOB NOT NULL,
    conditional INTEGER NOT NULL,
    created_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX intents_by_name ON intents (bucket, key, version);

CREATE TABLE ledger (
    item  BLOB PRIMARY KEY,  -- 0 data id, index or 1 batch id, copy; the last as two big-endian bytes
    entry TEXT NOT NULL      -- JSON
) STRICT, WITHOUT ROWID;

CREATE TABLE named_values (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT, WITHOUT ROWID;
