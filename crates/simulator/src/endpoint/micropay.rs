//! `/pay/micropay`: charges the payer whose code was scanned, and says at once what came of it. What a code is good for is
//! `paycode`'s.

use std::sync::Arc;

use crate::{
    error::{Error, Refused},
    order::{Order, OrderKey, TradeState},
    placing::Placing,
    wire::{Call, Fields, Refusal, payment_block},
    world::World,
};

use super::{PARAM_ERROR, SYSTEM_ERROR, unified_order};

pub(super) fn pay(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let (new, auth_code) = (unified_order::read(call, "MICROPAY")?, call.required("auth_code")?);
    unified_order::check_till(call, world)?;
    if !is_auth_code(auth_code) {
        return Err(Refusal::business("AUTH_CODE_INVALID", "请扫描微信支付被扫条码/二维码"));
    }
    let placing = Placing { parameters: parameters(call), ip: unified_order::payer_ip(call)? };
    let key = OrderKey { mch_id: new.mch_id.clone(), out_trade_no: new.out_trade_no.clone() };
    match world.place(new, Some(&placing)) {
        Ok(_) => {}
        Err(Error::OrderExists(_)) => {
            let known = world.book.get(&key.mch_id, &key.out_trade_no).ok_or(SYSTEM_ERROR)?;
            repeat(&known, &placing)?;
        }
        Err(Error::Full(_)) => return Err(SYSTEM_ERROR),
        Err(_) => return Err(PARAM_ERROR),
    }
    let order = world.charge(&key, auth_code).map_err(|error| match error {
        Error::Refused(Refused(refusal)) => refusal,
        Error::NotPayable(_) => ORDER_PAID,
        _ => SYSTEM_ERROR,
    })??;
    let paid = order.paid.as_ref().ok_or(SYSTEM_ERROR)?;
    Ok(payment_block(&order, paid).into_owned())
}

const ORDER_PAID: Refusal = Refusal::Business { code: "ORDERPAID", text: "订单已支付" };

fn repeat(known: &Order, placing: &Placing) -> Result<(), Refusal> {
    match &known.state {
        _ if known.parameters != placing.parameters => {
            Err(Refusal::business("OUT_TRADE_NO_USED", "商户订单号重复"))
        }
        TradeState::Success | TradeState::Refund => Err(ORDER_PAID),
        TradeState::Closed => Err(Refusal::business("ORDERCLOSED", "订单已关闭")),
        TradeState::Revoked => Err(Refusal::business("ORDERREVERSED", "订单已撤销")),
        TradeState::UserPaying => Err(Refusal::business("USERPAYING", "用户支付中，需要输入密码")),
        _ => Ok(()),
    }
}

/// What a repeat must agree with; the payer may show another code.
fn parameters(call: &Call<'_>) -> String {
    let all = unified_order::parameters(call);
    let kept = all.split('&').filter(|pair| !pair.starts_with("auth_code="));
    kept.collect::<Vec<_>>().join("&")
}

/// 18 digits that begin with 10 to 15.
fn is_auth_code(text: &str) -> bool {
    let begins = matches!(text.as_bytes(), [b'1', b'0'..=b'5', ..]);
    begins && text.len() == 18 && text.bytes().all(|byte| byte.is_ascii_digit())
}
