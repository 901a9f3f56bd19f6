//! What exists on the broker: said in one place (`topology/plan.rs`), declared at every connection, checked on demand.
//!
//! It creates what is missing and names what differs. It never deletes or changes anything: what a broker has is an
//! operator's to take away. What AMQP does not tell is not checked: policies, bindings, the members of a queue.
//!
//! Where the user may declare nothing, what is there is used as it is. An event log that keeps events by another age
//! than the configuration says is used as well: emitting goes before tidiness.

mod declare;
mod definitions;
pub(crate) mod names;
mod plan;

use serde::Serialize;

pub use definitions::definitions;
pub use plan::{Argument, Item, Kind, Shape, plan};

use crate::config::{RabbitConfig, Settings};
use crate::error::ConfigError;
use crate::link::{LinkError, Session, once};
pub(crate) use declare::NOTHING_THERE;
use declare::{Answer, Desk};
pub(crate) use plan::{Part, events_exchange};

/// In what a broker differs from the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// It is not there; declaring creates it.
    #[error("{} {name} is missing: `paybell topology apply` creates it", kind.as_str())]
    Missing { name: String, kind: Kind },
    /// It is there and is something else. Arguments cannot be changed: restore the setting, or delete it (a queue when it
    /// is empty, the stream with what is in it) and declare it again.
    #[error("{} {name} differs: {difference}", kind.as_str())]
    Different { name: String, kind: Kind, difference: String },
    /// The broker took the argument and does nothing with it.
    #[error("{} {name}: the broker accepts {argument} and ignores it; RabbitMQ 3.10 or newer keeps it", kind.as_str())]
    Ignored { name: String, kind: Kind, argument: &'static str },
    /// It is not there, and we may not create it.
    #[error(
        "{} {name} is missing, and this user may not create it: import `paybell topology show --definitions VHOST` as an \
         administrator, or give the user the configure permission",
        kind.as_str()
    )]
    Forbidden { name: String, kind: Kind },
    /// It is there, and the broker compares arguments only for those who may declare.
    #[error(
        "{} {name} is there; its arguments were not compared, because this user has no configure permission (or may not \
         bind it)",
        kind.as_str()
    )]
    Uncompared { name: String, kind: Kind },
    /// The event log keeps events by another age than the configuration says, and is used as it is.
    #[error(
        "{} {name} is used as it is, though it was declared with another age than retention.events: {difference}; a \
         policy for max-age changes it (docs/operations.md, \"How long the event log keeps events\")",
        kind.as_str()
    )]
    Aged { name: String, kind: Kind, difference: String },
}

/// Why the topology could not be brought about.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TopologyError {
    /// What the broker has is not what we need.
    #[error("{}", told(.0))]
    Wrong(Vec<Finding>),
    /// The broker could not be asked.
    #[error(transparent)]
    Link(#[from] LinkError),
}

/// Why the broker was not asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unasked {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the broker could not be asked: {0}")]
    Away(String),
}

/// What declaring did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Applied {
    /// Names of what was not there.
    pub created: Vec<String>,
    /// What could not be brought about.
    pub findings: Vec<Finding>,
}

/// Compares the broker with the plan of a configuration; creates nothing.
pub async fn check(config: &RabbitConfig) -> Result<Vec<Finding>, Unasked> {
    let settings = Settings::judged(config)?;
    let session = once(&settings, "topology").await?;
    Ok(compare(&session, &settings.shape).await?)
}

/// Creates what is missing at the broker.
pub async fn apply(config: &RabbitConfig) -> Result<Applied, Unasked> {
    let settings = Settings::judged(config)?;
    let session = once(&settings, "topology").await?;
    let missing = compare(&session, &settings.shape).await?.into_iter().filter_map(|finding| match finding {
        Finding::Missing { name, .. } => Some(name),
        _ => None,
    });
    let mut created: Vec<String> = missing.collect();
    let findings = match ensure(&session, &settings.shape, &Part::ALL).await {
        Ok(findings) | Err(TopologyError::Wrong(findings)) => findings,
        Err(TopologyError::Link(cause)) => return Err(cause.into()),
    };
    let is_forbidden =
        |finding: &Finding, of: &String| matches!(finding, Finding::Forbidden { name, .. } if name == of);
    created.retain(|name| !findings.iter().any(|finding| is_forbidden(finding, name)));
    Ok(Applied { created, findings })
}

