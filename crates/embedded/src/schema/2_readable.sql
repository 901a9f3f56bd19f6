-- For people with sqlite3; times in UTC+8. The program reads none of these.

CREATE VIEW orders_readable AS
SELECT mch_id, out_trade_no, state, version, total_fee AS registered_fen, fee_type,
       datetime(created_at / 1000, 'unixepoch', '+8 hours') || ' +08:00' AS created_at,
       datetime(updated_at / 1000, 'unixepoch', '+8 hours') || ' +08:00' AS updated_at,
       datetime(due_at / 1000, 'unixepoch', '+8 hours') || ' +08:00' AS due_at, due_cause,
       datetime(lease_until / 1000, 'unixepoch', '+8 hours') || ' +08:00' AS leased_until,
       json_extract(detail, '$.payment.transaction_id') AS transaction_id,
       json_extract(detail, '$.payment.total_fee') AS paid_fen,
       coalesce(json_array_length(detail, '$.outgoing'), 0) AS events_outgoing,
       coalesce(json_array_length(detail, '$.history'), 0) AS history_entries
FROM orders;

CREATE VIEW events_readable AS
SELECT position, type, mch_id, json_extract(document, '$.subject') AS out_trade_no,
       json_extract(document, '$.data.transaction_id') AS transaction_id,
       json_extract(document, '$.data.total_fee') AS total_fen,
       datetime(appended_at / 1000, 'unixepoch', '+8 hours') || ' +08:00' AS appended_at, id
FROM events;

CREATE TABLE readme (line INTEGER PRIMARY KEY, text TEXT NOT NULL);
INSERT INTO readme (text) VALUES
    ('This is Paybell''s embedded store. Read it while Paybell runs; do not write to it.'),
    ('Times are milliseconds since 1970-01-01 UTC. Amounts are fen (1/100 yuan). detail and document are JSON.'),
    ('orders: what is known of each payment order. Start with the view orders_readable.'),
    ('events: what business services were told, in order. Start with the view events_readable.'),
    ('checks: orders that somebody asked to look at and that no worker has finished.'),
    ('dead_letters: checks that wait for a person: paybell dead list.'),
    ('order_counts, events_pruned: bookkeeping. PRAGMA user_version is the version of this schema.');
