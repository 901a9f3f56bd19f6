#!/usr/bin/env python3
"""Has Paybell place an order at WeChat, hands the payer what pays it, and waits until the shop knows it as paid. Without an
openid it is a QR code (NATIVE), with one the parameters of a page in WeChat (JSAPI).

The order becomes paid by order.paid and by nothing else: webhook.py or consumer.py takes it into the same DATABASE. What
the payer's device says proves nothing.

    PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... \\
      python3 place.py 1900000109 T2026112000000001 1999 'Tea shop - green tea' [OPENID]
"""

import json
import os
import sys
import time

from paybell import demand, explain, order_path
from shop import Shop


def place(mch_id, out_trade_no, total_fee, body, openid=None):
    """What the payer's device needs; nothing where the order is paid already; None where WeChat or Paybell refused. The
    same call may be repeated at any time: it is the same order, and gives the same while that is good."""
    wish = {"trade_type": "NATIVE", "total_fee": total_fee, "body": body}  # In fen, never in yuan.
    if openid:
        wish.update(trade_type="JSAPI", openid=openid)
    status, answer = demand("POST", order_path(mch_id, out_trade_no, "/place"), wish)
    if status in (200, 201):
        return answer["pay"]
    if answer.get("type", "").endswith(":order-paid"):
        return {}  # The payer was faster. order.paid comes, or came.
    # 409 different-order: the price or the text changed, so take a new number and name your own order in business_no,
    # which closes the old one. 504: still unknown; place it again, do not replace it.
    explain(status, answer)
    return None


def wait_until_paid(shop, mch_id, out_trade_no, seconds):
    """Looks where order.paid is stored. A page that the payer comes back to does the same, after one
    POST .../check?wait=5s, which has Paybell ask WeChat at once."""
    until = time.monotonic() + seconds
    while True:
        state = shop.state(mch_id, out_trade_no)
        if state != "new" or time.monotonic() > until:
            return state
        time.sleep(0.5)


def main():
    if len(sys.argv) not in (5, 6) or not sys.argv[3].isdigit():
        print("usage: place.py MCH_ID OUT_TRADE_NO TOTAL_FEE_IN_FEN BODY [OPENID]", file=sys.stderr)
        return 2
    mch_id, out_trade_no, total_fee, body = sys.argv[1], sys.argv[2], int(sys.argv[3]), sys.argv[4]
    openid = sys.argv[5] if len(sys.argv) == 6 else None
    shop = Shop(os.environ.get("DATABASE", "shop.db"))
    shop.add_order(mch_id, out_trade_no, total_fee)
    pay = place(mch_id, out_trade_no, total_fee, body, openid)
    if pay is None:
        return 1
    # A QR code is made of code_url as it is. A page gives `bridge` to WeixinJSBridge, as it is.
    if pay:
        print(pay["code_url"] if openid is None else json.dumps(pay["bridge"]), flush=True)
    state = wait_until_paid(shop, mch_id, out_trade_no, int(os.environ.get("WAIT_S", "900")))
    print(f"{out_trade_no} is {state}", flush=True)
    return 0 if state == "paid" else 1


if __name__ == "__main__":
    sys.exit(main())
