-- What operators did. A number is never given twice, even after the newest row went.
CREATE TABLE acts (
    number  INTEGER PRIMARY KEY AUTOINCREMENT,
    at      INTEGER NOT NULL, -- milliseconds since 1970 UTC, by the ledger's clock
    who     TEXT    NOT NULL,
    peer    TEXT    NOT NULL,
    action  TEXT    NOT NULL,
    object  TEXT    NOT NULL,
    mch_id  TEXT,
    why     TEXT    NOT NULL,
    outcome TEXT              -- NULL while nobody knows what came of it
);
INSERT INTO readme (text) VALUES
    ('acts: what operators did, kept for 100 days at least: paybell operations list.');
