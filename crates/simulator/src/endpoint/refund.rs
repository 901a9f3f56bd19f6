//! `/secapi/pay/refund`: takes a refund from the holder of the merchant's certificate, or finds it under its number. An
//! answer means accepted, not returned. The rules are in `refunding`.

use std::sync::Arc;

use crate::{
    error::{Error, Refused},
    order::{Coupon, Order, OrderKey},
    refund::{Account, Refund},
    refunding::Wish,
    wire::{Call, Fields, Refusal},
    world::World,
};

use super::{NOT_FOUND, PARAM_ERROR, SYSTEM_ERROR, fee, find_order};

const NUMBER_BYTES_MAX: usize = 64;
const DESC_BYTES_MAX: usize = 80;

pub(super) fn refund(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let wish = read(call)?;
    let order = find_order(call, world)?;
    if call.get("refund_fee_type").is_some_and(|currency| currency != order.fee_type) {
        return Err(Refusal::business("PARAM_ERROR", "refund_fee_type与订单币种不一致"));
    }
    let (order, refund) = world.ask_refund(&order.key, wish).map_err(|error| match error {
        Error::Refused(Refused(refusal)) => refusal,
        Error::UnknownOrder(_) => NOT_FOUND,
        _ => SYSTEM_ERROR,
    })?;
    Ok(accepted(&order, &refund))
}

/// What faults are drawn by: the refund's number in place of the order's.
pub(super) fn drawn_by(call: &Call<'_>) -> OrderKey {
    let owned = |name| call.get(name).unwrap_or_default().to_owned();
    OrderKey { mch_id: owned("mch_id"), out_trade_no: owned("out_refund_no") }
}

fn read(call: &Call<'_>) -> Result<Wish, Refusal> {
    let out_refund_no = call.required("out_refund_no")?;
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*@".contains(&byte);
    if out_refund_no.len() > NUMBER_BYTES_MAX || !out_refund_no.bytes().all(fit) {
        return Err(Refusal::business("PARAM_ERROR", "out_refund_no格式错误"));
    }
    let total_fee = fee(call.required("total_fee")?).ok_or(Refusal::Unsigned("invalid total_fee"))?;
    let refund_fee = fee(call.required("refund_fee")?)
        .filter(|refund_fee| *refund_fee <= total_fee)
        .ok_or(Refusal::Unsigned("invalid refund_fee"))?;
    let notify_url = call.get("notify_url");
    if notify_url.is_some_and(|url| !super::is_notify_url(url)) {
        return Err(Refusal::business("PARAM_ERROR", "notify_url格式错误"));
    }
    if call.get("refund_desc").is_some_and(|text| text.len() > DESC_BYTES_MAX) {
        return Err(Refusal::business("PARAM_ERROR", "refund_desc超过最大长度"));
    }
    Ok(Wish {
        out_refund_no: out_refund_no.to_owned(),
        total_fee,
        refund_fee,
        account: Account::read(call.get("refund_account")).ok_or(PARAM_ERROR)?,
        notify_url: notify_url.map(str::to_owned),
        source: "API",
    })
}

fn accepted(order: &Order, refund: &Refund) -> Fields<'static> {
    let mut fields = order_block(order);
    let coupon_fee = refund.coupon_fee();
    fields.put("out_refund_no", refund.out_refund_no.clone());
    fields.put("refund_id", refund.refund_id.clone());
    fields.put("refund_channel", "");
    fields.put("refund_fee", refund.refund_fee.to_string());
    if refund.settlement_fee() != refund.refund_fee {
        fields.put("settlement_refund_fee", refund.settlement_fee().to_string());
    }
    fields.put("cash_refund_fee", refund.refund_fee.saturating_sub(coupon_fee).to_string());
    fields.put("coupon_refund_fee", coupon_fee.to_string());
    fields.put("coupon_refund_count", refund.coupons.len().to_string());
    put_coupons(&mut fields, "", &refund.coupons);
    fields
}

/// What an answer about refunds says of their order.
pub(super) fn order_block(order: &Order) -> Fields<'static> {
    let mut fields = Fields::new();
    if let Some(paid) = &order.paid {
        fields.put("transaction_id", paid.transaction_id.clone());
        fields.put("out_trade_no", order.key.out_trade_no.clone());
        fields.put("total_fee", order.total_fee.to_string());
        if paid.not_prepaid_fee() > 0 {
            fields.put(
                "settlement_total_fee",
                order.total_fee.saturating_sub(paid.not_prepaid_fee()).to_string(),
            );
        }
        fields.put("fee_type", order.fee_type.clone());
        fields.put("cash_fee", order.total_fee.saturating_sub(paid.coupon_fee()).to_string());
    }
    fields
}

/// `of` is `3_` for the refund 3 of a query, and empty for a single one.
pub(super) fn put_coupons(fields: &mut Fields<'_>, of: &str, coupons: &[Coupon]) {
    for (index, coupon) in coupons.iter().enumerate() {
        if let Some(kind) = &coupon.kind {
            fields.put(format!("coupon_type_{of}{index}"), kind.clone());
        }
        fields.put(format!("coupon_refund_id_{of}{index}"), coupon.id.clone());
        fields.put(format!("coupon_refund_fee_{of}{index}"), coupon.fee.to_string());
    }
}
