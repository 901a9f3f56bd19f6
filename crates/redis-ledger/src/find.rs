//! Finds the server to talk to: the one that was named, or the master that a sentinel names.

use std::time::Duration;

use redis::{Pipeline, Value};
use tokio::time::timeout;

use crate::address::{Address, Host};
use crate::greet::Trouble;
use crate::session::connect;

/// The longest that one sentinel may take.
const SENTINEL_MAX: Duration = Duration::from_secs(1);

/// The server to connect to now.
pub(crate) async fn find(address: &Address) -> Result<Host, Trouble> {
    if address.service().is_none() {
        let host = address.hosts().first();
        return host.cloned().ok_or_else(|| Trouble::Away("no host is named".to_owned()));
    }
    let mut causes = Vec::new();
    for sentinel in address.hosts() {
        match ask(address, sentinel).await {
            Ok(Some(master)) => return Ok(master),
            Ok(None) => causes.push(format!("the sentinel {sentinel} knows no master of that name")),
            Err(Trouble::Away(cause)) => causes.push(format!("the sentinel {sentinel}: {cause}")),
            Err(refused) => return Err(refused),
        }
    }
    Err(Trouble::Away(causes.join("; ")))
}

/// Asks one sentinel within its time.
async fn ask(address: &Address, sentinel: &Host) -> Result<Option<Host>, Trouble> {
    let asked = timeout(SENTINEL_MAX, ask_in_any_time(address, sentinel)).await;
    asked.unwrap_or_else(|_| Err(Trouble::Away(format!("no answer within {} s", SENTINEL_MAX.as_secs()))))
}

async fn ask_in_any_time(address: &Address, sentinel: &Host) -> Result<Option<Host>, Trouble> {
    let client = address.client_of_sentinel(sentinel).map_err(Trouble::Refused)?;
    let mut connection = connect(&client).await.map_err(|error| crate::greet::trouble(&error))?;
    let mut question = Pipeline::new();
    let service = address.service().unwrap_or_default();
    question.cmd("SENTINEL").arg("GET-MASTER-ADDR-BY-NAME").arg(service);
    let answers = connection.send_packed_commands(&question, 0, 1).await;
    let answer = answers.map_err(|error| crate::greet::trouble(&error))?.pop().unwrap_or(Value::Nil);
    let answer = answer.extract_error().map_err(|error| crate::greet::trouble(&error))?;
    let named: Option<(String, u16)> = redis::from_redis_value(answer)
        .map_err(|_| Trouble::Away("the sentinel gave a strange answer".to_owned()))?;
    Ok(named.map(|(name, port)| Host { name, port }))
}
