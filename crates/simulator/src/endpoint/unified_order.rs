//! `/pay/unifiedorder`: places an order, or finds the one that was placed with the same parameters; then the same
//! `prepay_id` comes back as long as it lives. Takes no money; that is the payer's doing, through control.

mod check;

use std::{net::IpAddr, sync::Arc};

use wechat_pay::sign;

use crate::{
    error::{Error, Refused},
    order::{NewOrder, Order, TradeState},
    placing::Placing,
    wire::{Call, Fields, Refusal},
    world::World,
};

pub(super) use check::till as check_till;

use super::{PARAM_ERROR, SYSTEM_ERROR, fee};

/// The way of paying that has an endpoint of its own.
const TILL: &str = "MICROPAY";
const USED: Refusal = Refusal::Business { code: "OUT_TRADE_NO_USED", text: "201 商户订单号重复" };

pub(super) fn place(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let new = read(call, call.required("trade_type")?)?;
    check::optional_fields(call)?;
    check::trade(call, world)?;
    let placing = Placing { parameters: parameters(call), ip: payer_ip(call)? };
    let order = match world.book.get(&new.mch_id, &new.out_trade_no) {
        Some(known) => repeat(known, &placing, world)?,
        None => match world.place(new, Some(&placing)) {
            Ok(order) => order,
            // Another copy of the request was quicker.
            Err(Error::OrderExists(number)) => {
                let known = call.get("mch_id").and_then(|mch_id| world.book.get(mch_id, &number));
                repeat(known.ok_or(SYSTEM_ERROR)?, &placing, world)?
            }
            Err(Error::Full(_)) => return Err(SYSTEM_ERROR),
            Err(Error::Refused(Refused(refusal))) => return Err(refusal),
            Err(_) => return Err(PARAM_ERROR),
        },
    };
    answer(&order).ok_or(SYSTEM_ERROR)
}

fn answer(order: &Order) -> Option<Fields<'static>> {
    let prepay = order.prepay.as_ref()?;
    let mut fields = Fields::new();
    fields.put("trade_type", order.trade_type.clone());
    fields.put("prepay_id", prepay.id.clone());
    match &*order.trade_type {
        "NATIVE" => fields.put("code_url", prepay.code_url()),
        "MWEB" => fields.put("mweb_url", prepay.mweb_url()),
        _ => {}
    }
    Some(fields)
}

fn repeat(known: Arc<Order>, placing: &Placing, world: &Arc<World>) -> Result<Arc<Order>, Refusal> {
    match &known.state {
        TradeState::Success | TradeState::Refund => Err(Refusal::business("ORDERPAID", "该订单已支付")),
        TradeState::Closed | TradeState::Revoked => Err(Refusal::business("ORDERCLOSED", "该订单已关闭")),
        _ if known.parameters == placing.parameters => {
            world.renew_prepay(known, placing.ip).map_err(|_| SYSTEM_ERROR)
        }
        _ => Err(USED),
    }
}

/// What a repeat must agree with: all but what changes from request to request, and the address of the payer, who may
/// have moved.
pub(super) fn parameters(call: &Call<'_>) -> String {
    const FREE: [&str; 4] = ["nonce_str", "sign_type", "sign", "spbill_create_ip"];
    sign::canonical(call.document.iter().filter(|(name, _)| !FREE.contains(name)))
}

pub(super) fn payer_ip(call: &Call<'_>) -> Result<IpAddr, Refusal> {
    let text = call.required("spbill_create_ip")?;
    text.parse().map_err(|_| Refusal::Unsigned("invalid spbill_create_ip"))
}

/// The fields that an order at a till does not have are empty.
pub(super) fn read(call: &Call<'_>, trade_type: &str) -> Result<NewOrder, Refusal> {
    let notify_url = if trade_type == TILL { "" } else { call.required("notify_url")? };
    for name in ["body", "spbill_create_ip"] {
        call.required(name)?;
    }
    let owned = |name| call.get(name).map(str::to_owned);
    Ok(NewOrder {
        mch_id: call.required("mch_id")?.to_owned(),
        out_trade_no: call.required("out_trade_no")?.to_owned(),
        total_fee: fee(call.required("total_fee")?).ok_or(Refusal::Unsigned("invalid total_fee"))?,
        notify_url: notify_url.to_owned(),
        appid: owned("appid"),
        sub_appid: owned("sub_appid"),
        sub_mch_id: owned("sub_mch_id"),
        fee_type: owned("fee_type"),
        attach: owned("attach"),
        body: owned("body"),
        device_info: owned("device_info"),
        openid: owned("openid"),
        sub_openid: owned("sub_openid"),
        time_expire: owned("time_expire"),
        trade_type: trade_type.to_owned(),
        sign_type: call.algorithm.as_str().to_owned(),
    })
}