/// Declares everything of some parts, and gives what can be borne, or all findings if one cannot. The parts do not wait for
/// one another: a log that is away keeps no notification from being taken.
///
/// The first session of a process also asks whether the broker keeps the one argument whose loss nobody would notice.
pub(crate) async fn ensure(
    session: &Session,
    shape: &Shape,
    parts: &[Part],
) -> Result<Vec<Finding>, TopologyError> {
    let mut desk = Desk::at(session);
    let mut findings = Vec::new();
    let items: Vec<Item> = plan(shape).into_iter().filter(|item| parts.contains(&item.kind.part())).collect();
    for item in &items {
        findings.extend(brought_about(&mut desk, item).await?);
    }
    if session.generation() <= 1 && findings.iter().all(Finding::is_bearable) {
        let guarded = items.iter().find(|item| item.arguments.contains_key(DEAD_LETTER_STRATEGY));
        if let Some(item) = guarded {
            findings.extend(ignored(&mut desk, item, DEAD_LETTER_STRATEGY).await?);
        }
    }
    if findings.iter().all(Finding::is_bearable) { Ok(findings) } else { Err(TopologyError::Wrong(findings)) }
}

/// Declares one item.
pub(crate) async fn declare_one(session: &Session, item: &Item) -> Result<(), TopologyError> {
    match brought_about(&mut Desk::at(session), item).await? {
        Some(finding) if !finding.is_bearable() => Err(TopologyError::Wrong(vec![finding])),
        _ => Ok(()),
    }
}

/// Declares and binds an item; says what is wrong with it.
async fn brought_about(desk: &mut Desk<'_>, item: &Item) -> Result<Option<Finding>, LinkError> {
    Ok(match desk.declare(item).await? {
        Answer::Fine => (desk.bind(item).await? == Answer::Denied).then(|| Finding::uncompared(item)),
        Answer::Missing => Some(Finding::missing(item)),
        Answer::Refused(difference) => Some(differing(desk, item, difference).await?),
        Answer::Denied => Some(match desk.look(item).await? {
            Answer::Fine => Finding::uncompared(item),
            _ => Finding::forbidden(item),
        }),
    })
}

/// What a refusal means: of the event log, another age is borne if nothing else differs.
async fn differing(desk: &mut Desk<'_>, item: &Item, difference: String) -> Result<Finding, LinkError> {
    if item.kind != Kind::Stream || !difference.contains(MAX_AGE) {
        return Ok(Finding::different(item, difference));
    }
    // A broker that words it differently is believed: it named this argument and no other.
    let Some(age) = current_value(&difference) else { return Ok(Finding::aged(item, difference)) };
    let age = age.map(|age| Argument::Text(age.to_owned()));
    Ok(match desk.declare_with(item, MAX_AGE, age).await? {
        Answer::Refused(other) => Finding::different(item, other),
        _ => Finding::aged(item, difference),
    })
}

/// The value that stands, in the broker's words about a difference; inside, `None` where there is no such argument.
fn current_value(difference: &str) -> Option<Option<&str>> {
    let (_, current) = difference.split_once(" but current is ")?;
    if current.starts_with("none") { Some(None) } else { current.split('\'').nth(1).map(Some) }
}

/// How long a stream keeps what is in it.
const MAX_AGE: &str = "x-max-age";

/// Brokers before 3.10 take it and lose dead checks.
const DEAD_LETTER_STRATEGY: &str = "x-dead-letter-strategy";

