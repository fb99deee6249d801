-- Reports on arrivals for the partners who sent them: a row from the arrival's
-- end on, where its pipeline asks for one. One is due while written < version.
CREATE TABLE receipts (
    arrival  INTEGER PRIMARY KEY REFERENCES arrivals (id),
    pipeline TEXT    NOT NULL,
    version  INTEGER NOT NULL DEFAULT 1, -- counts up whenever the books change
    written  INTEGER NOT NULL DEFAULT 0, -- the version that was written last
    name     BLOB, -- chosen and stored before anything is written
    error    TEXT    NOT NULL DEFAULT '',
    CHECK (written <= version)
) STRICT;
CREATE UNIQUE INDEX receipts_name ON receipts (pipeline, name) WHERE name IS NOT NULL;
CREATE INDEX receipts_due ON receipts (pipeline, arrival) WHERE written < version;
