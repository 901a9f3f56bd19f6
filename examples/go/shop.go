package main

// What a shop does with Paybell's events: the part to copy. Where events come from does not matter here: webhook.go
// brings them by HTTP, consumer.go by RabbitMQ, and both may run at once.
//
// Every event may come again, late, or in another order than it happened. So each is handled in one database
// transaction that first stores the event's id and then has its effect: either both stay or neither.

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"

	_ "github.com/mattn/go-sqlite3"
)

const schema = `
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
);`

// Event is what this shop reads of an event. Fields that it does not know are ignored; more will come.
type Event struct {
	ID      string          `json:"id"`
	Type    string          `json:"type"`
	Subject string          `json:"subject"`
	Data    json.RawMessage `json:"data"` // Types that will come may have other data.
}

// Data is null in every field of the payment when the event denies one: nil here, never 0 fen.
type Data struct {
	MchID         string  `json:"mch_id"`
	OutTradeNo    string  `json:"out_trade_no"`
	TransactionID *string `json:"transaction_id"`
	TotalFee      *int64  `json:"total_fee"`
	TradeState    *string `json:"trade_state"`
	Late          bool    `json:"late"`
	Registered    bool    `json:"registered"`
	Mismatch      string  `json:"mismatch"`
}

// Shop is one database file. Several goroutines and processes may use it at once.
type Shop struct{ db *sql.DB }

// OpenShop waits for a busy database. Its transactions are IMMEDIATE: of two with the same event, the second waits at
// its beginning, and then sees what the first one stored.
func OpenShop(path string) (*Shop, error) {
	options := url.Values{"_txlock": {"immediate"}, "_busy_timeout": {"10000"}, "_journal_mode": {"WAL"}}
	db, err := sql.Open("sqlite3", "file:"+path+"?"+options.Encode())
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(schema); err != nil {
		return nil, err
	}
	return &Shop{db}, nil
}

// AddOrder stores the shop's own order, before the payer is asked to pay.
func (s *Shop) AddOrder(mchID, outTradeNo string, totalFee int64) error {
	_, err := s.db.Exec(
		"INSERT INTO orders (mch_id, out_trade_no, total_fee) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
		mchID, outTradeNo, totalFee)
	return err
}

// Take handles an event once, however often it comes. Without an error everything is on disk; with one nothing
// happened and the event may come again. It returns what was done, for the log.
func (s *Shop) Take(event Event) (string, error) {
	tx, err := s.db.Begin()
	if err != nil {
		return "", err
	}
	defer tx.Rollback() // Does nothing after Commit.
	stored, err := tx.Exec("INSERT INTO events (id, type) VALUES (?, ?) ON CONFLICT DO NOTHING", event.ID, event.Type)
	if err != nil {
		return "", err
	}
	if rows, err := stored.RowsAffected(); err != nil || rows == 0 {
		return "known already", err
	}
	done, err := handle(tx, event)
	if err != nil {
		return "", err
	}
	return done, tx.Commit()
}

// Shipped says how often the order was shipped.
func (s *Shop) Shipped(outTradeNo string) (count int, err error) {
	err = s.db.QueryRow("SELECT count(*) FROM shipments WHERE out_trade_no = ?", outTradeNo).Scan(&count)
	return count, err
}

func handle(tx *sql.Tx, event Event) (string, error) {
	switch event.Type {
	case "order.paid", "order.refunded", "order.mismatch", "order.unpaid", "order.closed", "order.failed":
	default: // More types will come.
		return "ignored: a type that this shop does not know", nil
	}
	var data Data
	if err := json.Unmarshal(event.Data, &data); err != nil {
		return "", err
	}
	price, state, err := order(tx, data)
	if err != nil {
		return "", err
	}
	switch event.Type {
	case "order.paid":
		return paid(tx, data, price, state)
	case "order.refunded":
		return refunded(tx, data, state)
	case "order.mismatch":
		return mismatch(tx, data, state)
	default:
		return denied(tx, event.Type, data, state)
	}
}

func paid(tx *sql.Tx, data Data, price sql.NullInt64, state string) (string, error) {
	if data.TransactionID == nil || data.TotalFee == nil || data.TradeState == nil {
		return "", errors.New("order.paid without a payment")
	}
	switch {
	case state == "paid":
		return "shipped already", nil
	case state == "refunded":
		return ask(tx, data, "the payment went back before we heard of it")
	case *data.TradeState == "REFUND":
		if err := setState(tx, data, "refunded"); err != nil {
			return "", err
		}
		return ask(tx, data, "paid, and at least in part refunded already: ship nothing, part, or all?")
	// Paybell compares the amount with the registered one. Where nobody registered the order, that is left to us.
	case !data.Registered && !(price.Valid && price.Int64 == *data.TotalFee):
		if err := setState(tx, data, "held"); err != nil {
			return "", err
		}
		return ask(tx, data, fmt.Sprintf("paid %d fen, and nobody registered a price", *data.TotalFee))
	}
	// Also when data.Late: the payer paid after we had released the goods. A shop that cannot deliver any more refunds
	// here instead.
	if err := setState(tx, data, "paid"); err != nil {
		return "", err
	}
	_, err := tx.Exec("INSERT INTO shipments (mch_id, out_trade_no, transaction_id) VALUES (?, ?, ?)",
		data.MchID, data.OutTradeNo, *data.TransactionID)
	if data.Late {
		return "shipped, though paid late", err
	}
	return "shipped", err
}

func refunded(tx *sql.Tx, data Data, state string) (string, error) {
	if err := setState(tx, data, "refunded"); err != nil || state != "paid" {
		return "refunded; nothing was shipped", err
	}
	return ask(tx, data, "at least part of the payment went back: stop or recall the goods?")
}

// Not a payment: if a person accepts it, order.paid follows. It may also be a second payment of a paid order.
func mismatch(tx *sql.Tx, data Data, state string) (string, error) {
	if state == "new" || state == "released" {
		if err := setState(tx, data, "held"); err != nil {
			return "", err
		}
	}
	return ask(tx, data, "payment disagrees in "+data.Mismatch)
}

// A denial never undoes what we know of a payment, whatever its version.
func denied(tx *sql.Tx, kind string, data Data, state string) (string, error) {
	if state != "new" {
		return kind + " ignored: the order is " + state, nil
	}
	return "goods released", setState(tx, data, "released")
}

// Price and state. An order that we do not know is new and has no price.
func order(tx *sql.Tx, data Data) (price sql.NullInt64, state string, err error) {
	err = tx.QueryRow("SELECT total_fee, state FROM orders WHERE mch_id = ? AND out_trade_no = ?",
		data.MchID, data.OutTradeNo).Scan(&price, &state)
	if errors.Is(err, sql.ErrNoRows) {
		return price, "new", nil
	}
	return price, state, err
}

func setState(tx *sql.Tx, data Data, state string) error {
	_, err := tx.Exec(`INSERT INTO orders (mch_id, out_trade_no, state) VALUES (?, ?, ?)
		ON CONFLICT (mch_id, out_trade_no) DO UPDATE SET state = excluded.state`, data.MchID, data.OutTradeNo, state)
	return err
}

func ask(tx *sql.Tx, data Data, question string) (string, error) {
	_, err := tx.Exec("INSERT INTO questions (mch_id, out_trade_no, question) VALUES (?, ?, ?)",
		data.MchID, data.OutTradeNo, question)
	return "left to a person: " + question, err
}
