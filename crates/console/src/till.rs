//! Placing and closing: what a shop demands of WeChat and waits for. Reads the demand and writes the answer; what is
//! stored before WeChat is called, and what a lost answer means, is the [`Cashier`]'s business.
//!
//! [`Cashier`]: paybell_core::ports::Cashier

use std::sync::Arc;
use std::time::Duration;

use hyper::{Response, StatusCode};
use paybell_core::act::Action;
use paybell_core::ids::OutTradeNo;
use paybell_core::place::{Fields as Named, Order, Pay, Placed};
use paybell_core::ports::Closed;
use paybell_core::{OrderKey, State};
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, sleep_until};

use crate::answer::{Body, json as answer};
use crate::audit::Deed;
use crate::check::{WAIT_MAX, look_until};
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::fields::Fields;
use crate::line::reason;
use crate::placement;
use crate::view::{RecordView, moment};
use crate::wait::Looked;

/// Between two looks at an order that is closed and not yet told so.
const LOOK_GAP: Duration = Duration::from_millis(250);

/// What the shop gives to the payer's device.
#[derive(Serialize)]
struct PlacedView<'p> {
    mch_id: &'p str,
    out_trade_no: &'p str,
    trade_type: &'static str,
    prepay_id: &'p str,
    good_until: String,
    repeated: bool,
    closed: Vec<&'p str>,
    pay: Value,
}

/// What closing came to, and the order as it is known.
#[derive(Serialize)]
struct ClosedView<'c> {
    mch_id: &'c str,
    out_trade_no: &'c str,
    closed: &'static str,
    order: Option<RecordView<'c>>,
}

/// `POST /v1/orders/{mch_id}/{out_trade_no}/place`.
pub(crate) async fn place(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let key = call.key()?;
    shared.known_merchant(&key.mch_id)?;
    let order = placement::read(key, &call.body)?;
    let placed = shared.ports.cashier.place(&order).await?;
    let status = if placed.is_repeat { StatusCode::OK } else { StatusCode::CREATED };
    Ok(answer(status, &PlacedView::of(&order, &placed)))
}

/// `POST /v1/orders/{mch_id}/{out_trade_no}/close`. With a reason it is a person's act and stands in the trail.
pub(crate) async fn close(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["wait"])?;
    let key = call.key()?;
    shared.known_merchant(&key.mch_id)?;
    let fields = Fields::read_optional(&call.body, &["reason"])?;
    let (wait, why) = (query.wait(WAIT_MAX)?, reason(&fields)?);
    let closed = if fields.get("reason").is_none() {
        close_now(shared, &key).await?
    } else {
        let deed = Deed::on_order(Action::Close, &key, why);
        shared.audited(call, deed, close_now(shared, &key)).await?
    };
    let (status, record) = match wait {
        None => (StatusCode::ACCEPTED, shared.ports.records.read(&key).await?),
        Some(wait) => match look_after(closed, Instant::now() + wait, (&key, shared, call)).await? {
            Looked::Record(record) => (StatusCode::OK, Some(Arc::unwrap_or_clone(record))),
            Looked::Unknown => (StatusCode::OK, None),
            Looked::NotYet => (StatusCode::ACCEPTED, shared.ports.records.read(&key).await?),
        },
    };
    let now = shared.ports.ledger.clock().await?.now;
    let order = record.as_ref().map(|record| RecordView::of(record, now));
    let (mch_id, out_trade_no) = (key.mch_id.as_str(), key.out_trade_no.as_str());
    Ok(answer(status, &ClosedView { mch_id, out_trade_no, closed: word_of(closed), order }))
}

/// The order as a look saw it that began after the close. One that was under way meanwhile, or ended just before, saw it
/// open: the next one is due a second later.
async fn look_after(
    closed: Closed,
    deadline: Instant,
    (key, shared, call): (&OrderKey, &Shared, &Call),
) -> Result<Looked, Error> {
    loop {
        let looked = look_until(deadline, key, shared, call).await?;
        let is_early = closed == Closed::Now
            && matches!(&looked, Looked::Record(record) if record.state == State::Pending);
        if !is_early || Instant::now() >= deadline {
            return Ok(looked);
        }
        tokio::select! {
            () = call.drain.cancelled() => return Ok(looked),
            () = sleep_until(deadline.min(Instant::now() + LOOK_GAP)) => {}
        }
    }
}

async fn close_now(shared: &Shared, key: &OrderKey) -> Result<Closed, Error> {
    Ok(shared.ports.cashier.close(key).await?)
}

fn word_of(closed: Closed) -> &'static str {
    match closed {
        Closed::Now => "now",
        Closed::Before => "before",
        Closed::NeverPlaced => "never_placed",
    }
}

impl<'p> PlacedView<'p> {
    fn of(order: &'p Order, placed: &'p Placed) -> Self {
        Self {
            mch_id: order.key.mch_id.as_str(),
            out_trade_no: order.key.out_trade_no.as_str(),
            trade_type: placed.trade_type.as_str(),
            prepay_id: &placed.prepay_id,
            good_until: moment(placed.good_until),
            repeated: placed.is_repeat,
            closed: placed.closed.iter().map(OutTradeNo::as_str).collect(),
            pay: pay(&placed.pay),
        }
    }
}

/// Under the name of the call that takes it.
fn pay(pay: &Pay) -> Value {
    match pay {
        Pay::Jsapi { bridge, jssdk } => json!({ "bridge": named(bridge), "jssdk": named(jssdk) }),
        Pay::MiniProgram(fields) => json!({ "mini_program": named(fields) }),
        Pay::App(fields) => json!({ "app": named(fields) }),
        Pay::Native { code_url } => json!({ "code_url": code_url }),
        Pay::Mweb { mweb_url } => json!({ "mweb_url": mweb_url }),
    }
}

fn named(fields: &Named) -> Map<String, Value> {
    fields.iter().map(|(name, value)| ((*name).to_owned(), json!(value))).collect()
}
