//! One message of the stream, and how an event becomes one.
//!
//! The stream may hold what we did not write, and marks (`mark.rs`). Such a message is an entry without an event: it has
//! a place, so that a reader gets past it, and is shown to nobody.

use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable};
use paybell_core::event::{Event, NAMESPACE};
use paybell_core::ports::{Cursor, EventFilter};
use serde::Deserialize;
use uuid::Uuid;

use crate::error::LinkError;

/// The header in which the broker tells a message's place.
const OFFSET_HEADER: &str = "x-stream-offset";

/// The content type of an event.
pub(crate) const CONTENT_TYPE: &str = "application/cloudevents+json";

/// The type of a message that is no event but a mark of ours.
pub(super) const MARK_TYPE: &str = "paybell.mark";

/// How the source of every event of ours begins.
const SOURCES: &str = "/paybell/";

/// A message of the stream.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub offset: u64,
    pub id: Uuid,
    /// `None` if it is no event of ours.
    pub event: Option<Event>,
    pub is_mark: bool,
    /// The type of an event of ours that a newer version wrote and this one cannot read.
    pub newer: Option<String>,
    /// What it takes in memory, roughly.
    pub bytes: usize,
}

impl Entry {
    /// Reads a delivery of the stream; `None` if it does not say where it stands.
    pub fn of(delivery: &Delivery) -> Option<Self> {
        let offset = offset_of(delivery.properties.headers().as_ref()?)?;
        let event = serde_json::from_slice::<Event>(&delivery.data).ok();
        let newer = if event.is_none() { Newer::read(&delivery.data) } else { None };
        let id = match (&event, &newer) {
            (Some(event), _) => event.id,
            (None, Some(newer)) => newer.id,
            (None, None) => foreign_id(&delivery.data),
        };
        let is_mark = delivery.properties.kind().as_ref().is_some_and(|kind| kind.as_str() == MARK_TYPE);
        let (newer, bytes) = (newer.map(|newer| newer.kind), size_of::<Self>() + delivery.data.len());
        Some(Self { offset, id, event, is_mark, newer, bytes })
    }

    /// The place after this entry. Offsets begin at 0, and 0 is the place before the first.
    pub fn cursor(&self) -> Cursor {
        Cursor { position: self.offset.saturating_add(1), id: self.id }
    }

    /// The place before this entry when nothing before it is known.
    pub fn before(&self) -> Cursor {
        Cursor { position: self.offset, id: Uuid::nil() }
    }

    /// Whether a reader with this filter may want it and cannot be told of it: to go on past it would lose it.
    pub fn is_hidden_from(&self, filter: &EventFilter) -> bool {
        let may_want = |newer: &String| filter.kind.is_none_or(|kind| kind.as_str() == newer);
        self.newer.as_ref().is_some_and(may_want)
    }

    /// Why reading does not go past it.
    pub fn newer(&self) -> LinkError {
        let kind = self.newer.clone().unwrap_or_default();
        LinkError::Newer { offset: self.offset, kind, at: self.cursor() }
    }

    /// The event, if a reader with this filter wants it.
    pub fn wanted(&self, filter: &EventFilter) -> Option<&Event> {
        self.event.as_ref().filter(|event| {
            filter.kind.is_none_or(|kind| kind == event.kind)
                && filter.mch_id.as_ref().is_none_or(|mch_id| mch_id == event.mch_id())
        })
    }
}

/// As much of an event of ours as every version says in the same way. Its id is the one that a newer version gives it.
#[derive(Deserialize)]
struct Newer {
    id: Uuid,
    source: String,
    #[serde(rename = "type")]
    kind: String,
}

impl Newer {
    fn read(body: &[u8]) -> Option<Self> {
        let newer = serde_json::from_slice::<Self>(body).ok()?;
        newer.source.starts_with(SOURCES).then_some(newer)
    }
}

/// The properties of an event's message, in the stream and at the exchange.
pub(crate) fn properties(event: &Event) -> BasicProperties {
    BasicProperties::default()
        .with_content_type(CONTENT_TYPE.into())
        .with_delivery_mode(2)
        .with_message_id(event.id.to_string().into())
        .with_type(event.kind.as_str().into())
}

/// By what subscribers of the exchange choose: `order.paid.1900000109`.
pub(crate) fn routing_key(event: &Event) -> String {
    format!("{}.{}", event.kind.as_str(), event.mch_id())
}

/// The id that the mark with these bytes will have.
pub(super) fn mark_id(body: &[u8]) -> Uuid {
    foreign_id(body)
}

/// The id of a message that is no event: the same bytes have the same id.
fn foreign_id(body: &[u8]) -> Uuid {
    Uuid::new_v5(&NAMESPACE, body)
}

