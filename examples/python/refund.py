#!/usr/bin/env python3
"""Has Paybell send money back, and waits a moment for the end. The number of the refund is the shop's own, and the same on
every try: WeChat refunds a number once. A token needs the scope `refunds`.

    PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... \\
      python3 refund.py 1900000109 T2026112000000001 R2026112000000001 500
"""

import os
import sys
import time
import urllib.parse

from paybell import demand, explain, order_path

# What a refund ends as. `abnormal`: the bank would not have it, and a person sends it from the merchant platform.
ENDS = ("succeeded", "abnormal", "closed", "refused")


def refund(mch_id, out_trade_no, out_refund_no, refund_fee):
    """The refund as it stands, or None where it was refused: then nothing moved."""
    wish = {"out_refund_no": out_refund_no, "refund_fee": refund_fee}  # In fen, never in yuan.
    status, answer = demand("POST", order_path(mch_id, out_trade_no, "/refunds?wait=5s"), wish)
    if status in (200, 201, 202):
        return answer
    # 409 refund-refused has WeChat's code, its cause and its remedy; then the same number again.
    explain(status, answer)
    return None


def wait_until_ended(mch_id, out_trade_no, out_refund_no, seconds):
    """For a terminal. A shop waits for refund.succeeded, refund.abnormal or refund.closed: it may take days."""
    path = order_path(mch_id, out_trade_no, "/refunds/" + urllib.parse.quote(out_refund_no, safe=""))
    until = time.monotonic() + seconds
    while True:
        _, answer = demand("GET", path)
        if answer.get("state") in ENDS or time.monotonic() > until:
            return answer.get("state")
        time.sleep(0.5)


def main():
    if len(sys.argv) != 5 or not sys.argv[4].isdigit():
        print("usage: refund.py MCH_ID OUT_TRADE_NO OUT_REFUND_NO REFUND_FEE_IN_FEN", file=sys.stderr)
        return 2
    mch_id, out_trade_no, out_refund_no, refund_fee = *sys.argv[1:4], int(sys.argv[4])
    if refund(mch_id, out_trade_no, out_refund_no, refund_fee) is None:
        return 1
    state = wait_until_ended(mch_id, out_trade_no, out_refund_no, int(os.environ.get("WAIT_S", "60")))
    print(f"{out_refund_no} is {state}")
    return 0 if state in ("asked", "processing", "succeeded") else 1


if __name__ == "__main__":
    sys.exit(main())
