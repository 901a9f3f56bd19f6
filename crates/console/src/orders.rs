//! Orders: register one, read one, list them. Registering is the ledger's compare-and-set; the worker looks at the
//! order when it falls due.

use hyper::{Response, StatusCode};
use paybell_core::ports::OrderFilter;
use paybell_core::record::Record;
use paybell_core::refund::RefundState;
use paybell_core::register::Registered;
use paybell_core::{OrderKey, State};
use serde::Serialize;

use crate::answer::{Body, json};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::registration;
use crate::view::RecordView;

#[derive(Serialize)]
struct Page<'a> {
    orders: Vec<RecordView<'a>>,
    /// Orders that are there and cannot be read by this process: not to be taken for missing.
    unreadable: &'a [OrderKey],
    /// Always the place to continue.
    next: &'a str,
    has_more: bool,
}

/// `PUT /v1/orders/{mch_id}/{out_trade_no}`.
pub(crate) async fn put(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let key = call.key()?;
    shared.known_merchant(&key.mch_id)?;
    let application = registration::read(&call.body)?;
    let status = match shared.ports.registry.register(&key, &application).await? {
        Registered::Added => StatusCode::CREATED,
        Registered::Same => StatusCode::OK,
        Registered::Different(fields) => return Err(Error::Different { fields }),
        Registered::Ahead => return Err(Error::Ahead),
    };
    shared.show(status, &key).await
}

/// `GET /v1/orders/{mch_id}/{out_trade_no}`.
pub(crate) async fn get(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    shared.show(StatusCode::OK, &call.key()?).await
}

/// `GET /v1/orders`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["state", "mch_id", "limit", "after"])?;
    let filter = OrderFilter { state: query.get("state").map(state).transpose()?, mch_id: query.mch_id()? };
    let listed = shared.ports.records.list(&filter, query.get("after"), query.limit()?).await?;
    let page = listed.ok_or_else(not_a_cursor)?;
    let now = shared.ports.ledger.clock().await?.now;
    let orders = page.records.iter().map(|record| RecordView::of(record, now)).collect();
    let (unreadable, next) = (page.unreadable.as_slice(), page.next.as_str());
    Ok(json(StatusCode::OK, &Page { orders, unreadable, next, has_more: page.has_more }))
}

impl Shared {
    /// The stored record as the answer.
    pub(crate) async fn show(&self, status: StatusCode, key: &OrderKey) -> Result<Response<Body>, Error> {
        let record = self.record(key).await?;
        self.show_record(status, &record).await
    }

    /// The record. One that shows a refusal is read so that it outlives the loss of the server that said it: the shop pays
    /// back another way then, and a ledger that had forgotten the refusal would have the same refund sent once more.
    pub(crate) async fn record(&self, key: &OrderKey) -> Result<Record, Error> {
        let record = self.ports.records.read(key).await?.ok_or(Error::UnknownOrder)?;
        if record.refunds.iter().all(|refund| refund.state != RefundState::Refused) {
            return Ok(record);
        }
        self.ports.records.read_settled(key).await?.ok_or(Error::UnknownOrder)
    }

    /// A record in hand as the answer.
    pub(crate) async fn show_record(
        &self,
        status: StatusCode,
        record: &Record,
    ) -> Result<Response<Body>, Error> {
        let now = self.ports.ledger.clock().await?.now;
        Ok(json(status, &RecordView::of(record, now)))
    }
}

fn state(text: &str) -> Result<State, Error> {
    State::parse(text).ok_or_else(|| {
        let words: Vec<&str> = State::ALL.into_iter().map(State::as_str).collect();
        Error::field("state", format!("must be one of {}", words.join(", ")))
    })
}

fn not_a_cursor() -> Error {
    Error::field("after", "is no cursor of this listing; give `next` of an earlier answer")
}
