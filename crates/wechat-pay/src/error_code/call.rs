//! What a code means in one call where that differs from its usual meaning.
//!
//! Changes words only, never the class: whose turn it is does not depend on the call.

use super::{ErrCode, Explanation};

/// A call of API v2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Interface {
    UnifiedOrder,
    OrderQuery,
    CloseOrder,
    Refund,
    RefundQuery,
    Micropay,
    Reverse,
    DownloadBill,
}

impl Interface {
    pub const ALL: [Self; 8] = [
        Self::UnifiedOrder,
        Self::OrderQuery,
        Self::CloseOrder,
        Self::Refund,
        Self::RefundQuery,
        Self::Micropay,
        Self::Reverse,
        Self::DownloadBill,
    ];
}

#[rustfmt::skip] // One code per paragraph reads better than one argument per line.
pub(super) fn special(code: &ErrCode, interface: Interface) -> Option<Explanation> {
    let [cause, remedy, cause_zh, remedy_zh] = match (interface, code) {
        (Interface::Refund, ErrCode::NotEnough) => [
            "The merchant's unsettled payments do not cover the refund", "Wait for more payments, or recharge and send the same refund with REFUND_SOURCE_RECHARGE_FUNDS: a person decides, nothing switches by itself",
            "商户未结算资金不足以退款", "等待新的入账，或充值后以 REFUND_SOURCE_RECHARGE_FUNDS 用原退款单号重新申请；须由人工决定，系统不会自动切换"],
        (Interface::Refund, ErrCode::SystemError) => [
            "WeChat had an internal error; whether the refund was taken is unknown", "Send the same again under the same out_refund_no, never under a new one",
            "微信支付系统错误，退款是否受理未知", "用相同的商户退款单号重试，切勿更换单号"],
        (Interface::Refund, ErrCode::OrderNotExist) => [
            "WeChat knows no such order, or not under this merchant", "Check out_trade_no and mch_id; in provider mode also sub_mch_id",
            "没有该订单，或订单不属于该商户", "核对商户订单号和商户号；服务商模式还需核对特约商户号"],
        (Interface::Refund, ErrCode::ParamError | ErrCode::InvalidRequest) => [
            "The refund's data differ from the order's or from an earlier refund of this number", "Compare total_fee and refund_fee with the order and with what was sent before",
            "退款参数与订单或同一退款单号之前的申请不一致", "核对订单金额、退款金额以及之前的申请"],
        (Interface::UnifiedOrder, ErrCode::SystemError) => [
            "WeChat had an internal error; whether the order was placed is unknown", "Place the same order again with the same parameters",
            "微信支付系统错误，是否下单成功未知", "用相同参数重新下单"],
        (Interface::UnifiedOrder, ErrCode::ParamError) => [
            "A parameter is malformed; err_code_des names it", "Read err_code_des; an openid must belong to the appid of the order",
            "参数错误，具体见 err_code_des", "查看 err_code_des；openid 必须属于下单的 appid"],
        (Interface::CloseOrder, ErrCode::OrderPaid) => [
            "The payer was faster: the order is paid", "Query the order and treat it as paid if the answer says so; refund it if it is not wanted",
            "付款人已先完成支付", "查询订单，以查询结果为准；不需要时请退款"],
        _ => return None,
    };
    Some(Explanation { cause, remedy, cause_zh, remedy_zh })
}
