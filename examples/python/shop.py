"""What a shop does with Paybell's events: the part to copy. Where events come from does not matter here: webhook.py
brings them by HTTP, consumer.py by RabbitMQ, and both may run at once.

Every event may come again, late, or in another order than it happened. So each is handled in one database transaction
that first stores the event's id and then has its effect: either both stay or neither.
"""

import sqlite3
from contextlib import closing, contextmanager

SCHEMA = """
PRAGMA journal_mode = WAL;
-- Keep ids at least as long as Paybell keeps orders (retention.orders, 35 days): a repeat may come that late.
CREATE TABLE IF NOT EXISTS events (
    id TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    received_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP
);
-- state: new -> released (nobody paid) -> held (a person looks) -> paid (shipped) -> refunded. It only rises.
CREATE TABLE IF NOT EXISTS orders (
    mch_id TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    total_fee INTEGER,
    state TEXT NOT NULL DEFAULT 'new',
    PRIMARY KEY (mch_id, out_trade_no)
);
-- What the warehouse sends. A row here costs goods, so it is written in the transaction of its event and nowhere else.
CREATE TABLE IF NOT EXISTS shipments (
    id INTEGER PRIMARY KEY,
    mch_id TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    transaction_id TEXT NOT NULL
);
-- What a person has to look at.
CREATE TABLE IF NOT EXISTS questions (
    id INTEGER PRIMARY KEY,
    mch_id TEXT NOT NULL,
    out_trade_no TEXT NOT NULL,
    question TEXT NOT NULL
);
"""

DENIALS = ("order.unpaid", "order.closed", "order.failed")


class Shop:
    """One database file. May be used from several threads and processes at once."""

    def __init__(self, path):
        self.path = path
        with closing(self._connect()) as db:
            db.executescript(SCHEMA)

    def add_order(self, mch_id, out_trade_no, total_fee):
        """The shop's own order, before the payer is asked to pay."""
        with closing(self._connect()) as db, transaction(db):
            db.execute(
                "INSERT INTO orders (mch_id, out_trade_no, total_fee) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (mch_id, out_trade_no, total_fee),
            )

    def take(self, event):
        """Handles an event once, however often it comes. When this returns, everything is on disk; when it raises,
        nothing happened and the event may come again. Returns what was done, for the log."""
        with closing(self._connect()) as db, transaction(db):
            stored = db.execute(
                "INSERT INTO events (id, type) VALUES (?, ?) ON CONFLICT DO NOTHING", (event["id"], event["type"])
            )
            if stored.rowcount == 0:
                return "known already"
            return handle(db, event)

    def state(self, mch_id, out_trade_no):
        """What the shop knows of the order."""
        with closing(self._connect()) as db:
            return order(db, (mch_id, out_trade_no))[1]

    def shipped(self, out_trade_no):
        """How often the order was shipped."""
        with closing(self._connect()) as db:
            query = "SELECT count(*) FROM shipments WHERE out_trade_no = ?"
            return db.execute(query, (out_trade_no,)).fetchone()[0]

    def _connect(self):
        # A busy database is waited for. isolation_level=None: we say ourselves where a transaction begins.
        return sqlite3.connect(self.path, timeout=10, isolation_level=None)


@contextmanager
def transaction(db):
    """Everything inside or nothing. IMMEDIATE: of two that come at the same time, the second waits here, and then sees
    what the first one stored."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        db.execute("ROLLBACK")
        raise
    db.execute("COMMIT")


def handle(db, event):
    kind, data = event["type"], event.get("data") or {}
    key = (data.get("mch_id"), data.get("out_trade_no"))
    if kind == "order.paid":
        return paid(db, key, data)
    if kind == "order.refunded":
        return refunded(db, key)
    if kind == "order.mismatch":
        return mismatch(db, key, data)
    if kind in DENIALS:
        return denied(db, key, kind)
    return "ignored: a type that this shop does not know"  # More types will come.


def paid(db, key, data):
    total_fee, state = order(db, key)
    if state == "paid":
        return "shipped already"
    if state == "refunded":
        return ask(db, key, "the payment went back before we heard of it")
    if data["trade_state"] == "REFUND":
        set_state(db, key, "refunded")
        return ask(db, key, "paid, and at least in part refunded already: ship nothing, part, or all?")
    # Paybell compares the amount with the registered one. Where nobody registered the order, that is left to us.
    if not data["registered"] and data["total_fee"] != total_fee:
        set_state(db, key, "held")
        return ask(db, key, f"paid {data['total_fee']} fen, and nobody registered a price")
    # Also when data["late"]: the payer paid after we had released the goods. A shop that cannot deliver any more
    # refunds here instead.
    set_state(db, key, "paid")
    db.execute(
        "INSERT INTO shipments (mch_id, out_trade_no, transaction_id) VALUES (?, ?, ?)",
        (*key, data["transaction_id"]),
    )
    return "shipped, though paid late" if data["late"] else "shipped"


def refunded(db, key):
    _, state = order(db, key)
    set_state(db, key, "refunded")
    if state == "paid":
        return ask(db, key, "at least part of the payment went back: stop or recall the goods?")
    return "refunded; nothing was shipped"


def mismatch(db, key, data):
    """Not a payment: if a person accepts it, order.paid follows. It may also be a second payment of a paid order."""
    _, state = order(db, key)
    if state in ("new", "released"):
        set_state(db, key, "held")
    return ask(db, key, f"payment disagrees in {data['mismatch']}: paid {data['total_fee']} fen")


def denied(db, key, kind):
    """A denial never undoes what we know of a payment, whatever its version."""
    _, state = order(db, key)
    if state != "new":
        return f"{kind} ignored: the order is {state}"
    set_state(db, key, "released")
    return "goods released"


def order(db, key):
    """Price and state. An order that we do not know is new and has no price."""
    row = db.execute("SELECT total_fee, state FROM orders WHERE mch_id = ? AND out_trade_no = ?", key).fetchone()
    return row or (None, "new")


def set_state(db, key, state):
    db.execute(
        "INSERT INTO orders (mch_id, out_trade_no, state) VALUES (?, ?, ?) "
        "ON CONFLICT (mch_id, out_trade_no) DO UPDATE SET state = excluded.state",
        (*key, state),
    )


def ask(db, key, question):
    db.execute("INSERT INTO questions (mch_id, out_trade_no, question) VALUES (?, ?, ?)", (*key, question))
    return f"left to a person: {question}"
