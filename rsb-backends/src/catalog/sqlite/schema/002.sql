-- Version 2. Multipart uploads; names and ids as in version 1.

-- Open uploads, and completed ones that are still remembered.
CREATE TABLE uploads (
    id     BLOB PRIMARY KEY,
    bucket BLOB NOT NULL,
    key    BLOB NOT NULL,
    open   INTEGER NOT NULL,
    body   BLOB NOT NULL      -- CBOR
) STRICT, WITHOUT ROWID;
CREATE INDEX open_uploads ON uploads (bucket, key, id) WHERE open = 1;

-- The parts of open uploads.
CREATE TABLE parts (
    upload BLOB NOT NULL,
    number INTEGER NOT NULL,
    body   BLOB NOT NULL,     -- CBOR
    PRIMARY KEY (upload, number)
) STRICT, WITHOUT ROWID;

-- Which parts point at a segment.
CREATE TABLE part_references (
    data_id BLOB NOT NULL,
    upload  BLOB NOT NULL,
    number  INTEGER NOT NULL,
    PRIMARY KEY (data_id, upload, number)
) STRICT, WITHOUT ROWID;
