-- When a batch that was put off failed first: patience with it counts from there,
-- not from when it was cut. It may have waited long for its turn.
ALTER TABLE batches ADD COLUMN tried_at INTEGER;
