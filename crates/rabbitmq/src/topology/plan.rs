//! Everything that exists under a prefix, as data. `show`, `check` and `apply` read it, and so does every connection
//! that declares; there is no second list.
//!
//! It declares nothing itself and deletes nothing ever: `declare.rs` brings it to a broker.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use paybell_core::check::Lane;
use serde::Serialize;

use super::names;

/// What the topology depends on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// The beginning of every name.
    pub prefix: String,
    /// Queues per lane of checks.
    pub partitions: u16,
    /// After how many failed hand-overs the broker puts a check aside.
    pub delivery_limit: u32,
    /// How long the event log keeps events.
    pub events_age: Duration,
    /// A stream forgets whole segments, and looks at their age only when it begins a new one. A segment of 4 MiB holds
    /// about 6,000 events, so a small shop's log outlives its age by days, not by years.
    pub segment_bytes: u32,
}

impl Shape {
    /// The size of the event log's segments unless said otherwise.
    pub const SEGMENT_BYTES: u32 = 4 << 20;
}

/// An exchange or a queue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Item {
    pub name: String,
    pub kind: Kind,
    /// What it is declared with.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub arguments: BTreeMap<&'static str, Argument>,
    /// The exchange that feeds it, besides the default exchange.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bound_to: Option<String>,
    /// What it is for.
    pub purpose: &'static str,
}

/// What an item is. All of them are durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    TopicExchange,
    FanoutExchange,
    QuorumQueue,
    Stream,
}

/// What works by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// Checks, registrations and what is dead.
    Queue,
    /// Events.
    Log,
}

impl Part {
    pub(crate) const ALL: [Part; 2] = [Part::Queue, Part::Log];
}

impl Kind {
    /// Where an item of this kind belongs.
    pub(crate) fn part(self) -> Part {
        match self {
            Kind::FanoutExchange | Kind::QuorumQueue => Part::Queue,
            Kind::TopicExchange | Kind::Stream => Part::Log,
        }
    }

    /// The word in documents and messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::TopicExchange => "topic exchange",
            Kind::FanoutExchange => "fanout exchange",
            Kind::QuorumQueue => "quorum queue",
            Kind::Stream => "stream",
        }
    }

    /// The AMQP type of an exchange; `None` for queues.
    pub(crate) fn exchange(self) -> Option<&'static str> {
        match self {
            Kind::TopicExchange => Some("topic"),
            Kind::FanoutExchange => Some("fanout"),
            Kind::QuorumQueue | Kind::Stream => None,
        }
    }
}

/// The value of an argument.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    Number(i64),
    Text(String),
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Argument::Number(number) => write!(f, "{number}"),
            Argument::Text(text) => write!(f, "'{text}'"),
        }
    }
}

/// A limit that no check reaches. Left out, newer brokers would put 20 in its place and then drop dead checks.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000;

/// Everything under the prefix: exchanges first, then what others point to.
pub fn plan(shape: &Shape) -> Vec<Item> {
    let prefix = shape.prefix.as_str();
    let mut items = vec![
        events_exchange(names::events(prefix)),
        exchange(names::orders(prefix), Kind::FanoutExchange, "registrations by message"),
        Item {
            name: names::dead(prefix),
            kind: Kind::QuorumQueue,
            arguments: BTreeMap::from([
                text("x-queue-type", "quorum"),
                text("x-queue-leader-locator", "balanced"),
                text("x-overflow", "reject-publish"),
                number("x-delivery-limit", DEAD_DELIVERY_LIMIT),
            ]),
            bound_to: None,
            purpose: "what reached its delivery limit, until it has a due time",
        },
        Item {
            name: names::event_log(prefix),
            kind: Kind::Stream,
            arguments: BTreeMap::from([
                text("x-queue-type", "stream"),
                text("x-queue-leader-locator", "balanced"),
                text("x-max-age", &format!("{}s", shape.events_age.as_secs())),
                number("x-stream-max-segment-size-bytes", shape.segment_bytes.into()),
            ]),
            bound_to: None,
            purpose: "the record of what was emitted",
        },
        Item {
            bound_to: Some(names::orders(prefix)),
            ..work(shape, names::orders(prefix), "registrations that wait to be stored")
        },
    ];
    for (lane, purpose) in [
        (Lane::Urgent, "checks: notified, manual, billed, urgent due times"),
        (Lane::Cadence, "checks: cadence polls and their retries"),
    ] {
        let queue = |partition| work(shape, names::lane(prefix, lane, partition), purpose);
        items.extend((0..shape.partitions).map(queue));
    }
    items
}

/// The exchange of that name to which subscribers bind.
pub(crate) fn events_exchange(name: String) -> Item {
    exchange(name, Kind::TopicExchange, "events for subscribers, by TYPE.MCH_ID")
}

fn exchange(name: String, kind: Kind, purpose: &'static str) -> Item {
    Item { name, kind, arguments: BTreeMap::new(), bound_to: None, purpose }
}

/// A queue of work: at-least-once dead lettering works only together with a dead letter exchange and with
/// `reject-publish`; without them the broker falls back to losing dead checks and says nothing.
fn work(shape: &Shape, name: String, purpose: &'static str) -> Item {
    let arguments = BTreeMap::from([
        text("x-queue-type", "quorum"),
        text("x-queue-leader-locator", "balanced"),
        text("x-overflow", "reject-publish"),
        number("x-delivery-limit", shape.delivery_limit.into()),
        // The default exchange, which nobody can delete.
        text("x-dead-letter-exchange", ""),
        text("x-dead-letter-routing-key", &names::dead(&shape.prefix)),
        text("x-dead-letter-strategy", "at-least-once"),
    ]);
    Item { name, kind: Kind::QuorumQueue, arguments, bound_to: None, purpose }
}

fn text(key: &'static str, value: &str) -> (&'static str, Argument) {
    (key, Argument::Text(value.to_owned()))
}

fn number(key: &'static str, value: i64) -> (&'static str, Argument) {
    (key, Argument::Number(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A changed argument cannot be declared over the old one: whoever changes this asks every operator to act.
    #[test]
    fn the_topology_is_written_down() {
        let shape = Shape {
            prefix: "paybell".to_owned(),
            partitions: 1,
            delivery_limit: 20,
            events_age: Duration::from_secs(35 * 24 * 3600),
            segment_bytes: Shape::SEGMENT_BYTES,
        };
        insta::assert_snapshot!(serde_json::to_string_pretty(&plan(&shape)).unwrap());
    }
}
