//! One item and a broker: is it there, is it what we want, bring it there.
//!
//! The broker answers a wrong declaration by closing the channel, so every refusal costs one; the next item gets a
//! fresh one. Nothing is ever deleted or changed: an argument cannot be.

use std::collections::BTreeMap;
use std::time::Duration;

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ErrorKind, ExchangeKind};

use super::plan::{Argument, Item, Kind};
use crate::link::{LinkError, Session, bounded};

/// How long the broker may take for one declaration: a new quorum queue is a small election.
const DECLARE_TIMEOUT: Duration = Duration::from_secs(5);

const NOT_FOUND: u16 = 404;
/// How the broker's words begin where nothing of that name is there.
pub(crate) const NOTHING_THERE: &str = "NOT_FOUND - no ";
const ACCESS_REFUSED: u16 = 403;
const PRECONDITION_FAILED: u16 = 406;

/// What the broker said to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Fine,
    Missing,
    /// Its words about the difference.
    Refused(String),
    /// This user may not declare it. Whether it is there, looking tells.
    Denied,
}

/// Asks a broker, one question after the other.
pub(super) struct Desk<'a> {
    session: &'a Session,
    channel: Option<Channel>,
}

impl<'a> Desk<'a> {
    pub(super) fn at(session: &'a Session) -> Self {
        Self { session, channel: None }
    }

    /// Declares it as we want it, creating it if it is not there.
    pub(super) async fn declare(&mut self, item: &Item) -> Result<Answer, LinkError> {
        self.ask(item, &item.arguments, false).await
    }

    /// Declares it with another value for one argument, or without it.
    pub(super) async fn declare_with(
        &mut self,
        item: &Item,
        argument: &'static str,
        value: Option<Argument>,
    ) -> Result<Answer, LinkError> {
        let mut arguments = item.arguments.clone();
        arguments.remove(argument);
        arguments.extend(value.map(|value| (argument, value)));
        self.ask(item, &arguments, false).await
    }

    /// Whether something of that name is there; creates nothing.
    pub(super) async fn look(&mut self, item: &Item) -> Result<Answer, LinkError> {
        self.ask(item, &BTreeMap::new(), true).await
    }

    /// Declares what is there with another value for one argument. A broker that keeps the argument refuses; one that
    /// does not know it says yes, and changes nothing.
    pub(super) async fn contradict(
        &mut self,
        item: &Item,
        argument: &'static str,
    ) -> Result<Answer, LinkError> {
        let other = item.arguments.get(argument).map(|value| other_value(argument, value));
        self.declare_with(item, argument, other).await
    }

    /// Feeds the item from its exchange.
    pub(super) async fn bind(&mut self, item: &Item) -> Result<Answer, LinkError> {
        let Some(exchange) = &item.bound_to else { return Ok(Answer::Fine) };
        let channel = self.channel().await?;
        let (queue, exchange) = (item.name.as_str().into(), exchange.as_str().into());
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bound = channel.queue_bind(queue, exchange, "".into(), options, none);
        let answered = async {
            match bound.await {
                Ok(()) => Ok(Answer::Fine),
                Err(error) if code_of(&error) == Some(ACCESS_REFUSED) => Ok(Answer::Denied),
                Err(error) => Err(error),
            }
        };
        let answer = bounded("bind", DECLARE_TIMEOUT, answered).await;
        if !matches!(answer, Ok(Answer::Fine)) {
            self.channel = None;
        }
        answer
    }

    async fn ask(&mut self, item: &Item, arguments: &Arguments, passive: bool) -> Result<Answer, LinkError> {
        let channel = self.channel().await?;
        let name = item.name.as_str().into();
        let arguments = table(arguments);
        let asked = async {
            let answered = match item.kind.exchange() {
                Some(kind) => {
                    let options = ExchangeDeclareOptions { durable: true, passive, ..Default::default() };
                    channel.exchange_declare(name, exchange_kind(kind), options, arguments).await
                }
                None => {
                    let options = QueueDeclareOptions { durable: true, passive, ..Default::default() };
                    channel.queue_declare(name, options, arguments).await.map(drop)
                }
            };
            match answered {
                Ok(()) => Ok(Answer::Fine),
                Err(error) if !passive && code_of(&error) == Some(ACCESS_REFUSED) => Ok(Answer::Denied),
                Err(error) => answer_of(error),
            }
        };
        let answer = bounded("declare", DECLARE_TIMEOUT, asked).await.map_err(|error| explained(error, item));
        if !matches!(answer, Ok(Answer::Fine)) {
            self.channel = None;
        }
        answer
    }

    async fn channel(&mut self) -> Result<Channel, LinkError> {
        if let Some(channel) = &self.channel {
            return Ok(channel.clone());
        }
        let channel = self.session.channel().await?;
        Ok(self.channel.insert(channel).clone())
    }
}

type Arguments = BTreeMap<&'static str, Argument>;

/// A refusal is an answer; everything else is trouble with the connection.
fn answer_of(error: lapin::Error) -> Result<Answer, lapin::Error> {
    match error.kind() {
        ErrorKind::ProtocolError(told) => match told.get_id() {
            // It also answers so for what is there and whose node is down: that passes, and nothing is to be created.
            NOT_FOUND if told.get_message().as_str().contains(NOTHING_THERE) => Ok(Answer::Missing),
            PRECONDITION_FAILED => Ok(Answer::Refused(words(told.get_message().as_str()))),
            _ => Err(error),
        },
        _ => Err(error),
    }
}

/// Of what is there and whose node is down, the broker says only "not found".
fn explained(error: LinkError, item: &Item) -> LinkError {
    match &error {
        LinkError::Amqp { cause, .. } if is_not_found(cause) => LinkError::Unserved(item.name.clone()),
        _ => error,
    }
}

fn is_not_found(error: &lapin::Error) -> bool {
    code_of(error) == Some(NOT_FOUND)
}

fn code_of(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(told) => Some(told.get_id()),
        _ => None,
    }
}

/// `PRECONDITION_FAILED - inequivalent arg …` without its first word.
fn words(text: &str) -> String {
    text.split_once(" - ").map_or(text, |(_, words)| words).to_owned()
}

fn exchange_kind(kind: &str) -> ExchangeKind {
    ExchangeKind::Custom(kind.to_owned())
}

fn table(arguments: &Arguments) -> FieldTable {
    let mut table = FieldTable::default();
    for (key, value) in arguments {
        let value = match value {
            Argument::Number(number) => AMQPValue::LongLongInt(*number),
            Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
        };
        table.insert((*key).into(), value);
    }
    table
}

/// A value that a broker would accept as well, and that differs.
fn other_value(argument: &str, value: &Argument) -> Argument {
    let text = |text: &str| Argument::Text(text.to_owned());
    match (argument, value) {
        ("x-queue-type", _) => text("classic"),
        ("x-queue-leader-locator", _) => text("client-local"),
        ("x-overflow", _) => text("drop-head"),
        ("x-dead-letter-strategy", _) => text("at-most-once"),
        ("x-max-age", Argument::Text(was)) => Argument::Text(format!("1{was}")),
        (_, Argument::Number(number)) => Argument::Number(number.saturating_add(1)),
        (_, Argument::Text(was)) => Argument::Text(format!("{was}.other")),
    }
}

/// Which arguments tell a broker apart that accepts and ignores them.
pub(super) fn probes(item: &Item) -> impl Iterator<Item = &'static str> {
    let is_queue = matches!(item.kind, Kind::QuorumQueue | Kind::Stream);
    item.arguments.keys().copied().filter(move |_| is_queue)
}
