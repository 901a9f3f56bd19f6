//! Made-up events: built with the types of the real ones, so that they cannot drift away from them, for orders that
//! everyone sees to be made up. Which event comes when is the script's.

use paybell_core::event::{
    ContentType, Disagreement, EventType, LearnedBy, Mismatch, OrderData, SpecVersion,
};
use paybell_core::event::{event_id, source_of};
use paybell_core::{AppId, Currency, Event, Fen, MchId, OrderKey, OutTradeNo, Timestamp, TransactionId};
use serde_json::{Value, json};

/// What the number of every order of a rehearsal begins with.
pub const ORDER_PREFIX: &str = "REHEARSAL";

/// An order that exists nowhere but here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Order {
    pub out_trade_no: OutTradeNo,
    /// What it costs, as the shop knows it.
    pub total_fee: Fen,
    pub transaction_id: TransactionId,
}

/// A document that is ready to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    pub id: String,
    pub kind: String,
    pub body: String,
}

/// Writes events.
#[derive(Debug, Clone)]
pub struct Author {
    pub mch_id: MchId,
    pub appid: AppId,
    pub now: Timestamp,
}

impl Author {
    pub fn paid(&self, order: &Order, version: u64) -> Event {
        self.paid_with(order, version, |_| ())
    }

    /// The same, but for what is changed.
    pub fn paid_with(&self, order: &Order, version: u64, change: impl FnOnce(&mut OrderData)) -> Event {
        let mut data = self.payment(order, version);
        change(&mut data);
        self.event(order, EventType::Paid, order.transaction_id.as_str(), data)
    }

    fn payment(&self, order: &Order, version: u64) -> OrderData {
        OrderData {
            transaction_id: Some(order.transaction_id.clone()),
            total_fee: Some(order.total_fee),
            fee_type: Currency::new("CNY").ok(),
            cash_fee: Some(order.total_fee),
            trade_state: Some("SUCCESS".to_owned()),
            trade_type: Some("JSAPI".to_owned()),
            bank_type: Some("OTHERS".to_owned()),
            paid_at: Some(self.now),
            learned_by: LearnedBy::Notification,
            ..self.bare(order, version)
        }
    }

    pub fn refunded(&self, order: &Order, version: u64) -> Event {
        let mut data = self.payment(order, version);
        data.trade_state = Some("REFUND".to_owned());
        data.learned_by = LearnedBy::Poll;
        self.event(order, EventType::Refunded, order.transaction_id.as_str(), data)
    }

    /// A payment of half the price, or a second one of the whole price.
    pub fn mismatch(&self, order: &Order, version: u64, mismatch: Mismatch) -> Event {
        let mut data = self.payment(order, version);
        let mut reference = order.transaction_id.clone();
        if mismatch == Mismatch::SecondTransaction {
            let second: String = order.transaction_id.as_str().replacen("42", "43", 1);
            reference = TransactionId::new(second).unwrap_or(reference);
        } else {
            data.total_fee = Fen::new(order.total_fee.get() / 2).ok();
            data.cash_fee = data.total_fee;
        }
        data.transaction_id = Some(reference.clone());
        let (registered_fee, registered_fee_type) = (Some(order.total_fee), Currency::new("CNY").ok());
        data.disagreement = Some(Disagreement { mismatch, registered_fee, registered_fee_type });
        self.event(order, EventType::Mismatch, reference.as_str(), data)
    }

    /// Unpaid, closed or failed: null in every field of the payment.
    pub fn denial(&self, order: &Order, version: u64, kind: EventType) -> Event {
        self.event(order, kind, "", self.bare(order, version))
    }

    /// Of an order that WeChat does not know.
    pub fn denial_of_unknown(&self, order: &Order, version: u64, kind: EventType) -> Event {
        let data = OrderData { appid: None, trade_state: None, ..self.bare(order, version) };
        self.event(order, kind, "", data)
    }

    /// Read from JSON, because fields are added to the real ones.
    fn bare(&self, order: &Order, version: u64) -> OrderData {
        let bare = json!({
            "version": version, "mch_id": self.mch_id, "sub_mch_id": null, "appid": self.appid,
            "out_trade_no": order.out_trade_no, "transaction_id": null, "total_fee": null, "fee_type": null,
            "cash_fee": null, "settlement_total_fee": null, "coupon_fee": null, "coupons": [],
            "trade_state": "NOTPAY", "trade_type": null, "bank_type": null, "attach": null, "paid_at": null,
            "learned_by": "poll", "late": false, "registered": true,
        });
        serde_json::from_value(bare).expect("these are the fields of an event without a payment")
    }

    fn event(&self, order: &Order, kind: EventType, reference: &str, data: OrderData) -> Event {
        let key = OrderKey { mch_id: self.mch_id.clone(), out_trade_no: order.out_trade_no.clone() };
        Event {
            specversion: SpecVersion::V1,
            id: event_id(&key, kind, reference),
            source: source_of(&self.mch_id),
            kind,
            subject: order.out_trade_no.to_string(),
            time: self.now,
            datacontenttype: ContentType::Json,
            data: data.into(),
        }
    }
}

impl From<Event> for Document {
    fn from(event: Event) -> Self {
        Self { id: event.id.to_string(), kind: event.kind.as_str().to_owned(), body: event.to_json() }
    }
}

impl Document {
    /// The same document with something changed that our own types do not know.
    pub fn changed(self, change: impl FnOnce(&mut Value)) -> Self {
        let mut value: Value = serde_json::from_str(&self.body).unwrap_or_default();
        change(&mut value);
        let text = |name: &str| value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        Self { id: text("id"), kind: text("type"), body: value.to_string() }
    }

    /// The same content in other bytes: indented, and with a character escaped that needs no escape.
    pub fn respelled(self) -> Self {
        let value: Value = serde_json::from_str(&self.body).unwrap_or_default();
        let body = format!("{value:#}\n").replace('\u{8ba2}', "\\u8BA2").replace('/', "\\/");
        Self { body, ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_spelling_is_the_same_document() {
        let document = Document {
            id: "1".to_owned(),
            kind: "order.paid".to_owned(),
            body: "{\"id\":\"1\",\"source\":\"/paybell/1\",\"attach\":\"\u{8ba2}\u{5355}\"}".to_owned(),
        };
        let other = document.clone().respelled();
        assert_ne!(other.body, document.body);
        assert!(
            other.body.contains("\\u8BA2\u{5355}") && other.body.contains("\\/paybell\\/1"),
            "{}",
            other.body
        );
        let [one, two] =
            [&document.body, &other.body].map(|body| serde_json::from_str::<Value>(body).unwrap());
        assert_eq!(one, two);
    }
}