fn offset_of(headers: &FieldTable) -> Option<u64> {
    match headers.inner().get(OFFSET_HEADER)? {
        AMQPValue::LongLongInt(offset) => u64::try_from(*offset).ok(),
        AMQPValue::Timestamp(offset) => Some(*offset),
        AMQPValue::LongInt(offset) => u64::try_from(*offset).ok(),
        AMQPValue::LongUInt(offset) => Some((*offset).into()),
        _ => None,
    }
}

#[cfg(test)]
pub(super) mod samples {
    use super::*;

    /// The event of the order with that number.
    pub(in crate::log) fn event(number: u64, kind: &str) -> Event {
        let document = format!(
            r#"{{"specversion":"1.0","id":"{}","source":"/paybell/18","type":"{kind}","subject":"T{number}",
                "time":"2026-11-20T12:00:05+08:00","datacontenttype":"application/json",
                "data":{{"version":1,"mch_id":"18","sub_mch_id":null,"appid":null,"out_trade_no":"T{number}",
                "transaction_id":null,"total_fee":1999,"fee_type":"CNY","cash_fee":null,
                "settlement_total_fee":null,"coupon_fee":null,"coupons":[],"trade_state":"SUCCESS",
                "trade_type":null,"bank_type":null,"attach":null,"paid_at":null,"learned_by":"poll",
                "late":false,"registered":true}}}}"#,
            Uuid::from_u128(u128::from(number) + 1)
        );
        serde_json::from_str(&document).unwrap()
    }

    /// That event at that offset.
    pub(in crate::log) fn entry(offset: u64, kind: &str) -> Entry {
        let event = event(offset, kind);
        Entry { offset, id: event.id, event: Some(event), is_mark: false, newer: None, bytes: 1_000 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::ShortString;
    use paybell_core::event::EventType;

    fn delivery(offset: AMQPValue, body: &[u8]) -> Delivery {
        let mut headers = FieldTable::default();
        headers.insert(OFFSET_HEADER.into(), offset);
        let mut delivery = Delivery::mock(1, "".into(), "log".into(), false, body.to_vec());
        delivery.properties = BasicProperties::default().with_headers(headers);
        delivery
    }

    #[test]
    fn a_message_is_what_the_contract_says() {
        let event = samples::event(7, "order.paid");
        let properties = properties(&event);
        assert_eq!(properties.content_type().as_ref().map(ShortString::as_str), Some(CONTENT_TYPE));
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), event.id.to_string());
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "order.paid");
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(routing_key(&event), "order.paid.18");
    }

    #[test]
    fn a_delivery_is_read_with_its_place() {
        let event = samples::event(7, "order.paid");
        let entry = Entry::of(&delivery(AMQPValue::LongLongInt(41), event.to_json().as_bytes())).unwrap();
        assert_eq!(entry.cursor(), Cursor { position: 42, id: event.id });
        assert_eq!(entry.before(), Cursor { position: 41, id: Uuid::nil() });
        assert_eq!(entry.event, Some(event));
    }

    #[test]
    fn what_is_no_event_has_a_place_and_a_lasting_id() {
        let [one, same, other] = [b"hello", b"hello", b"hallo"]
            .map(|body| Entry::of(&delivery(AMQPValue::LongLongInt(3), body)).unwrap());
        assert_eq!((one.event.is_none(), one.cursor().position), (true, 4));
        assert_eq!(one.id, same.id);
        assert_ne!(one.id, other.id);
        assert_eq!(Entry::of(&delivery(AMQPValue::Boolean(true), b"hello")), None);
        let mut marked = delivery(AMQPValue::LongLongInt(3), b"hello");
        marked.properties = marked.properties.with_type(MARK_TYPE.into());
        let mark = Entry::of(&marked).unwrap();
        assert_eq!((mark.is_mark, one.is_mark, mark.id), (true, false, mark_id(b"hello")));
    }

    #[test]
    fn an_event_of_a_newer_version_keeps_its_id_and_hides_from_none_who_does_not_want_its_type() {
        let event = samples::event(7, "order.paid").to_json();
        let newer = |text: String| Entry::of(&delivery(AMQPValue::LongLongInt(3), text.as_bytes())).unwrap();
        let of_a_new_type = newer(event.replace("order.paid", "order.teleported"));
        let with_a_new_word = newer(event.replace("\"poll\"", "\"telepathy\""));
        let id = samples::event(7, "order.paid").id;
        let wants = |kind| EventFilter { kind, mch_id: None };
        for (entry, is_hidden) in [(&of_a_new_type, [true, false]), (&with_a_new_word, [true, true])] {
            assert_eq!((entry.event.is_none(), entry.id), (true, id));
            assert_eq!(
                [None, Some(EventType::Paid)].map(|kind| entry.is_hidden_from(&wants(kind))),
                is_hidden
            );
            assert!(!entry.is_hidden_from(&wants(Some(EventType::Closed))));
        }
        let foreign = newer(event.replace("/paybell/", "/other/").replace("order.paid", "order.teleported"));
        assert_eq!((foreign.newer, foreign.id == id), (None, false));
    }
}
