//! `paybell reconcile`'s ways to a result: through the process that runs, or by itself where nothing else can be at
//! work on the ledger. Both leave the same request in the merchant's book and read the same answer.

use std::{path::Path, sync::Arc, time::Duration};

use ::bills::{Asked, Bills, Desk, Wish, finish};
use console::Scope;
use hyper::Method;
use paybell_core::{Day, MchId};
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::{
    api::Api,
    boot::{self, signals::Signals},
    config::{self, Config, values::base_url},
    engine::{Engine, Needs},
    error::Error,
};

/// Between two looks at how far it is.
const LOOK_GAP: Duration = Duration::from_millis(300);

/// What is to be reconciled.
pub struct Order<'o> {
    pub day: Day,
    pub file: Option<&'o Path>,
    /// Where the running process is, if not where the configuration says.
    pub api: Option<&'o str>,
}

/// Hears how far it is.
pub type Hears<'h> = &'h (dyn Fn(&Value) + Sync);

/// The day of one merchant as the private API shows it, once it is reconciled or cannot be.
pub async fn reconcile(
    config: &Config,
    mch_ids: &[MchId],
    order: &Order<'_>,
    hears: Hears<'_>,
) -> Result<Vec<Value>, Error> {
    let needs = Needs { ledger: true, appends: true, reads: true, seldom: false, deliveries: false };
    match Engine::open_for("paybell reconcile", config, needs).await {
        Ok(engine) => {
            let engine = Arc::new(engine);
            let done = by_itself(config, &engine, (mch_ids, order), hears).await;
            engine.close().await;
            done
        }
        // A process runs on the folder.
        Err(Error::Held { said: locked, .. }) => {
            let api = private_api(config, order.api)?;
            let mut views = Vec::new();
            for mch_id in mch_ids {
                let found = through_the_api(config, &api, (mch_id, order), hears).await;
                views.push(found.map_err(|error| Error::Failed(format!("{error}\n({locked})")))?);
            }
            Ok(views)
        }
        Err(error) => Err(error),
    }
}

/// With the engine in its own hands: on the cluster engine beside others, on the embedded one alone.
async fn by_itself(
    config: &Config,
    engine: &Arc<Engine>,
    (mch_ids, order): (&[MchId], &Order<'_>),
    hears: Hears<'_>,
) -> Result<Vec<Value>, Error> {
    let live = boot::merchants::live(&config.merchants);
    let mut bills = boot::bills::build(config, engine, &mut Registry::default(), &live)?;
    let me = random()?;
    (bills.wants.opening.by_itself, bills.me) = (false, Some(me));
    let ledger = engine.ledger();
    let folder = Some(bills.folder.clone());
    let desk = Desk { notes: ledger.notes.clone(), ledger: ledger.ledger.clone(), folder, by: Some(me) };
    let mut views = Vec::new();
    for mch_id in mch_ids {
        views.push(one_by_itself((config, &bills, &desk), mch_id, order, hears).await?);
    }
    Ok(views)
}

async fn one_by_itself(
    (config, bills, desk): (&Config, &Bills, &Desk),
    mch_id: &MchId,
    order: &Order<'_>,
    hears: Hears<'_>,
) -> Result<Value, Error> {
    let merchant = config.merchants.iter().find(|merchant| merchant.mch_id == *mch_id);
    let merchant = boot::bills::merchant(merchant.ok_or_else(|| unknown(mch_id))?);
    let file = laid(bills.folder.path(), mch_id, order)?;
    let wish = Wish { mch_id: mch_id.clone(), day: order.day, file };
    let request = match desk.ask(&wish).await.map_err(failed)? {
        Asked::Taken { request, .. } => request,
        Asked::NotOver => return Err(not_over(order.day)),
        Asked::NoFile => return Err(Error::Failed("the bill vanished from its folder".to_owned())),
        Asked::TooMany => return Err(too_many()),
    };
    let drain = CancellationToken::new();
    let mut signals = Signals::listen()?;
    let work = finish(bills, &merchant, order.day, &request, &drain);
    tokio::pin!(work);
    loop {
        tokio::select! {
            done = &mut work => {
                done.map_err(failed)?;
                break;
            }
            _ = signals.next(), if !drain.is_cancelled() => drain.cancel(),
            () = sleep(LOOK_GAP) => {
                if let Some(view) = desk.read(mch_id, order.day).await.map_err(failed)? {
                    hears(&view);
                }
            }
        }
    }
    if drain.is_cancelled() {
        return Err(Error::Stopped);
    }
    desk.read(mch_id, order.day)
        .await
        .map_err(failed)?
        .ok_or_else(|| Error::Failed("the day is gone".to_owned()))
}

/// The running process does it; this one waits.
async fn through_the_api(
    config: &Config,
    api: &Api,
    (mch_id, order): (&MchId, &Order<'_>),
    hears: Hears<'_>,
) -> Result<Value, Error> {
    let file = laid(&config.reconcile.folder, mch_id, order)?;
    let path = format!("/v1/bills/{mch_id}/{}", order.day);
    let body = match &file {
        Some(name) => json!({ "file": name }),
        None => json!({}),
    };
    let (_, taken) = api.change(Method::POST, &format!("{path}/reconcile"), &body).await?;
    let request = taken.pointer("/asked/request").cloned().unwrap_or_default();
    loop {
        let view = api.get(&path, &[]).await?;
        if view.pointer("/last/request") == Some(&request) {
            return Ok(view);
        }
        if view.pointer("/asked/request") != Some(&request) {
            return Err(Error::Failed(format!(
                "somebody else asked for {} at the same time: try again",
                order.day
            )));
        }
        hears(&view);
        sleep(LOOK_GAP).await;
    }
}

/// The API of the process that this configuration runs, with a token that may do it.
fn private_api(config: &Config, url: Option<&str>) -> Result<Api, Error> {
    let listen = config.console.listen.as_str();
    let (host, port) = listen.rsplit_once(':').unwrap_or((listen, "8081"));
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    let may = |token: &&config::Token| token.scopes.contains(&config::Scope::Operate);
    let token = config.console.tokens.iter().find(may);
    if token.is_none() && !config.console.tokens.is_empty() {
        let scope = Scope::Operate.as_str();
        return Err(Error::Usage(format!(
            "no token of [console] has the scope \"{scope}\", which this needs"
        )));
    }
    let url = match url {
        Some(url) => base_url(url).map_err(|what| Error::Usage(format!("--api: {what}")))?,
        None => format!("http://{host}:{port}"),
    };
    Api::with_token(&url, token.map(|token| &token.secret))
}

/// A person's bill, laid where the process that compares it looks.
fn laid(folder: &Path, mch_id: &MchId, order: &Order<'_>) -> Result<Option<String>, Error> {
    let Some(file) = order.file else { return Ok(None) };
    let folder = ::bills::Folder::open(folder).map_err(failed)?;
    let name = folder.lay(file, mch_id, order.day, random()?).map_err(failed)?;
    Ok(Some(name.as_str().to_owned()))
}

fn unknown(mch_id: &MchId) -> Error {
    Error::Usage(format!("merchant {mch_id} is not in the configuration"))
}

fn not_over(day: Day) -> Error {
    Error::Usage(format!("{day} is not over in Beijing: its bill is there after 10:00 of the next day"))
}

fn too_many() -> Error {
    Error::Failed("too many days wait already: try again when some are done".to_owned())
}

fn failed(error: ::bills::Error) -> Error {
    Error::Failed(error.to_string())
}

fn random() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::Failed(format!("the system gives no random numbers: {error}")))?;
    Ok(u64::from_le_bytes(bytes))
}
