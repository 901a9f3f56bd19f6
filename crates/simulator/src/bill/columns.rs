//! The columns of each kind of bill, in the current layout and in the one until about 2018, and their names. Knows no
//! rows; `values` fills them in.

use super::BillType;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Column {
    Time,
    AppId,
    MchId,
    SubMchId,
    Device,
    TransactionId,
    OutTradeNo,
    OpenId,
    TradeType,
    State,
    Bank,
    Currency,
    SettlementFee,
    CouponFee,
    RefundAskedAt,
    RefundDoneAt,
    RefundId,
    OutRefundNo,
    RefundFee,
    CouponRefundFee,
    RefundChannel,
    RefundState,
    Goods,
    Attach,
    HandlingFee,
    HandlingFeeBack,
    Rate,
    TotalFee,
    RequestedFee,
    RateNote,
}

use Column::{
    AppId, Attach, Bank, CouponFee, CouponRefundFee, Currency, Device, Goods, HandlingFee, HandlingFeeBack,
    MchId, OpenId, OutRefundNo, OutTradeNo, Rate, RateNote, RefundAskedAt, RefundChannel, RefundDoneAt,
    RefundFee, RefundId, RefundState, RequestedFee, SettlementFee, State, SubMchId, Time, TotalFee,
    TradeType, TransactionId,
};

const ORDER: [Column; 14] = [
    Time,
    AppId,
    MchId,
    SubMchId,
    Device,
    TransactionId,
    OutTradeNo,
    OpenId,
    TradeType,
    State,
    Bank,
    Currency,
    SettlementFee,
    CouponFee,
];
const REFUND: [Column; 6] = [RefundId, OutRefundNo, RefundFee, CouponRefundFee, RefundChannel, RefundState];

/// The columns of a bill, in order.
pub(super) fn columns(kind: BillType, old_layout: bool) -> Vec<Column> {
    let mut columns = ORDER.to_vec();
    let refunds = matches!(kind, BillType::Refund | BillType::RechargeRefund);
    if refunds {
        columns.extend([RefundAskedAt, RefundDoneAt]);
    }
    if kind != BillType::Success {
        columns.extend(REFUND);
    }
    let fee = if kind == BillType::RechargeRefund { HandlingFeeBack } else { HandlingFee };
    columns.extend([Goods, Attach, fee, Rate]);
    if !old_layout {
        columns.push(TotalFee);
        if kind != BillType::Success {
            columns.push(RequestedFee);
        }
        columns.push(RateNote);
    }
    columns
}

impl Column {
    pub(super) fn name(self, old_layout: bool) -> &'static str {
        match self {
            Time => "交易时间",
            AppId => "公众账号ID",
            MchId => "商户号",
            SubMchId if old_layout => "子商户号",
            SubMchId => "特约商户号",
            Device => "设备号",
            TransactionId => "微信订单号",
            OutTradeNo => "商户订单号",
            OpenId => "用户标识",
            TradeType => "交易类型",
            State => "交易状态",
            Bank => "付款银行",
            Currency => "货币种类",
            SettlementFee if old_layout => "总金额",
            SettlementFee => "应结订单金额",
            CouponFee if old_layout => "代金券或立减优惠金额",
            CouponFee => "代金券金额",
            RefundAskedAt => "退款申请时间",
            RefundDoneAt => "退款成功时间",
            RefundId => "微信退款单号",
            OutRefundNo => "商户退款单号",
            RefundFee => "退款金额",
            CouponRefundFee if old_layout => "代金券或立减优惠退款金额",
            CouponRefundFee => "充值券退款金额",
            RefundChannel => "退款类型",
            RefundState => "退款状态",
            Goods => "商品名称",
            Attach => "商户数据包",
            HandlingFee => "手续费",
            HandlingFeeBack => "返还手续费",
            Rate => "费率",
            TotalFee => "订单金额",
            RequestedFee => "申请退款金额",
            RateNote => "费率备注",
        }
    }
}

/// The names of the summary.
pub(super) fn summary(old_layout: bool) -> &'static [&'static str] {
    if old_layout {
        &["总交易单数", "总交易额", "总退款金额", "总代金券或立减优惠退款金额", "手续费总金额"]
    } else {
        &[
            "总交易单数",
            "应结订单总金额",
            "退款总金额",
            "充值券退款总金额",
            "手续费总金额",
            "订单总金额",
            "申请退款总金额",
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sets_have_their_known_sizes() {
        let sizes =
            |old| [BillType::All, BillType::Success, BillType::Refund].map(|kind| columns(kind, old).len());
        assert_eq!(sizes(false), [27, 20, 29]);
        assert_eq!(sizes(true), [24, 18, 26]);
        let names: Vec<_> = columns(BillType::All, false).iter().map(|column| column.name(false)).collect();
        assert_eq!(
            names.join(","),
            "交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,\
             货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,\
             商户数据包,手续费,费率,订单金额,申请退款金额,费率备注"
        );
    }
}
