-- The payment that the state stands on, told or held back: what a day's bill is compared with.
ALTER TABLE orders ADD COLUMN paid_at INTEGER; -- WeChat's moment of success
ALTER TABLE orders ADD COLUMN paid_fee INTEGER;
ALTER TABLE orders ADD COLUMN paid_fee_type TEXT;
ALTER TABLE orders ADD COLUMN transaction_id TEXT;
UPDATE orders SET
    paid_at = CAST(strftime('%s', json_extract(detail, '$.payment.paid_at')) AS INTEGER) * 1000,
    paid_fee = json_extract(detail, '$.payment.total_fee'),
    paid_fee_type = coalesce(json_extract(detail, '$.payment.fee_type'), 'CNY'),
    transaction_id = json_extract(detail, '$.payment.transaction_id')
WHERE state IN ('mismatch', 'rejected', 'paid', 'refunded')
  AND json_extract(detail, '$.payment.paid_at') IS NOT NULL;
-- A day's payments are read from this index alone.
CREATE INDEX orders_paid ON orders (mch_id, paid_at, out_trade_no, state, transaction_id, paid_fee, paid_fee_type)
WHERE paid_at IS NOT NULL;
