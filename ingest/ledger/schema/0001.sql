-- Times are integer microseconds since 1970 UTC, modification times integer
-- nanoseconds. Names and paths are bytes as the file system has them.

CREATE TABLE meta (
    key   TEXT PRIMARY KEY,
    value ANY NOT NULL
) STRICT, WITHOUT ROWID;

-- What is remembered together: a pipeline's own name, or a shared one.
CREATE TABLE scopes (
    id   INTEGER PRIMARY KEY,
    name TEXT NOT NULL UNIQUE
) STRICT;

-- The settings that arrivals began under, by SHA-256.
CREATE TABLE snapshots (
    hash BLOB PRIMARY KEY,
    body BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE arrivals (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    pipeline     TEXT    NOT NULL,
    scope        INTEGER NOT NULL REFERENCES scopes (id),
    source       TEXT    NOT NULL,
    name         BLOB    NOT NULL,
    origin       BLOB    NOT NULL,
    path         BLOB    NOT NULL,
    size         INTEGER NOT NULL,
    mtime        INTEGER NOT NULL,
    device       INTEGER NOT NULL,
    inode        INTEGER NOT NULL,
    keep         INTEGER NOT NULL,
    replay_of    INTEGER,
    replay_first INTEGER,
    replay_last  INTEGER,
    replay_force INTEGER,
    state        TEXT    NOT NULL
        CHECK (state IN ('waiting', 'running', 'held', 'done', 'duplicate', 'failed')),
    starts       INTEGER NOT NULL DEFAULT 0,
    released     INTEGER NOT NULL DEFAULT 0,
    sha256       BLOB CHECK (sha256 IS NULL OR length(sha256) = 32),
    snapshot     BLOB REFERENCES snapshots (hash),
    found_at     INTEGER NOT NULL,
    started_at   INTEGER,
    finished_at  INTEGER,
    records      INTEGER NOT NULL DEFAULT 0,
    delivered    INTEGER NOT NULL DEFAULT 0,
    duplicate    INTEGER NOT NULL DEFAULT 0,
    filtered     INTEGER NOT NULL DEFAULT 0,
    dead         INTEGER NOT NULL DEFAULT 0,
    had          INTEGER NOT NULL DEFAULT 0,
    error        TEXT    NOT NULL DEFAULT '',
    away         TEXT    NOT NULL DEFAULT '' CHECK (away IN ('', 'move', 'delete', 'keep')),
    away_to      BLOB,
    put_away     INTEGER NOT NULL DEFAULT 0,
    pruning      INTEGER NOT NULL DEFAULT 0, -- its rows are being deleted, in pieces
    details      TEXT, -- how it was read, as JSON
    CHECK (state IN ('waiting', 'running', 'held') = (finished_at IS NULL)),
    CHECK (state IN ('waiting', 'running', 'held') OR
           records = delivered + duplicate + filtered + dead),
    CHECK (put_away = 0 OR finished_at IS NOT NULL)
) STRICT;
-- What a start has to look at again.
CREATE INDEX arrivals_unfinished ON arrivals (pipeline, id) WHERE put_away = 0;
-- "Was a file of this size, of this content, taken before?" is asked for every
-- file; those under way are few.
CREATE INDEX arrivals_content ON arrivals (scope, size, sha256) WHERE state = 'done';
CREATE INDEX arrivals_running ON arrivals (scope, size) WHERE state = 'running';
CREATE INDEX arrivals_origin ON arrivals (pipeline, origin);
-- For people's screens and for retention.
CREATE INDEX arrivals_found ON arrivals (pipeline, found_at);
CREATE INDEX arrivals_trouble ON arrivals (pipeline, id) WHERE state IN ('held', 'failed');
CREATE INDEX arrivals_replay ON arrivals (replay_of) WHERE replay_of IS NOT NULL;
CREATE INDEX arrivals_finished ON arrivals (finished_at) WHERE put_away = 1;

-- A claim judges one range of an arrival's records. Its counts are its share
-- of the arrival's books; a replay's are what it changed in them, known once it
-- is settled. Numbers are never used again: keys and outbox files outlive rows.
CREATE TABLE claims (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    arrival   INTEGER NOT NULL REFERENCES arrivals (id),
    scope     INTEGER NOT NULL REFERENCES scopes (id),
    first     INTEGER NOT NULL,
    last      INTEGER NOT NULL,
    state     TEXT    NOT NULL CHECK (state IN ('open', 'settled')),
    replay    INTEGER NOT NULL DEFAULT 0,
    verdicts  BLOB    NOT NULL,
    sinks     TEXT    NOT NULL,
    uncut     TEXT, -- sinks whose batches are still to be cut
    leaders   BLOB, -- open: whom its followers wait for, a varint each
    records   INTEGER NOT NULL,
    delivered INTEGER NOT NULL,
    duplicate INTEGER NOT NULL,
    filtered  INTEGER NOT NULL,
    dead      INTEGER NOT NULL,
    had       INTEGER NOT NULL,
    followers INTEGER NOT NULL, -- settled: how many of its records still wait
    CHECK (first >= 1 AND last >= first)
) STRICT;
CREATE INDEX claims_arrival ON claims (arrival, first);
CREATE INDEX claims_open ON claims (id) WHERE state = 'open';

-- The keys of a claim's new records, 16 bytes each, in order. While the claim
-- is open they are pending; once it is settled this row, less its dead
-- records' keys, is key memory, and stays when the claim's own row is pruned.
CREATE TABLE keys (
    claim  INTEGER PRIMARY KEY,
    scope  INTEGER NOT NULL REFERENCES scopes (id),
    seen   INTEGER NOT NULL,
    packed BLOB    NOT NULL CHECK (length(packed) % 16 = 0)
) STRICT;

-- Keys seen again when an eighth of their time had passed.
CREATE TABLE renewed (
    id     INTEGER PRIMARY KEY,
    scope  INTEGER NOT NULL REFERENCES scopes (id),
    seen   INTEGER NOT NULL,
    packed BLOB    NOT NULL CHECK (length(packed) % 16 = 0)
) STRICT;

-- Keys that some sinks have and others refused.
CREATE TABLE partial (
    scope INTEGER NOT NULL REFERENCES scopes (id),
    key   BLOB    NOT NULL,
    sinks TEXT    NOT NULL,
    seen  INTEGER NOT NULL,
    PRIMARY KEY (scope, key)
) STRICT, WITHOUT ROWID;

CREATE TABLE batches (
    id         INTEGER PRIMARY KEY AUTOINCREMENT,
    claim      INTEGER NOT NULL REFERENCES claims (id),
    arrival    INTEGER NOT NULL REFERENCES arrivals (id),
    sink       TEXT    NOT NULL,
    number     INTEGER NOT NULL,
    first      INTEGER NOT NULL,
    last       INTEGER NOT NULL,
    records    INTEGER NOT NULL,
    body_hash  BLOB    NOT NULL CHECK (length(body_hash) = 32),
    idem       BLOB    NOT NULL CHECK (length(idem) = 16),
    state      TEXT    NOT NULL
        CHECK (state IN ('open', 'due', 'delivered', 'dead', 'given_up', 'split')),
    attempts   INTEGER NOT NULL DEFAULT 0,
    uncertain  INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    due_at     INTEGER,
    settled_at INTEGER,
    status     INTEGER NOT NULL DEFAULT 0,
    answer     TEXT    NOT NULL DEFAULT '',
    had        INTEGER NOT NULL DEFAULT 0, -- the target had it already
    place_path TEXT,
    place      INTEGER,
    place_end  INTEGER,
    CHECK ((state = 'due') = (due_at IS NOT NULL)),
    CHECK ((state IN ('open', 'due')) = (settled_at IS NULL))
) STRICT;
CREATE INDEX batches_claim ON batches (claim);
CREATE INDEX batches_arrival ON batches (arrival, number);

-- Records that wait for another with the same key, of settled claims. Those of
-- open claims are in memory and read again after a crash.
CREATE TABLE waiting (
    id      INTEGER PRIMARY KEY,
    scope   INTEGER NOT NULL REFERENCES scopes (id),
    key     BLOB    NOT NULL,
    arrival INTEGER NOT NULL REFERENCES arrivals (id),
    claim   INTEGER NOT NULL, -- its arrival has not ended, so neither is pruned
    record  INTEGER NOT NULL,
    line    INTEGER NOT NULL,
    col     INTEGER NOT NULL,
    place   INTEGER NOT NULL,
    leader  INTEGER NOT NULL, -- the arrival of the record it waits for
    raw     BLOB    NOT NULL
) STRICT;
CREATE INDEX waiting_key ON waiting (scope, key);
CREATE INDEX waiting_arrival ON waiting (arrival);
CREATE INDEX waiting_leader ON waiting (leader);

CREATE TABLE dead (
    id        INTEGER PRIMARY KEY AUTOINCREMENT,
    arrival   INTEGER NOT NULL REFERENCES arrivals (id),
    claim     INTEGER NOT NULL REFERENCES claims (id),
    batch     INTEGER NOT NULL DEFAULT 0,
    record    INTEGER NOT NULL,
    line      INTEGER NOT NULL,
    col       INTEGER NOT NULL,
    place     INTEGER NOT NULL,
    stage     TEXT    NOT NULL CHECK (stage IN ('parse', 'shape', 'deliver')),
    sink      TEXT    NOT NULL DEFAULT '',
    reason    TEXT    NOT NULL,
    status    INTEGER NOT NULL DEFAULT 0,
    answer    TEXT    NOT NULL DEFAULT '',
    raw       BLOB    NOT NULL,
    key       BLOB,
    uncertain INTEGER NOT NULL DEFAULT 0,
    at        INTEGER NOT NULL,
    -- 'replaying' by claim `taken`; 'replayed' and 'dropped' ones are history.
    -- 'pruned': its bytes are gone, and it still counts as dead in the books.
    state     TEXT    NOT NULL DEFAULT 'dead'
        CHECK (state IN ('dead', 'replaying', 'replayed', 'dropped', 'pruned')),
    taken     INTEGER NOT NULL DEFAULT 0
) STRICT;
CREATE INDEX dead_arrival ON dead (arrival, record);
CREATE INDEX dead_claim ON dead (claim);
CREATE INDEX dead_key ON dead (key) WHERE key IS NOT NULL;
CREATE INDEX dead_now ON dead (arrival) WHERE state = 'dead';
CREATE INDEX dead_at ON dead (at) WHERE state <> 'pruned';
CREATE INDEX dead_taken ON dead (taken) WHERE state = 'replaying';

-- What happened to an arrival beside what its own columns say.
CREATE TABLE steps (
    id      INTEGER PRIMARY KEY,
    arrival INTEGER NOT NULL REFERENCES arrivals (id),
    at      INTEGER NOT NULL,
    what    TEXT    NOT NULL
) STRICT;
CREATE INDEX steps_arrival ON steps (arrival);
