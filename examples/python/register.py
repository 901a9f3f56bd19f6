#!/usr/bin/env python3
"""Stores an order and registers it with Paybell, before the payer is asked to pay. From then on Paybell compares every
payment with this amount, and asks WeChat even if no notification ever comes.

    PAYBELL_API=http://127.0.0.1:8081 PAYBELL_TOKEN=... python3 register.py 1900000109 T2026112000000001 1999
"""

import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request

from shop import Shop


def register(api, token, mch_id, out_trade_no, total_fee):
    """True if Paybell knows the order with this amount now. The same call may be repeated at any time."""
    path = "/".join(urllib.parse.quote(part, safe="") for part in (mch_id, out_trade_no))
    headers = {"Content-Type": "application/json"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = json.dumps({"total_fee": total_fee}).encode()  # In fen, never in yuan.
    request = urllib.request.Request(f"{api}/v1/orders/{path}", data=body, headers=headers, method="PUT")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            print("registered" if response.status == 201 else "was registered already")
            return True
    except urllib.error.HTTPError as refusal:
        # 409: registered with another amount. Repeating does not help: use a new out_trade_no for a new price.
        print(f"HTTP {refusal.code}: {refusal.read().decode()}", file=sys.stderr)
    except urllib.error.URLError as error:
        # The order can still be sold: its payment is found by the notification, with registered: false.
        print(f"Paybell is away: {error.reason}", file=sys.stderr)
    return False


def main():
    mch_id, out_trade_no, total_fee = sys.argv[1], sys.argv[2], int(sys.argv[3])
    Shop(os.environ.get("DATABASE", "shop.db")).add_order(mch_id, out_trade_no, total_fee)
    api = os.environ.get("PAYBELL_API", "http://127.0.0.1:8081").rstrip("/")
    return 0 if register(api, os.environ.get("PAYBELL_TOKEN"), mch_id, out_trade_no, total_fee) else 1


if __name__ == "__main__":
    sys.exit(main())
