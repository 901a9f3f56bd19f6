//! `/pay/refundquery`: tells what became of the refunds of an order, ten at a time. Changes nothing but counts.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use tokio::time::Instant;

use crate::{
    clock,
    faults::Fault,
    order::{Order, OrderKey},
    refund::{Refund, RefundKey, RefundState},
    wire::{Call, Fields, Refusal},
    world::World,
};

use super::{find_order, is_own, refund};

/// Refunds in one answer.
const PAGE: usize = 10;
const NONE: Refusal = Refusal::Business { code: "REFUNDNOTEXIST", text: "not exist" };

pub(super) fn query(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let (order, only) = find(call, world)?;
    let wanted = |refund: &&Arc<Refund>| only.as_ref().is_none_or(|only| *only == refund.out_refund_no);
    let refunds: Vec<_> =
        order.refunds.iter().filter(wanted).filter_map(|refund| seen(refund, &order, world)).collect();
    let offset = match call.get("offset") {
        None => 0,
        Some(text) => text.parse().map_err(|_| Refusal::business("PARAM_ERROR", "offset格式错误"))?,
    };
    let page: Vec<_> = refunds.iter().skip(offset).take(PAGE).collect();
    if page.is_empty() {
        return Err(NONE);
    }
    let mut fields = refund::order_block(&order);
    fields.put("total_refund_count", refunds.len().to_string());
    fields.put("refund_count", page.len().to_string());
    let back = refunds.iter().filter(|refund| refund.holds_money()).map(|refund| refund.refund_fee);
    fields.put("refund_fee", back.sum::<u64>().to_string());
    for (n, refund) in page.into_iter().enumerate() {
        refund.traffic.queries.fetch_add(1, Relaxed);
        put_refund(&mut fields, n, &order, refund);
    }
    Ok(fields)
}

/// The refund as the copy that is asked knows it, which may lag behind.
fn seen(refund: &Arc<Refund>, order: &Order, world: &World) -> Option<Arc<Refund>> {
    let within = Instant::now() < refund.since + Duration::from_millis(world.faults().refund_query_lag_ms);
    let drawn = OrderKey { mch_id: order.key.mch_id.clone(), out_trade_no: refund.out_refund_no.clone() };
    if !within || !world.strikes(Fault::RefundQueryLag, &drawn, 0) {
        return Some(refund.clone());
    }
    let before = || Refund { state: RefundState::Processing, ended_ms: None, ..Refund::clone(refund) };
    if refund.state == RefundState::Processing {
        refund.traffic.queries.fetch_add(1, Relaxed);
        return None;
    }
    Some(Arc::new(before()))
}

/// What faults are drawn by: the number that is asked for.
pub(super) fn drawn_by(call: &Call<'_>) -> OrderKey {
    let number = ["refund_id", "out_refund_no", "transaction_id", "out_trade_no"];
    let number = number.into_iter().find_map(|name| call.get(name)).unwrap_or_default();
    let mch_id = call.get("mch_id").unwrap_or_default().to_owned();
    OrderKey { mch_id, out_trade_no: number.to_owned() }
}

/// The first of `refund_id`, `out_refund_no`, `transaction_id`, `out_trade_no`; the first two mean one refund only.
fn find(call: &Call<'_>, world: &World) -> Result<(Arc<Order>, Option<String>), Refusal> {
    let mch_id = call.required("mch_id")?;
    let name = if let Some(refund_id) = call.get("refund_id") {
        Some(world.book.by_refund_id(mch_id, refund_id).ok_or(NONE)?)
    } else {
        let number = call.get("out_refund_no").map(str::to_owned);
        number.map(|out_refund_no| RefundKey { mch_id: mch_id.to_owned(), out_refund_no })
    };
    match name {
        Some(name) => {
            let key = world.book.order_of_refund(&name).ok_or(NONE)?;
            let order = world.book.get(&key.mch_id, &key.out_trade_no);
            Ok((order.filter(|order| is_own(call, order)).ok_or(NONE)?, Some(name.out_refund_no)))
        }
        None => Ok((find_order(call, world).map_err(|_| NONE)?, None)),
    }
}

fn put_refund(fields: &mut Fields<'static>, n: usize, order: &Order, refund: &Refund) {
    let mut put = |name: &str, value: String| fields.put(format!("{name}_{n}"), value);
    put("out_refund_no", refund.out_refund_no.clone());
    put("refund_id", refund.refund_id.clone());
    put("refund_channel", "ORIGINAL".to_owned());
    put("refund_fee", refund.refund_fee.to_string());
    if refund.settlement_fee() != refund.refund_fee {
        put("settlement_refund_fee", refund.settlement_fee().to_string());
    }
    if !refund.coupons.is_empty() {
        put("coupon_refund_fee", refund.coupon_fee().to_string());
        put("coupon_refund_count", refund.coupons.len().to_string());
    }
    put("refund_status", refund.state.as_str().to_owned());
    put("refund_account", refund.account.as_str().to_owned());
    let bank_type = order.paid.as_ref().map_or("", |paid| &*paid.bank_type);
    put("refund_recv_accout", refund.receiver(bank_type));
    if let (RefundState::Success, Some(ended_ms)) = (refund.state, refund.ended_ms) {
        put("refund_success_time", clock::spaced(ended_ms));
    }
    refund::put_coupons(fields, &format!("{n}_"), &refund.coupons);
}
