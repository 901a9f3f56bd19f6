//! `/pay/closeorder`: closes an unpaid order that is five minutes old by the scaled clock.

use std::sync::Arc;

use crate::{
    error::Error,
    order::{OrderKey, TradeState},
    wire::{Call, Fields, Refusal},
    world::World,
};

use super::{NOT_FOUND, is_hidden, is_own};

pub(super) fn close(call: &Call<'_>, world: &Arc<World>) -> Result<Fields<'static>, Refusal> {
    call.check_identity()?;
    let key = OrderKey {
        mch_id: call.required("mch_id")?.to_owned(),
        out_trade_no: call.required("out_trade_no")?.to_owned(),
    };
    let mut refusal = None;
    let closed = world.book.change(&key, |order| {
        refusal = match &order.state {
            _ if !is_own(call, order) || is_hidden(order, world) => Some(NOT_FOUND),
            TradeState::Success | TradeState::Refund => Some(Refusal::business("ORDERPAID", "订单已支付")),
            TradeState::Closed | TradeState::Revoked => Some(Refusal::business("ORDERCLOSED", "订单已关闭")),
            TradeState::UserPaying | TradeState::Accept => {
                Some(Refusal::business("TRADE_STATE_ERROR", "订单状态不允许关单"))
            }
            _ if !world.is_closable(order) => {
                Some(Refusal::business("TRADE_STATE_ERROR", "订单生成后5分钟内不能关单"))
            }
            _ => None,
        };
        if refusal.is_none() {
            order.state = TradeState::Closed;
        }
        Ok::<(), Error>(())
    });
    if closed.is_err() {
        return Err(NOT_FOUND);
    }
    refusal.map_or_else(
        || {
            let mut fields = Fields::new();
            fields.put("result_msg", "OK");
            Ok(fields)
        },
        Err,
    )
}
