-- order_by: which lane of its sink a batch belongs to; 0 = its sink has none. Of
-- the claim's new records between its first and last it holds those of its lane.
ALTER TABLE batches ADD COLUMN lane INTEGER NOT NULL DEFAULT 0 CHECK (lane BETWEEN 0 AND 255);

-- The lanes of a claim's new records at a sink, a byte each, in order. They are
-- needed as long as the claim is open, to say whose a batch's records are when
-- their bytes are out of reach.
CREATE TABLE lanes (
    claim  INTEGER NOT NULL REFERENCES claims (id),
    sink   TEXT    NOT NULL,
    packed BLOB    NOT NULL,
    PRIMARY KEY (claim, sink)
) STRICT, WITHOUT ROWID;
