//! What the tests of the event log share: a broker, a log on it, events, and a subscriber's eyes.

#![allow(
    dead_code,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "each test binary uses its own part of this, in real time"
)]

use std::collections::HashSet;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicGetOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, Connection, ConnectionProperties};
use paybell_core::event::{Event, EventType, event_id};
use paybell_core::ids::OrderKey;
use paybell_core::ports::{Cursor, EventFilter, EventLog, EventPage, LogRead, PortError};
use rabbitmq::{Needs, RabbitConfig, RabbitMq};
use tokio::net::TcpSocket;
use tokio::time::timeout;

/// Asks until it is so.
pub async fn until(what: &str, ask: impl AsyncFn() -> bool) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(Duration::from_secs(60), asking).await.is_ok(), "it never came that {what}");
}

pub const MCH_ID: &str = "1900000109";
const TX: &str = "4200001234202611200123456789";

/// A process that appends and reads.
pub struct Process {
    pub engine: RabbitMq,
    pub log: Arc<dyn EventLog>,
}

impl Process {
    /// Connected and able to work.
    pub async fn start(config: RabbitConfig) -> Self {
        let process = Self::begin(config);
        let opening = async {
            while process.state().is_err() || process.log.end().await.is_err() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        timeout(Duration::from_secs(60), opening).await.expect("the log opens");
        process
    }

    /// On its way.
    pub fn begin(config: RabbitConfig) -> Self {
        Self::with(config, Needs { appends: true, reads: true, ..Needs::default() })
    }

    /// A process that only reads.
    pub fn reader(config: RabbitConfig) -> Self {
        Self::with(config, Needs { reads: true, ..Needs::default() })
    }

    /// A process that only reads, and follows the end from its first question on.
    pub fn seldom_reader(config: RabbitConfig) -> Self {
        Self::with(config, Needs { reads: true, seldom: true, ..Needs::default() })
    }

    fn with(config: RabbitConfig, needs: Needs) -> Self {
        let engine = RabbitMq::start(&config, needs).unwrap();
        Self { log: engine.log().unwrap(), engine }
    }

    /// Whether the log works, as readiness sees it.
    pub fn state(&self) -> Result<(), PortError> {
        self.engine.parts().into_iter().find(|(part, _)| *part == "log").unwrap().1
    }

    /// Appends as [`append_at_last`] does.
    pub async fn append(&self, events: &[Event]) -> usize {
        append_at_last(&*self.log, events).await
    }

    /// The end as [`end_at_last`] gives it.
    pub async fn end(&self) -> Cursor {
        end_at_last(&*self.log).await
    }

    /// The place past what this version cannot read after that place.
    pub async fn past_unread(&self, place: Cursor) -> Option<Cursor> {
        let all = EventFilter::default();
        at_last("look past it", || self.log.past_unread(place, &all)).await.0
    }

    pub async fn read(&self, after: Option<Cursor>, limit: usize) -> LogRead {
        read_at_last(&*self.log, after, &EventFilter::default(), limit).await
    }

    pub async fn page(&self, after: Option<Cursor>, limit: usize) -> EventPage {
        match self.read(after, limit).await {
            LogRead::Page(page) => page,
            LogRead::Gone { oldest } => panic!("{after:?} is gone, the oldest is {oldest:?}"),
        }
    }

    /// Everything after the cursor, page by page, and nothing of it twice: what an append stored twice lies at two places.
    pub async fn rest(&self, after: Option<Cursor>, filter: &EventFilter, limit: usize) -> Vec<Event> {
        let (mut events, mut after) = (Vec::new(), after);
        let mut last = after.map_or(0, |after| after.position);
        loop {
            let LogRead::Page(page) = read_at_last(&*self.log, after, filter, limit).await else {
                panic!("gone")
            };
            assert!(page.events.len() <= limit);
            for (place, event) in page.events {
                assert!(place.position > last, "{place:?} is told after {last}");
                last = place.position;
                events.push(event);
            }
            after = Some(page.next);
            if !page.has_more {
                return events;
            }
        }
    }
}

/// Asks as whoever asks again does where a busy machine keeps the answer back beyond its deadline, or costs a connection.
/// Also gives how often it was asked in vain. What must fail, or must not, calls the log itself.
async fn at_last<T, F>(what: &str, ask: impl Fn() -> F) -> (T, usize)
where
    F: Future<Output = Result<T, PortError>>,
{
    let mut in_vain = Vec::new();
    let asking = async {
        loop {
            match ask().await {
                Err(PortError::Unavailable { cause, .. }) => in_vain.push(cause),
                answer => return answer.unwrap(),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    match timeout(Duration::from_secs(60), asking).await {
        Ok(answer) => (answer, in_vain.len()),
        Err(_) => panic!("the log does not {what}: {:?}", in_vain.last()),
    }
}

/// Appends until it is confirmed, as a worker does. Where that took more than once, and so gives more than 0, events may
/// be stored twice: [`distinct`] leaves that out.
pub async fn append_at_last(log: &dyn EventLog, events: &[Event]) -> usize {
    at_last("append", || log.append(events)).await.1
}

pub async fn read_at_last(
    log: &dyn EventLog,
    after: Option<Cursor>,
    filter: &EventFilter,
    limit: usize,
) -> LogRead {
    at_last("answer", || log.read(after, filter, limit)).await.0
}

pub async fn end_at_last(log: &dyn EventLog) -> Cursor {
    at_last("tell its end", || log.end()).await.0
}

/// Without the repeats that unknown outcomes made: each event where it was stored last, because only the attempt that
/// was confirmed is sure to have stored all of its events, in their order.
pub fn distinct(events: &[Event]) -> Vec<Event> {
    let mut seen = HashSet::new();
    let mut kept: Vec<Event> = events.iter().rev().filter(|event| seen.insert(event.id)).cloned().collect();
    kept.reverse();
    kept
}

/// So often a command is asked whose steps have deadlines.
pub const ROUNDS: usize = 5;

/// The answer of a command that looks at the broker once, asked again where a busy machine kept a step back.
pub async fn answered<T, E, F>(ask: impl Fn() -> F) -> Result<T, E>
where
    E: std::fmt::Display,
    F: Future<Output = Result<T, E>>,
{
    for _ in 1..ROUNDS {
        match ask().await {
            Err(late) if late.to_string().contains("no answer within") => println!("{late}"),
            answer => return answer,
        }
    }
    ask().await
}

/// A loopback port that is ours, and at which nobody listens, as long as it is held.
pub fn shut_door() -> (TcpSocket, u16) {
    let door = TcpSocket::new_v4().unwrap();
    door.bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
    let port = door.local_addr().unwrap().port();
    (door, port)
}

/// The configuration of a prefix.
pub fn config(url: &str, prefix: &str) -> RabbitConfig {
    RabbitConfig { prefix: prefix.to_owned(), partitions: 1, ..RabbitConfig::at(url) }
}

/// An event of the order with that number.
pub fn event(number: usize, kind: EventType) -> Event {
    let key = OrderKey::new(MCH_ID, format!("T2026112000000{number:011}")).unwrap();
    let json = serde_json::json!({
        "specversion": "1.0", "id": event_id(&key, kind, TX), "source": format!("/paybell/{MCH_ID}"),
        "type": kind, "subject": key.out_trade_no, "time": "2026-11-20T12:00:05+08:00",
        "datacontenttype": "application/json",
        "data": {
            "version": 1, "mch_id": MCH_ID, "sub_mch_id": null, "appid": null,
            "out_trade_no": key.out_trade_no, "transaction_id": TX,
            "total_fee": 1999, "fee_type": "CNY", "cash_fee": 1999, "settlement_total_fee": null,
            "coupon_fee": null, "coupons": [], "trade_state": "SUCCESS", "trade_type": "JSAPI",
            "bank_type": "OTHERS", "attach": null, "paid_at": "2026-11-20T12:00:03+08:00",
            "learned_by": "notification", "late": false, "registered": true
        }
    });
    serde_json::from_value(json).unwrap()
}

/// Paid orders.
pub fn paid(numbers: std::ops::Range<usize>) -> Vec<Event> {
    numbers.map(|number| event(number, EventType::Paid)).collect()
}

/// A client of the broker that is not ours.
pub struct Outsider {
    pub connection: Connection,
    pub channel: Channel,
}

impl Outsider {
    pub async fn at(url: &str) -> Self {
        let connection = Connection::connect(url, ConnectionProperties::default()).await.unwrap();
        let channel = connection.create_channel().await.unwrap();
        Self { connection, channel }
    }

    /// A durable queue with these arguments, bound to the exchange.
    pub async fn subscribe(&self, queue: &str, exchange: &str, key: &str, arguments: &[(&str, AMQPValue)]) {
        let mut table = FieldTable::default();
        for (name, value) in arguments {
            table.insert((*name).into(), value.clone());
        }
        self.channel.queue_declare(queue.into(), QueueDeclareOptions::durable(), table).await.unwrap();
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        self.channel.queue_bind(queue.into(), exchange.into(), key.into(), options, none).await.unwrap();
    }

    /// The next message of a queue.
    pub async fn get(&self, queue: &str) -> Option<lapin::message::Delivery> {
        let options = BasicGetOptions { no_ack: true };
        self.channel.basic_get(queue.into(), options).await.unwrap().map(|message| message.delivery)
    }

    /// The events of a queue until it is empty.
    pub async fn events(&self, queue: &str) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(delivery) = self.get(queue).await {
            events.push(serde_json::from_slice(&delivery.data).unwrap());
        }
        events
    }

    pub async fn declares_passively(&self, queue: &str) -> bool {
        let channel = self.connection.create_channel().await.unwrap();
        let options = QueueDeclareOptions::durable().passive();
        channel.queue_declare(queue.into(), options, FieldTable::default()).await.is_ok()
    }
}
