//! Finds the server to talk to: the one that was named, or the master that the sentinels name. They are asked all at
//! once, and whoever knows of the latest failover is right: one that lost the others goes on naming a dead master.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Pipeline, Value};
use tokio::time::timeout;

use crate::address::{Address, Host};
use crate::greet::Trouble;
use crate::session::connect;

/// The longest that one sentinel may take.
const SENTINEL_MAX: Duration = Duration::from_secs(1);

/// The server to connect to now.
pub(crate) async fn find(address: &Address) -> Result<Host, Trouble> {
    find_surely(address).await.map(|(host, _)| host)
}

/// How sure it is that a server is the master.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sureness {
    /// More than half of all sentinels say so, or nobody else could.
    Agreed,
    /// Those that answered, who may have lost the others.
    Said,
}

/// The same, and how sure it is.
pub(crate) async fn find_surely(address: &Address) -> Result<(Host, Sureness), Trouble> {
    if address.service().is_none() {
        let host = address.hosts().first().cloned();
        let host = host.ok_or_else(|| Trouble::Away("no host is named".to_owned()))?;
        return Ok((host, Sureness::Agreed));
    }
    let (mut named, mut causes, mut refused) = (Vec::new(), Vec::new(), None);
    let sentinels = address.hosts();
    let mut asked: FuturesUnordered<_> =
        sentinels.iter().map(|sentinel| async move { (sentinel, ask(address, sentinel).await) }).collect();
    while let Some((sentinel, said)) = asked.next().await {
        match said {
            Ok(Some(master)) => named.push(master),
            Ok(None) => causes.push(format!("the sentinel {sentinel} knows no master of that name")),
            Err(Trouble::Away(cause)) => causes.push(format!("the sentinel {sentinel}: {cause}")),
            Err(denied) => refused = Some(denied),
        }
        // Nobody has to wait for one that is away.
        if let Some(master) = agreed(&named, sentinels.len()) {
            return Ok((master, Sureness::Agreed));
        }
    }
    match (latest(&named), refused) {
        (Some(master), _) => Ok((master, Sureness::Said)),
        (None, Some(refused)) => Err(refused),
        (None, None) => Err(Trouble::Away(causes.join("; "))),
    }
}

/// A master as a sentinel names it, with the number of the failover that made it one.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Named {
    host: Host,
    epoch: u64,
}

/// The master that more than half of all sentinels name, of the same failover.
fn agreed(named: &[Named], sentinels: usize) -> Option<Host> {
    let votes = |one: &&Named| named.iter().filter(|other| other == one).count();
    named.iter().find(|one| votes(one) * 2 > sentinels).map(|one| one.host.clone())
}

/// The master of the latest failover that anybody knows of; of two, the one that more name.
fn latest(named: &[Named]) -> Option<Host> {
    let votes = |one: &Named| named.iter().filter(|other| *other == one).count();
    named.iter().max_by_key(|one| (one.epoch, votes(one))).map(|one| one.host.clone())
}

/// Asks one sentinel within its time.
async fn ask(address: &Address, sentinel: &Host) -> Result<Option<Named>, Trouble> {
    let asked = timeout(SENTINEL_MAX, ask_in_any_time(address, sentinel)).await;
    asked.unwrap_or_else(|_| Err(Trouble::Away(format!("no answer within {} s", SENTINEL_MAX.as_secs()))))
}

async fn ask_in_any_time(address: &Address, sentinel: &Host) -> Result<Option<Named>, Trouble> {
    let client = address.client_of_sentinel(sentinel).map_err(Trouble::Refused)?;
    let mut connection = connect(&client).await.map_err(|error| crate::greet::trouble(&error))?;
    let mut question = Pipeline::new();
    let service = address.service().unwrap_or_default();
    question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    question.cmd("SENTINEL").arg("MASTER").arg(service);
    let answers = connection.send_packed_commands(&question, 0, 2).await;
    let mut answers = answers.map_err(|error| crate::greet::trouble(&error))?.into_iter();
    let (answer, facts) = (answers.next().unwrap_or(Value::Nil), answers.next().unwrap_or(Value::Nil));
    let answer = answer.extract_error().map_err(|error| crate::greet::trouble(&error))?;
    let named: Option<(String, u16)> = redis::from_redis_value(answer)
        .map_err(|_| Trouble::Away("the sentinel gave a strange answer".to_owned()))?;
    Ok(named.map(|(name, port)| Named { host: Host { name, port }, epoch: epoch_of(facts) }))
}

/// The number of the failover among a sentinel's facts of a master; 0 where it does not tell us.
fn epoch_of(facts: Value) -> u64 {
    let facts: HashMap<String, String> =
        facts.extract_error().ok().and_then(|facts| redis::from_redis_value(facts).ok()).unwrap_or_default();
    facts.get("config-epoch").and_then(|epoch| epoch.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(port: u16, epoch: u64) -> Named {
        Named { host: Host { name: "::1".to_owned(), port }, epoch }
    }

    fn port(host: Option<Host>) -> Option<u16> {
        host.map(|host| host.port)
    }

    #[test]
    fn a_sentinel_that_lost_the_others_is_outvoted() {
        let (old, new) = (named(1, 3), named(2, 4));
        assert_eq!(
            port(agreed(std::slice::from_ref(&old), 3)),
            None,
            "whoever answers first is not right by that"
        );
        assert_eq!(port(agreed(&[old.clone(), new.clone()], 3)), None);
        assert_eq!(port(agreed(&[old.clone(), new.clone(), new.clone()], 3)), Some(2));
        assert_eq!(port(agreed(std::slice::from_ref(&old), 1)), Some(1), "one alone is believed");
        assert_eq!(port(latest(&[old.clone(), old.clone(), new])), Some(2), "the later failover counts");
        assert_eq!(port(latest(&[named(5, 3), old.clone(), old])), Some(1));
        assert_eq!(port(latest(&[])), None);
    }

    #[test]
    fn the_failover_s_number_is_among_the_facts() {
        let text = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        let facts = ["name", "m", "config-epoch", "17", "quorum", "2"].map(text).to_vec();
        assert_eq!(epoch_of(Value::Array(facts)), 17);
        assert_eq!(epoch_of(Value::Nil), 0);
    }
}
