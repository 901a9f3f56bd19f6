//! What exists on the broker: said in one place (`topology/plan.rs`), declared at every connection, checked on demand.
//!
//! It creates what is missing and names what differs. It never deletes or changes anything: what a broker has is an
//! operator's to take away. What AMQP does not tell is not checked: policies, bindings, the members of a queue.

mod declare;
mod definitions;
pub(crate) mod names;
mod plan;

use serde::Serialize;

pub use definitions::definitions;
pub(crate) use plan::Part;
pub use plan::{Argument, Item, Kind, Shape, plan};

use crate::config::{RabbitConfig, Settings};
use crate::error::ConfigError;
use crate::link::{LinkError, Session, once};
pub(crate) use declare::NOTHING_THERE;
use declare::{Answer, Desk};

/// In what a broker differs from the plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[serde(tag = "finding", rename_all = "kebab-case")]
pub enum Finding {
    /// It is not there; declaring creates it.
    #[error("{} {name} is missing: `paybell topology apply` creates it", kind.as_str())]
    Missing { name: String, kind: Kind },
    /// It is there and is something else. Arguments cannot be changed: restore the setting, or delete it when it is
    /// empty and declare it again.
    #[error("{} {name} differs: {difference}", kind.as_str())]
    Different { name: String, kind: Kind, difference: String },
    /// The broker took the argument and does nothing with it.
    #[error("{} {name}: the broker accepts {argument} and ignores it; RabbitMQ 3.10 or newer keeps it", kind.as_str())]
    Ignored { name: String, kind: Kind, argument: &'static str },
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
        Finding::Different { .. } | Finding::Ignored { .. } => None,
    });
    let created = missing.collect();
    let findings = match ensure(&session, &settings.shape, &Part::ALL).await {
        Ok(()) => Vec::new(),
        Err(TopologyError::Wrong(findings)) => findings,
        Err(TopologyError::Link(cause)) => return Err(cause.into()),
    };
    Ok(Applied { created, findings })
}

/// Declares everything of some parts, and says all that differs. The parts do not wait for one another: a log that is away
/// keeps no notification from being taken.
///
/// The first session of a process also asks whether the broker keeps the one argument whose loss nobody would notice.
pub(crate) async fn ensure(session: &Session, shape: &Shape, parts: &[Part]) -> Result<(), TopologyError> {
    let mut desk = Desk::at(session);
    let mut findings = Vec::new();
    let items: Vec<Item> = plan(shape).into_iter().filter(|item| parts.contains(&item.kind.part())).collect();
    for item in &items {
        match desk.declare(item).await? {
            Answer::Fine => desk.bind(item).await?,
            Answer::Missing => findings.push(Finding::missing(item)),
            Answer::Refused(difference) => findings.push(Finding::different(item, difference)),
        }
    }
    if session.generation() <= 1 && findings.is_empty() {
        let guarded = items.iter().find(|item| item.arguments.contains_key(DEAD_LETTER_STRATEGY));
        if let Some(item) = guarded {
            findings.extend(ignored(&mut desk, item, DEAD_LETTER_STRATEGY).await?);
        }
    }
    if findings.is_empty() { Ok(()) } else { Err(TopologyError::Wrong(findings)) }
}

/// Declares one item.
pub(crate) async fn declare_one(session: &Session, item: &Item) -> Result<(), TopologyError> {
    match Desk::at(session).declare(item).await? {
        Answer::Fine => Ok(()),
        Answer::Missing => Err(TopologyError::Wrong(vec![Finding::missing(item)])),
        Answer::Refused(difference) => Err(TopologyError::Wrong(vec![Finding::different(item, difference)])),
    }
}

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
        if let Answer::Refused(difference) = desk.declare(item).await? {
            findings.push(Finding::different(item, difference));
            continue;
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
        Unasked::Away(cause.to_string())
    }
}

impl Finding {
    fn missing(item: &Item) -> Self {
        Finding::Missing { name: item.name.clone(), kind: item.kind }
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
