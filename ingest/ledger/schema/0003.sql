-- Answers record by record. members: which records of its range a batch holds,
-- where that is not all of the claim's new ones. outcomes: what became of each
-- record of a batch that was answered record by record; it stands as 'split',
-- since others may go on in a batch of their own. Both are verdicts,
-- run-length coded, one for each ordinal from first to last.
ALTER TABLE batches ADD COLUMN members BLOB;
ALTER TABLE batches ADD COLUMN outcomes BLOB;
