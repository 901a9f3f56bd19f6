//! The client library alone: as many confirms awaited at once as there would be connections, bodies as long as a
//! check's document. What is left of the ingress when everything but the publishing is taken away.

use std::{cell::RefCell, rc::Rc, time::Duration};

use paybell_core::{AppId, Check, OrderKey, TransactionId, record::SeenAs};
use rabbitmq::Baseline;
use tokio::{task::JoinSet, time::Instant};

use super::{
    WARM_UP,
    contestant::{Costs, Sample},
};
use crate::{
    bench::{
        APP_ID, MCH_ID,
        load::Latency,
        notifications::{out_trade_no, transaction_id},
    },
    error::Error,
};

pub async fn sample(
    baseline: &Rc<Baseline>,
    queue: &str,
    in_flight: u16,
    measured: Duration,
) -> Result<Sample, Error> {
    let (body, queue): (Rc<[u8]>, Rc<str>) = (document()?.into(), queue.into());
    let (begun, latency) = (Instant::now(), Rc::new(RefCell::new(Latency::new())));
    let before = Costs::now(None);
    let mut publishing = JoinSet::new();
    for _ in 0..in_flight {
        let (baseline, queue, body, latency) =
            (baseline.clone(), queue.clone(), body.clone(), latency.clone());
        publishing.spawn_local(async move {
            while begun.elapsed() < WARM_UP + measured {
                let asked_at = Instant::now();
                baseline.publish(&queue, &body).await?;
                let confirmed_at = Instant::now();
                let since = confirmed_at.saturating_duration_since(begun);
                if (WARM_UP..WARM_UP + measured).contains(&since) {
                    latency.borrow_mut().record(confirmed_at - asked_at);
                }
            }
            Ok::<_, rabbitmq::topology::Unasked>(())
        });
    }
    while let Some(ended) = publishing.join_next().await {
        let ended = ended.map_err(|error| Error::Failed(format!("a task ended: {error}")))?;
        ended.map_err(|error| Error::Failed(format!("the client library alone: {error}")))?;
    }
    let costs = Costs::now(None).since(before);
    let latency = latency.borrow();
    Ok(Sample::of(("raw", in_flight), (latency.count(), measured), &latency, costs))
}

/// What the ingress publishes for one of the notifications.
fn document() -> Result<Vec<u8>, Error> {
    let told = |error: &dyn std::error::Error| Error::Failed(error.to_string());
    let key = OrderKey::new(MCH_ID, out_trade_no(0)).map_err(|error| told(&error))?;
    let appid = AppId::new(APP_ID).map_err(|error| told(&error))?;
    let transaction_id = TransactionId::new(transaction_id(0)).map_err(|error| told(&error))?;
    let check = Check::notified(key, Some(transaction_id));
    Ok(check.with_seen_as(SeenAs { appid, sub_mch_id: None }).to_json())
}
