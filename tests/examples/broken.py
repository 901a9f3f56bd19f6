#!/usr/bin/env python3
"""The Python example with one mistake in it, as shops make it. A rehearsal has to find it.

    broken.py MISTAKE [--amqp]      the environment is the example's own
"""

import hashlib
import hmac
import base64
import json
import os
import socket
import sys
import threading
import time
from contextlib import closing
from datetime import datetime

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../examples/python"))

import shop as example  # noqa: E402
import webhook  # noqa: E402

right = {name: getattr(example, name) for name in ("handle", "paid", "refunded", "mismatch", "denied", "order")}
right_verify, right_take, right_post = webhook.verify, example.Shop.take, webhook.Handler.do_POST


def ship(db, key, data):
    db.execute("INSERT INTO shipments (mch_id, out_trade_no, transaction_id) VALUES (?, ?, ?)", (*key, "4200"))
    return "shipped"


def unship(db, key):
    db.execute("DELETE FROM shipments WHERE mch_id = ? AND out_trade_no = ?", key)
    return "taken back"


def state_of(db, key):
    return right["order"](db, key)[1]


# Each mistake puts something wrong in the place of something right.


def paid():
    """Thinks that it shipped."""
    example.paid = lambda db, key, data: "shipped"


def duplicate():
    """Ships whatever comes, as often as it comes."""

    def take(self, event):
        with closing(self._connect()) as db, example.transaction(db):
            return example.handle(db, event)

    def order(db, key):
        total_fee, state = right["order"](db, key)
        return total_fee, "new" if state == "paid" and sys._getframe(1).f_code is right["paid"].__code__ else state

    example.Shop.take = take
    example.order = order


def at_once():
    """Asks whether the id is known, works, and stores the id."""
    asked, somebody_asks = {}, threading.Condition()

    def work(event):
        # Until the same event comes a second time, on the busiest machine too; but not for long where it comes once.
        with somebody_asks:
            asked[event["id"]] = asked.get(event["id"], 0) + 1
            somebody_asks.notify_all()
            somebody_asks.wait_for(lambda: asked[event["id"]] > 1, timeout=0.3)

    def take(self, event):
        with closing(self._connect()) as db:
            if db.execute("SELECT 1 FROM events WHERE id = ?", (event["id"],)).fetchone():
                return "known already"
            data = event["data"]
            key = (data.get("mch_id"), data.get("out_trade_no"))
            if event["type"] == "order.paid" and state_of(db, key) in ("new", "released", "held"):
                work(event)
                if data["trade_state"] == "SUCCESS" and data["registered"]:
                    ship(db, key, data)
                    example.set_state(db, key, "paid")
            else:
                example.handle(db, event)
            db.execute("INSERT OR IGNORE INTO events (id, type) VALUES (?, ?)", (event["id"], event["type"]))
            return "done"

    example.Shop.take = take


def late():
    """Knows that nobody pays after order.unpaid."""

    def wrong(db, key, data):
        return "too late" if state_of(db, key) == "released" else right["paid"](db, key, data)

    example.paid = wrong


def mismatch():
    """Somebody paid something."""
    example.mismatch = right["paid"]


def accepted():
    """Never looks again at an order whose amount was wrong."""

    def wrong(db, key, data):
        return "rejected before" if state_of(db, key) == "held" else right["paid"](db, key, data)

    example.paid = wrong


def second_payment():
    """Takes the goods back whenever something is wrong."""
    example.mismatch = lambda db, key, data: (right["mismatch"](db, key, data), unship(db, key))[1]


def refunded():
    """Sends something else for what was refunded."""

    def wrong(db, key):
        if state_of(db, key) == "paid":
            ship(db, key, {})
        return right["refunded"](db, key)

    example.refunded = wrong


def refunded_first():
    """Ships what is paid, whatever it knew before."""

    def wrong(db, key, data):
        if state_of(db, key) == "refunded":
            return ship(db, key, data)
        return right["paid"](db, key, data)

    example.paid = wrong


def found_refunded():
    """Does not look at trade_state."""
    example.paid = lambda db, key, data: right["paid"](db, key, {**data, "trade_state": "SUCCESS"})


def denied_after_paid():
    """The last word counts."""

    def wrong(db, key, kind):
        if state_of(db, key) == "paid":
            return unship(db, key)
        return right["denied"](db, key, kind)

    example.denied = wrong


def denied():
    """Knows that appid is always there."""

    def wrong(db, event):
        if event["type"] in example.DENIALS:
            event["data"]["appid"].startswith("wx")
        return right["handle"](db, event)

    example.handle = wrong


