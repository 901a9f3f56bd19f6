//! `/pay/orderquery`: tells the state of an order, or plays one of the faults that queries meet in the field. Changes
//! nothing but counts.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    faults::Fault,
    order::{Order, OrderKey, TradeState},
    wire::{Call, Fields, Refusal, payment_block, unsigned_fail},
    world::World,
};

use super::{Answer, FREQUENCY_LIMITED, Mishap, NOT_FOUND, SYSTEM_ERROR, find_order, is_hidden};

/// In this order; the first that strikes is played.
const FAILURES: [Fault; 7] = [
    Fault::QueryHttp500,
    Fault::QueryHtml,
    Fault::QueryReset,
    Fault::QuerySystemError,
    Fault::QueryFrequencyLimited,
    Fault::QueryUnsignedFail,
    Fault::QueryWrongSign,
];

pub(super) fn answer(call: &Call<'_>, world: &Arc<World>) -> Answer {
    let order = match call.check_identity().and_then(|()| find_order(call, world)) {
        Ok(order) if is_hidden(&order, world) => {
            return Answer::plain(call.answer(Err(NOT_FOUND), world));
        }
        Ok(order) => order,
        Err(refusal) => return Answer::plain(call.answer(Err(refusal), world)),
    };
    let query = order.traffic.queries.fetch_add(1, Relaxed);
    let faults = world.faults();
    let slow = world.strikes(Fault::QuerySlow, &order.key, query);
    let delay = if slow { Duration::from_millis(faults.query_slow_ms) } else { Duration::ZERO };
    let fault = FAILURES.into_iter().find(|fault| world.strikes(*fault, &order.key, query));
    let body = match fault {
        Some(Fault::QuerySystemError) => call.answer(Err(SYSTEM_ERROR), world),
        Some(Fault::QueryFrequencyLimited) => call.answer(Err(FREQUENCY_LIMITED), world),
        Some(Fault::QueryUnsignedFail) => unsigned_fail("系统繁忙，请稍后再试"),
        Some(Fault::QueryWrongSign) => call.wrongly_signed_answer(state_of(&order, world), world),
        _ => call.answer(state_of(&order, world), world),
    };
    let mishap = match fault {
        Some(Fault::QueryHttp500) => Some(Mishap::Http500),
        Some(Fault::QueryHtml) => Some(Mishap::Html),
        Some(Fault::QueryReset) => Some(Mishap::Cut),
        _ => None,
    };
    Answer { mishap, delay, ..Answer::plain(body) }
}

fn state_of<'a>(order: &'a Order, world: &World) -> Result<Fields<'a>, Refusal> {
    let lags = order.paid.as_ref().is_some_and(|paid| lags(&order.key, paid.at, world));
    let state = if lags { &TradeState::NotPay } else { &order.state };
    let mut fields = Fields::new();
    fields.put("trade_state", state.as_str());
    if !state.description().is_empty() {
        fields.put("trade_state_desc", state.description());
    }
    match &order.paid {
        Some(paid) if state.is_paid() => fields.extend(payment_block(order, paid)),
        _ => {
            // Observed: an empty element, and the amount although nothing is paid.
            fields.put("device_info", "");
            fields.put("total_fee", order.total_fee.to_string());
            fields.put("out_trade_no", &*order.key.out_trade_no);
            fields.put_some("attach", order.attach.as_deref());
        }
    }
    Ok(fields)
}

fn lags(key: &OrderKey, paid_at: Instant, world: &World) -> bool {
    let within = Instant::now() < paid_at + Duration::from_millis(world.faults().query_lag_ms);
    within && world.strikes(Fault::QueryLag, key, 0)
}
