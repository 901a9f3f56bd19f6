-- What a dead registration said, so that it can be replayed.
ALTER TABLE dead_letters ADD COLUMN document TEXT;
