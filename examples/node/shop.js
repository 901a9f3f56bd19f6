// What a shop does with Paybell's events: the part to copy. Where events come from does not matter here: webhook.js
// brings them by HTTP, consumer.js by RabbitMQ, and both may run at once.
//
// Every event may come again, late, or in another order than it happened. So each is handled in one database
// transaction that first stores the event's id and then has its effect: either both stay or neither.

import { DatabaseSync } from 'node:sqlite';

const SCHEMA = `
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
);`;

const DENIALS = ['order.unpaid', 'order.closed', 'order.failed'];

// One database file. Several processes may use it at once.
export class Shop {
  #db;

  constructor(path) {
    this.#db = new DatabaseSync(path);
    this.#db.exec('PRAGMA busy_timeout = 10000'); // A busy database is waited for.
    this.#db.exec(SCHEMA);
  }

  // The shop's own order, before the payer is asked to pay.
  addOrder(mchId, outTradeNo, totalFee) {
    const insert = 'INSERT INTO orders (mch_id, out_trade_no, total_fee) VALUES (?, ?, ?) ON CONFLICT DO NOTHING';
    this.#db.prepare(insert).run(mchId, outTradeNo, totalFee);
  }

  // Handles an event once, however often it comes. When this returns, everything is on disk; when it throws, nothing
  // happened and the event may come again. Returns what was done, for the log.
  take(event) {
    return this.#transaction(() => {
      const insert = 'INSERT INTO events (id, type) VALUES (?, ?) ON CONFLICT DO NOTHING';
      const { changes } = this.#db.prepare(insert).run(event.id, event.type);
      return changes === 0 ? 'known already' : this.#handle(event);
    });
  }

  // What the shop knows of the order.
  state(mchId, outTradeNo) {
    return this.#order({ mch_id: mchId, out_trade_no: outTradeNo }).state;
  }

  // How often the order was shipped.
  shipped(outTradeNo) {
    const query = 'SELECT count(*) AS shipped FROM shipments WHERE out_trade_no = ?';
    return this.#db.prepare(query).get(outTradeNo).shipped;
  }

  close() {
    this.#db.close();
  }

  // Everything inside or nothing. IMMEDIATE: of two processes with the same event, the second waits here, and then sees
  // what the first one stored. Nothing inside may await, or other requests would get into this transaction.
  #transaction(work) {
    this.#db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      this.#db.exec('COMMIT');
      return result;
    } catch (error) {
      this.#db.exec('ROLLBACK');
      throw error;
    }
  }

  #handle({ type, data }) {
    if (type === 'order.paid') return this.#paid(data);
    if (type === 'order.refunded') return this.#refunded(data);
    if (type === 'order.mismatch') return this.#mismatch(data);
    if (DENIALS.includes(type)) return this.#denied(type, data);
    return 'ignored: a type that this shop does not know'; // More types will come.
  }

  #paid(data) {
    const { state, total_fee } = this.#order(data);
    if (state === 'paid') return 'shipped already';
    if (state === 'refunded') return this.#ask(data, 'the payment went back before we heard of it');
    if (data.trade_state === 'REFUND') {
      this.#setState(data, 'refunded');
      return this.#ask(data, 'paid, and at least in part refunded already: ship nothing, part, or all?');
    }
    // Paybell compares the amount with the registered one. Where nobody registered the order, that is left to us.
    if (!data.registered && data.total_fee !== total_fee) {
      this.#setState(data, 'held');
      return this.#ask(data, `paid ${data.total_fee} fen, and nobody registered a price`);
    }
    // Also when data.late: the payer paid after we had released the goods. A shop that cannot deliver any more refunds
    // here instead.
    this.#setState(data, 'paid');
    const insert = 'INSERT INTO shipments (mch_id, out_trade_no, transaction_id) VALUES (?, ?, ?)';
    this.#db.prepare(insert).run(data.mch_id, data.out_trade_no, data.transaction_id);
    return data.late ? 'shipped, though paid late' : 'shipped';
  }

  #refunded(data) {
    const { state } = this.#order(data);
    this.#setState(data, 'refunded');
    if (state !== 'paid') return 'refunded; nothing was shipped';
    return this.#ask(data, 'at least part of the payment went back: stop or recall the goods?');
  }

  // Not a payment: if a person accepts it, order.paid follows. It may also be a second payment of a paid order.
  #mismatch(data) {
    const { state } = this.#order(data);
    if (state === 'new' || state === 'released') this.#setState(data, 'held');
    return this.#ask(data, `payment disagrees in ${data.mismatch}: paid ${data.total_fee} fen`);
  }

  // A denial never undoes what we know of a payment, whatever its version.
  #denied(type, data) {
    const { state } = this.#order(data);
    if (state !== 'new') return `${type} ignored: the order is ${state}`;
    this.#setState(data, 'released');
    return 'goods released';
  }

  // Price and state. An order that we do not know is new and has no price.
  #order(data) {
    const query = 'SELECT total_fee, state FROM orders WHERE mch_id = ? AND out_trade_no = ?';
    return this.#db.prepare(query).get(data.mch_id, data.out_trade_no) ?? { total_fee: null, state: 'new' };
  }

  #setState(data, state) {
    const upsert = `INSERT INTO orders (mch_id, out_trade_no, state) VALUES (?, ?, ?)
                    ON CONFLICT (mch_id, out_trade_no) DO UPDATE SET state = excluded.state`;
    this.#db.prepare(upsert).run(data.mch_id, data.out_trade_no, state);
  }

  #ask(data, question) {
    const insert = 'INSERT INTO questions (mch_id, out_trade_no, question) VALUES (?, ?, ?)';
    this.#db.prepare(insert).run(data.mch_id, data.out_trade_no, question);
    return `left to a person: ${question}`;
  }
}
