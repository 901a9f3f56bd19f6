//! Asking for a check: what a shop does when the payer returns to its page. Puts the wish in the queue; with a wait
//! it answers as soon as a worker has looked. With a reason it is a person's act and stands in the trail.

use std::time::Duration;

use hyper::{Response, StatusCode};
use paybell_core::act::Action;
use paybell_core::{Check, OrderKey, Record};
use serde::Serialize;
use tokio::time::{Instant, sleep_until};

use crate::answer::{Body, json};
use crate::audit::Deed;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::line::reason;
use crate::wait::Looked;

/// The longest wait of one request.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(30);

/// The check is stored and nothing more is known.
#[derive(Serialize)]
struct Asked<'a> {
    mch_id: &'a str,
    out_trade_no: &'a str,
    asked: bool,
}

/// `POST /v1/orders/{mch_id}/{out_trade_no}/check`.
pub(crate) async fn check(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["wait"])?;
    let key = call.key()?;
    shared.known_merchant(&key.mch_id)?;
    let fields = Fields::read_optional(&call.body, &["reason"])?;
    let (wait, why) = (query.wait(WAIT_MAX)?, reason(&fields)?);
    // A shop asks whenever a payer comes back, without saying why; who gives a reason, even an empty one, is a person.
    if fields.get("reason").is_none() {
        return look(shared, call, &key, wait).await;
    }
    let deed = Deed::on_order(Action::Check, &key, why);
    shared.audited(call, deed, look(shared, call, &key, wait)).await
}

async fn look(
    shared: &Shared,
    call: &Call,
    key: &OrderKey,
    wait: Option<Duration>,
) -> Result<Response<Body>, Error> {
    let Some(wait) = wait else {
        shared.ports.queue.publish(&[Check::manual(key.clone())]).await?;
        return Ok(asked(key));
    };
    match look_until(Instant::now() + wait, key, shared, call).await? {
        Looked::Record(looked) => settled(shared, key, &looked).await,
        Looked::Unknown => Err(Error::OrderNotFound),
        Looked::NotYet => match shared.ports.records.read(key).await? {
            Some(record) => shared.show_record(StatusCode::ACCEPTED, &record).await,
            None => Ok(asked(key)),
        },
    }
}

/// What the look found, once that outlives the loss of the server that said it: a shop rests on it for good.
async fn settled(shared: &Shared, key: &OrderKey, looked: &Record) -> Result<Response<Body>, Error> {
    let record = shared.ports.records.read_settled(key).await?.ok_or(Error::OrderNotFound)?;
    let is_looked_at = record.progress.looked_at >= looked.progress.looked_at;
    let status = if is_looked_at { StatusCode::OK } else { StatusCode::ACCEPTED };
    shared.show_record(status, &record).await
}

/// Waits for the order's look in hand, and joins the next one if that one gave up before this request's time.
pub(crate) async fn look_until(
    deadline: Instant,
    key: &OrderKey,
    shared: &Shared,
    call: &Call,
) -> Result<Looked, Error> {
    loop {
        let look = shared.waits.join(&shared.ports, key);
        look.asked.await?;
        let looked = tokio::select! {
            biased;
            looked = look.looked => looked?,
            () = call.drain.cancelled() => return Ok(Looked::NotYet),
            () = sleep_until(deadline) => return Ok(Looked::NotYet),
        };
        if !matches!(looked, Looked::NotYet) || Instant::now() >= deadline {
            return Ok(looked);
        }
    }
}

fn asked(key: &OrderKey) -> Response<Body> {
    let (mch_id, out_trade_no) = (key.mch_id.as_str(), key.out_trade_no.as_str());
    json(StatusCode::ACCEPTED, &Asked { mch_id, out_trade_no, asked: true })
}