/// Compares a broker with the plan; creates nothing.
pub(crate) async fn compare(session: &Session, shape: &Shape) -> Result<Vec<Finding>, LinkError> {
    let mut desk = Desk::at(session);
    let mut findings = Vec::new();
    let mut probed = Vec::new();
    for item in &plan(shape) {
        // Looking comes first: declaring what is missing would create it.
        if desk.look(item).await? != Answer::Fine {
            findings.push(Finding::missing(item));
            continue;
        }
        match desk.declare(item).await? {
            Answer::Fine | Answer::Missing => {}
            Answer::Refused(difference) => {
                findings.push(differing(&mut desk, item, difference).await?);
                continue;
            }
            Answer::Denied => {
                findings.push(Finding::uncompared(item));
                continue;
            }
        }
        for argument in declare::probes(item) {
            if !probed.contains(&(item.kind, argument)) {
                probed.push((item.kind, argument));
                findings.extend(ignored(&mut desk, item, argument).await?);
            }
        }
    }
    Ok(findings)
}

async fn ignored(
    desk: &mut Desk<'_>,
    item: &Item,
    argument: &'static str,
) -> Result<Option<Finding>, LinkError> {
    let answer = desk.contradict(item, argument).await?;
    let is_kept = answer != Answer::Fine;
    Ok((!is_kept).then(|| Finding::Ignored { name: item.name.clone(), kind: item.kind, argument }))
}

impl From<LinkError> for Unasked {
    fn from(cause: LinkError) -> Self {
        Unasked::Away(cause.told())
    }
}

impl Finding {
    fn missing(item: &Item) -> Self {
        Finding::Missing { name: item.name.clone(), kind: item.kind }
    }

    fn forbidden(item: &Item) -> Self {
        Finding::Forbidden { name: item.name.clone(), kind: item.kind }
    }

    fn uncompared(item: &Item) -> Self {
        Finding::Uncompared { name: item.name.clone(), kind: item.kind }
    }

    fn aged(item: &Item, difference: String) -> Self {
        Finding::Aged { name: item.name.clone(), kind: item.kind, difference }
    }

    /// Whether the engine works in spite of it.
    pub(crate) fn is_bearable(&self) -> bool {
        matches!(self, Finding::Uncompared { .. } | Finding::Aged { .. })
    }

    fn different(item: &Item, difference: String) -> Self {
        Finding::Different { name: item.name.clone(), kind: item.kind, difference }
    }
}

fn told(findings: &[Finding]) -> String {
    findings.iter().map(Finding::to_string).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use testkit::servers::{shared_rabbit, unique_prefix};

    use super::*;

    #[test]
    fn the_value_that_stands_is_read_from_the_brokers_words() {
        let told = |current: &str| {
            format!(
                "inequivalent arg 'x-max-age' for queue 'q' in vhost '/': received '1s' but current is {current}"
            )
        };
        assert_eq!(current_value(&told("'3024000s'")), Some(Some("3024000s")));
        assert_eq!(current_value(&told("the value '2s' of type 'longstr'")), Some(Some("2s")));
        assert_eq!(current_value(&told("none")), Some(None));
        assert_eq!(current_value("other words"), None);
    }

    #[tokio::test]
    async fn an_argument_that_the_broker_ignores_is_told() {
        let config = RabbitConfig { prefix: unique_prefix(), ..RabbitConfig::at(shared_rabbit().await) };
        let session = once(&Settings::judged(&config).unwrap(), "test").await.unwrap();
        let mut item = plan(&config.shape()).remove(2);
        // No RabbitMQ that we support knows it for such a queue.
        item.arguments.insert("x-paybell", Argument::Number(1));
        let mut desk = Desk::at(&session);
        assert_eq!(desk.declare(&item).await.unwrap(), Answer::Fine);
        let kept = ignored(&mut desk, &item, "x-delivery-limit").await.unwrap();
        assert_eq!(kept, None);
        let told = ignored(&mut desk, &item, "x-paybell").await.unwrap().unwrap();
        assert_eq!(told, Finding::Ignored { name: item.name, kind: item.kind, argument: "x-paybell" });
    }
}