def nulls():
    """Knows that paid_at is always there."""

    def wrong(db, key, data):
        datetime.fromisoformat(data["paid_at"])
        return right["paid"](db, key, data)

    example.paid = wrong


def unknown_type():
    """What is no denial and no refund is a payment."""

    def wrong(db, event):
        known = ("order.refunded", "order.mismatch", *example.DENIALS)
        return right["handle"](db, event if event["type"] in known else {**event, "type": "order.paid"})

    example.handle = wrong


def unknown_field():
    """Refuses what it does not know."""
    known = set(
        "version mch_id sub_mch_id appid out_trade_no transaction_id total_fee fee_type cash_fee settlement_total_fee "
        "coupon_fee coupons trade_state trade_type bank_type attach paid_at learned_by late registered mismatch "
        "registered_fee registered_fee_type".split()
    )

    def wrong(db, event):
        if event["type"].startswith("order.") and event["type"] != "order.rehearsed" and set(event["data"]) - known:
            raise ValueError("fields that nobody announced")
        return right["handle"](db, event)

    example.handle = wrong


def unregistered():
    """Trusts every amount."""
    example.paid = lambda db, key, data: right["paid"](db, key, {**data, "registered": True})


def raw_body():
    """Verifies what it would have written itself."""

    def wrong(secret, headers, body, now):
        again = json.dumps(json.loads(body), ensure_ascii=False, separators=(",", ":")).encode()
        return right_verify(secret, headers, again, now)

    webhook.verify = wrong


def wrong_signature():
    """Looks at the timestamp only."""

    def wrong(secret, headers, body, now):
        if abs(now - int(headers["webhook-timestamp"])) > webhook.TOLERANCE_SECONDS:
            raise webhook.Refused("too old")

    webhook.verify = wrong


def stale():
    """Verifies the signature, whenever it was made."""
    webhook.verify = lambda secret, headers, body, now: right_verify(
        secret, headers, body, int(headers["webhook-timestamp"])
    )


def rotation():
    """Knows that there is one signature."""

    def wrong(secret, headers, body, now):
        only = dict((name.lower(), value) for name, value in headers.items())
        only["webhook-signature"] = only.get("webhook-signature", "").split(" ")[0]
        return right_verify(secret, only, body, now)

    webhook.verify = wrong


def lost_answer():
    """One at a time, but the id is stored only once somebody has heard the answer."""
    lock = threading.Lock()

    def post(self):
        with lock:
            self.shop.connection = self.connection
            right_post(self)

    def take(self, event):
        with closing(self._connect()) as db:
            if db.execute("SELECT 1 FROM events WHERE id = ?", (event["id"],)).fetchone():
                return "known already"
            data = event["data"]
            key = (data.get("mch_id"), data.get("out_trade_no"))
            if event["type"] == "order.paid" and data["trade_state"] == "SUCCESS" and data["registered"]:
                if state_of(db, key) != "refunded":
                    ship(db, key, data)
                    self.connection.settimeout(0.15)  # The rest of the work.
                    try:
                        if self.connection.recv(1, 2) == b"":  # MSG_PEEK: it has hung up.
                            raise ConnectionAbortedError("nobody heard it")
                    except socket.timeout:
                        pass
                    finally:
                        self.connection.settimeout(30)
                    example.set_state(db, key, "paid")
            else:
                example.handle(db, event)
            db.execute("INSERT OR IGNORE INTO events (id, type) VALUES (?, ?)", (event["id"], event["type"]))
            return "done"

    example.Shop.take = take
    webhook.Handler.do_POST = post


def burst():
    """Says yes to everything and does what it has the time for."""
    places = threading.BoundedSemaphore(2)

    def take(self, event):
        if not places.acquire(blocking=False):
            return "later, perhaps"
        try:
            time.sleep(0.02)
            return right_take(self, event)
        finally:
            places.release()

    example.Shop.take = take


def flaky():
    """No mistake: says 500 to everything that it sees for the first time."""
    seen = set()

    def take(self, event):
        if event["id"] not in seen:
            seen.add(event["id"])
            raise RuntimeError("not in the mood")
        return right_take(self, event)

    example.Shop.take = take


def none():
    """The example as it is."""


if __name__ == "__main__":
    globals()[sys.argv[1].replace("-", "_")]()
    if "--amqp" in sys.argv:
        import consumer

        consumer.main()
    else:
        webhook.main()
