//! Having an order told outside that was decided in shadow mode. Puts a check in the queue that says so; the worker's
//! next look, made with a new query, tells it.

use hyper::{Response, StatusCode};
use paybell_core::act::Action;
use paybell_core::{Check, OrderKey, Telling};

use crate::answer::Body;
use crate::audit::Deed;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::line::reason;

/// `POST /v1/orders/{mch_id}/{out_trade_no}/release`.
pub(crate) async fn release(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let key = call.key()?;
    let fields = Fields::read_optional(&call.body, &["reason"])?;
    let deed = Deed::on_order(Action::Release, &key, reason(&fields)?);
    shared.audited(call, deed, ask(shared, &key)).await?;
    shared.show(StatusCode::ACCEPTED, &key).await
}

async fn ask(shared: &Shared, key: &OrderKey) -> Result<(), Error> {
    let record = shared.ports.records.read(key).await?.ok_or(Error::UnknownOrder)?;
    if record.withheld().next().is_none() {
        return Err(Error::NothingWithheld);
    }
    let check = Check::manual(key.clone()).with_telling(Telling::Release);
    Ok(shared.ports.queue.publish(&[check]).await?)
}
