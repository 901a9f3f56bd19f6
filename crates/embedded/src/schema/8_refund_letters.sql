-- The refund whose look left a letter, so that a replay looks at it, and not at the order's payment.
ALTER TABLE dead_letters ADD COLUMN out_refund_no TEXT;
