-- What people were told and what is not over yet, by the sink that tells.
CREATE TABLE alerts (
    sink     TEXT    NOT NULL,
    key      TEXT    NOT NULL,
    kind     TEXT    NOT NULL,
    severity TEXT    NOT NULL,
    pipeline TEXT    NOT NULL,
    arrival  INTEGER NOT NULL,
    name     BLOB    NOT NULL,
    message  TEXT    NOT NULL,
    action   TEXT    NOT NULL,
    since    INTEGER NOT NULL,
    opened   INTEGER NOT NULL,
    told     INTEGER,
    said     INTEGER NOT NULL CHECK (said >= 0 AND (said = 0) = (told IS NULL)),
    mark     INTEGER NOT NULL,
    PRIMARY KEY (sink, key)
) STRICT, WITHOUT ROWID;

-- Since when an expectation of a pipeline is watched: what was due before
-- cannot be missing.
CREATE TABLE expectations (
    pipeline    TEXT    NOT NULL,
    expectation TEXT    NOT NULL,
    since       INTEGER NOT NULL,
    PRIMARY KEY (pipeline, expectation)
) STRICT, WITHOUT ROWID;
