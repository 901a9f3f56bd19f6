//! `/pay/unifiedorder`: places an order, or gives a fresh `prepay_id` for one that was placed with the same
//! parameters. Takes no money; that is the payer's doing, through control.

use std::sync::Arc;

use wechat_pay::sign;

use crate::{
    error::Error,
    order::{NewOrder, Order, TradeState},
    wire::{Call, Fields, Refusal},
    world::World,
};

use super::{PARAM_ERROR, SYSTEM_ERROR, fee};

pub(super) fn place(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let new = read(call)?;
    let trade_type = call.required("trade_type")?;
    let parameters = parameters(call);
    match world.book.get(&new.mch_id, &new.out_trade_no) {
        Some(known) => repeat(&known, &parameters)?,
        None => match world.place(new, parameters.clone()) {
            Ok(_) => {}
            // Another copy of the request was quicker.
            Err(Error::OrderExists(number)) => {
                let known = call.get("mch_id").and_then(|mch_id| world.book.get(mch_id, &number));
                repeat(&*known.ok_or(SYSTEM_ERROR)?, &parameters)?;
            }
            Err(Error::Full(_)) => return Err(SYSTEM_ERROR),
            Err(_) => return Err(PARAM_ERROR),
        },
    }
    let mut fields = Fields::new();
    fields.put("trade_type", trade_type.to_owned());
    let prepay = world.nonce();
    match trade_type {
        "NATIVE" => fields
            .put("code_url", format!("weixin://wxpay/bizpayurl?pr={}", prepay.get(..9).unwrap_or_default())),
        "MWEB" => fields.put(
            "mweb_url",
            format!("https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb?prepay_id=wx{prepay}&package=1"),
        ),
        _ => {}
    }
    fields.put("prepay_id", format!("wx{prepay}"));
    Ok(fields)
}

fn repeat(known: &Order, parameters: &str) -> Result<(), Refusal> {
    match &known.state {
        TradeState::Success | TradeState::Refund => Err(Refusal::business("ORDERPAID", "该订单已支付")),
        TradeState::Closed | TradeState::Revoked => Err(Refusal::business("ORDERCLOSED", "该订单已关闭")),
        _ if known.parameters == parameters => Ok(()),
        _ => Err(Refusal::business("OUT_TRADE_NO_USED", "商户订单号重复")),
    }
}

/// What a repeat must agree with: all but what changes from request to request.
fn parameters(call: &Call<'_>) -> String {
    sign::canonical(
        call.document.iter().filter(|(name, _)| !matches!(*name, "nonce_str" | "sign_type" | "sign")),
    )
}

fn read(call: &Call<'_>) -> Result<NewOrder, Refusal> {
    for name in ["body", "spbill_create_ip"] {
        call.required(name)?;
    }
    let trade_type = call.required("trade_type")?;
    match trade_type {
        "JSAPI" if call.get("openid").or(call.get("sub_openid")).is_none() => {
            return Err(Refusal::business("LACK_PARAMS", "JSAPI支付必须传openid"));
        }
        "NATIVE" => call.required("product_id").map(|_| ())?,
        "MWEB" => call.required("scene_info").map(|_| ())?,
        _ => {}
    }
    let owned = |name| call.get(name).map(str::to_owned);
    Ok(NewOrder {
        mch_id: call.required("mch_id")?.to_owned(),
        out_trade_no: call.required("out_trade_no")?.to_owned(),
        total_fee: fee(call.required("total_fee")?).ok_or(PARAM_ERROR)?,
        notify_url: call.required("notify_url")?.to_owned(),
        appid: owned("appid"),
        sub_appid: owned("sub_appid"),
        sub_mch_id: owned("sub_mch_id"),
        fee_type: owned("fee_type"),
        attach: owned("attach"),
        body: owned("body"),
        device_info: owned("device_info"),
        openid: owned("openid"),
        trade_type: trade_type.to_owned(),
        sign_type: call.algorithm.as_str().to_owned(),
    })
}
