-- The events of a bundle, an arrival that holds several: when each came, what
-- its sender calls it, its size, hash and range of records, packed.
CREATE TABLE bundles (
    arrival INTEGER PRIMARY KEY REFERENCES arrivals (id),
    events  INTEGER NOT NULL CHECK (events >= 0),
    packed  BLOB    NOT NULL
) STRICT;

-- What a target answered to an event whose sender waits for that, for a while.
CREATE TABLE answers (
    arrival INTEGER NOT NULL,
    event   INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    status  INTEGER NOT NULL,
    type    TEXT    NOT NULL,
    body    BLOB    NOT NULL,
    PRIMARY KEY (arrival, event)
) STRICT, WITHOUT ROWID;
CREATE INDEX answers_at ON answers (at);
