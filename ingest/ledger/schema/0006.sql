-- Whether a batch was put off because its target asked for silence: nothing of
-- its pipeline goes there before, whoever asks. What an older ingestd had put off
-- may have been.
ALTER TABLE batches ADD COLUMN silence INTEGER NOT NULL DEFAULT 0;
UPDATE batches SET silence = 1 WHERE state = 'due';
