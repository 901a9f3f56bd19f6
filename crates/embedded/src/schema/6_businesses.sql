-- Which numbers at WeChat pay the same order of a shop.
CREATE TABLE businesses (
    mch_id      TEXT    NOT NULL,
    business_no TEXT    NOT NULL, -- the shop's own number
    numbers     TEXT    NOT NULL, -- out_trade_no, the earliest first, with a blank between each two
    first_paid  TEXT,             -- the out_trade_no whose payment came first; NULL before
    changed_at  INTEGER NOT NULL, -- milliseconds since 1970 UTC, by the ledger's clock
    PRIMARY KEY (mch_id, business_no)
) WITHOUT ROWID;
CREATE INDEX businesses_by_age ON businesses (changed_at);
INSERT INTO readme (text) VALUES
    ('businesses: which numbers at WeChat pay the same order of a shop, kept for 100 days after the last change.');
