-- Times are milliseconds since 1970-01-01 UTC; amounts are fen; `detail` and `document` are JSON.

-- One row per order. A row with total_fee is registered. A row that is pending, leased or has outgoing events always
-- has due_at.
CREATE TABLE orders (
    mch_id          TEXT    NOT NULL,
    out_trade_no    TEXT    NOT NULL,
    state           TEXT    NOT NULL, -- pending unpaid closed failed mismatch rejected paid refunded
    version         INTEGER NOT NULL, -- rises with every event
    created_at      INTEGER NOT NULL, -- the cadence counts from here
    updated_at      INTEGER NOT NULL,
    total_fee       INTEGER,          -- registered amount
    fee_type        TEXT,
    appid           TEXT,
    sub_mch_id      TEXT,
    expires_at      INTEGER,
    due_at          INTEGER,          -- when the order is looked at next
    due_cause       TEXT,             -- cadence notified registered accepted manual billed outgoing
    claim           INTEGER NOT NULL, -- raised by every claim and every commit
    lease_token     TEXT,
    lease_until     INTEGER,
    lease_committed INTEGER,          -- 1: committed, only the clear is missing
    facts           INTEGER NOT NULL DEFAULT 0, -- raised by registering, accept and reject
    leases_lost     INTEGER NOT NULL DEFAULT 0,
    detail          TEXT,             -- progress, verdict, payment, outgoing, due_decided, look_again, history
    PRIMARY KEY (mch_id, out_trade_no)
) WITHOUT ROWID;

-- Two due sets: a backlog of polls never delays a notification.
CREATE INDEX orders_due_urgent ON orders (due_at) WHERE due_at IS NOT NULL AND due_cause <> 'cadence';
CREATE INDEX orders_due_cadence ON orders (due_at) WHERE due_at IS NOT NULL AND due_cause = 'cadence';
-- Listings by state, and the sum of what is unconfirmed; most rows are paid, and those are found without an index.
CREATE INDEX orders_not_paid ON orders (state, mch_id, out_trade_no, created_at, total_fee) WHERE state <> 'paid';
-- Retention.
CREATE INDEX orders_at_rest ON orders (updated_at) WHERE due_at IS NULL;

-- How many rows of orders have each state; kept in the transaction that changes them.
CREATE TABLE order_counts (
    state  TEXT    NOT NULL PRIMARY KEY,
    orders INTEGER NOT NULL
) WITHOUT ROWID;

-- Checks that wait or are in hand.
CREATE TABLE checks (
    id       INTEGER PRIMARY KEY AUTOINCREMENT,
    lane     TEXT NOT NULL, -- urgent cadence
    document TEXT NOT NULL
);
CREATE INDEX checks_cadence ON checks (id) WHERE lane = 'cadence';

-- What was emitted, in order.
CREATE TABLE events (
    position    INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT    NOT NULL UNIQUE,
    type        TEXT    NOT NULL,
    mch_id      TEXT    NOT NULL,
    appended_at INTEGER NOT NULL,
    document    TEXT    NOT NULL
);

-- Checks that wait for a person.
CREATE TABLE dead_letters (
    id           TEXT    NOT NULL PRIMARY KEY,
    mch_id       TEXT    NOT NULL,
    out_trade_no TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    detail       TEXT    NOT NULL,
    count        INTEGER NOT NULL,
    first_at     INTEGER NOT NULL,
    last_at      INTEGER NOT NULL
) WITHOUT ROWID;

-- The newest event that retention removed; no row while nothing was.
CREATE TABLE events_pruned (
    only_row INTEGER NOT NULL PRIMARY KEY CHECK (only_row = 1),
    position INTEGER NOT NULL,
    id       TEXT    NOT NULL
);
