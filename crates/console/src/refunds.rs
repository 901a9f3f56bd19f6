//! Refunds of an order: ask for one, read them. Asking is the ledger's compare-and-set, and moves no money: the worker
//! sends it, always under the same number, and only WeChat's verified word moves it on.

use std::time::Duration;

use hyper::{Response, StatusCode};
use paybell_core::OrderKey;
use paybell_core::act::Action;
use paybell_core::ids::OutRefundNo;
use paybell_core::refund::{Refund, RefundApplication, RefundAsked, RefundDenial, RefundState};
use serde::Serialize;
use tokio::time::{Instant, sleep};

use crate::answer::{Body, json};
use crate::audit::Deed;
use crate::check::WAIT_MAX;
use crate::console::{Call, Shared};
use crate::error::Error;
use crate::query::id_error;
use crate::refund_body;
use crate::refund_view::RefundView;

/// Between two readings of the ledger while a caller waits.
const READ_GAP: Duration = Duration::from_millis(50);

#[derive(Serialize)]
struct Listing<'a> {
    refunds: Vec<RefundView<'a>>,
}

/// `POST /v1/orders/{mch_id}/{out_trade_no}/refunds`.
pub(crate) async fn ask(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    let query = call.query(&["wait"])?;
    let (key, wait) = (call.key()?, query.wait(WAIT_MAX)?);
    shared.known_merchant(&key.mch_id)?;
    let (application, why) = refund_body::read(&call.body, &call.who)?;
    let deed = deed(&key, &application, &why);
    let status = shared.audited(call, deed, store(shared, &key, &application)).await?;
    let number = &application.out_refund_no;
    match wait {
        None => show(shared, status, &key, number).await,
        Some(wait) => taken_or_refused(shared, call, (status, wait), &key, number).await,
    }
}

/// The sum stands in the trail: it is what somebody asks for later.
fn deed(key: &OrderKey, application: &RefundApplication, why: &str) -> Deed {
    let number = &application.out_refund_no;
    let fee = application.refund_fee.get();
    let why = if why.is_empty() { format!("{fee} fen") } else { format!("{fee} fen: {why}") };
    let mut deed = Deed::on_order(Action::Refund, key, why);
    deed.object.push_str(&format!("/refunds/{number}"));
    deed
}

async fn store(
    shared: &Shared,
    key: &OrderKey,
    application: &RefundApplication,
) -> Result<StatusCode, Error> {
    match shared.ports.registry.refund(key, application).await? {
        RefundAsked::Added => Ok(StatusCode::CREATED),
        RefundAsked::Same => Ok(StatusCode::OK),
        RefundAsked::Different(fields) => Err(Error::DifferentRefund { fields }),
        RefundAsked::Denied(denial) => Err(denied(denial)),
    }
}

fn denied(denial: RefundDenial) -> Error {
    match denial {
        RefundDenial::TotalFeeNeeded => Error::field(
            "total_fee",
            "is missing: the order or its amount is not known here, so say the whole amount that was paid, in fen",
        ),
        RefundDenial::Nothing => Error::field("refund_fee", "must be more than nothing"),
        RefundDenial::NotPaid(state) => Error::NotRefundable { state },
        RefundDenial::TooMany => Error::TooManyRefunds,
        RefundDenial::MoreThanPaid { paid, other_refunds } => {
            Error::MoreThanPaid { paid: paid.get(), other_refunds }
        }
        RefundDenial::OtherCurrency(paid) => {
            Error::NotAsPaid { field: "fee_type", paid: paid.as_str().to_owned() }
        }
        RefundDenial::OtherTotal(paid) => {
            Error::NotAsPaid { field: "total_fee", paid: paid.get().to_string() }
        }
    }
}

/// Waits until WeChat's word on the request is known. 202 says that it is not, and that the request goes on.
async fn taken_or_refused(
    shared: &Shared,
    call: &Call,
    (status, wait): (StatusCode, Duration),
    key: &OrderKey,
    number: &OutRefundNo,
) -> Result<Response<Body>, Error> {
    let deadline = Instant::now() + wait;
    loop {
        let record = shared.record(key).await?;
        let refund = record.refund(number).ok_or(Error::UnknownRefund)?;
        match refund.state {
            RefundState::Refused => return Err(refused(refund)),
            RefundState::Asked | RefundState::Notified => {}
            _ => return Ok(json(status, &RefundView::of(key, refund))),
        }
        tokio::select! {
            biased;
            () = call.drain.cancelled() => return Ok(json(StatusCode::ACCEPTED, &RefundView::of(key, refund))),
            () = sleep(READ_GAP.min(deadline.saturating_duration_since(Instant::now()))) => {}
        }
        if Instant::now() >= deadline {
            return show(shared, StatusCode::ACCEPTED, key, number).await;
        }
    }
}

fn refused(refund: &Refund) -> Error {
    match &refund.refusal {
        Some(refusal) => Error::RefundRefused { refusal: Box::new(refusal.clone()) },
        None => Error::UnknownRefund,
    }
}

/// `GET /v1/orders/{mch_id}/{out_trade_no}/refunds`.
pub(crate) async fn list(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let record = shared.record(&call.key()?).await?;
    let refunds = record.refunds.iter().map(|refund| RefundView::of(&record.key, refund)).collect();
    Ok(json(StatusCode::OK, &Listing { refunds }))
}

/// `GET /v1/orders/{mch_id}/{out_trade_no}/refunds/{out_refund_no}`.
pub(crate) async fn get(shared: &Shared, call: &Call) -> Result<Response<Body>, Error> {
    call.query(&[])?;
    let number = OutRefundNo::new(call.param("out_refund_no"));
    let number = number.map_err(|error| id_error("out_refund_no", &error))?;
    show(shared, StatusCode::OK, &call.key()?, &number).await
}

async fn show(
    shared: &Shared,
    status: StatusCode,
    key: &OrderKey,
    number: &OutRefundNo,
) -> Result<Response<Body>, Error> {
    let record = shared.record(key).await?;
    let refund = record.refund(number).ok_or(Error::UnknownRefund)?;
    Ok(json(status, &RefundView::of(key, refund)))
}
