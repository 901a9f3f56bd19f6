-- Small documents that roles keep across restarts: where each webhook stands.
CREATE TABLE notes (
    name    TEXT    NOT NULL PRIMARY KEY,
    version INTEGER NOT NULL, -- 1, then one more with every text
    text    TEXT    NOT NULL
);
INSERT INTO readme (text) VALUES ('notes: what roles keep for themselves, such as where each webhook stands.');
