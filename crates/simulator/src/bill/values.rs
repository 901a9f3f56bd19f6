//! The values of one row, from an order or made up, and how each column writes them. Adds them up for the summary.
//! Amounts are yuan in text and fen here, never floats.

use std::fmt::{self, Write};

use serde::Serialize;

use super::{BillRow, Entry, columns::Column};
use crate::{
    clock,
    order::{Order, Paid},
    refund::{Refund, RefundState},
};

/// What a bill sums up to, in fen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct BillTotals {
    pub rows: u64,
    /// Payments less coupons that are not settled.
    pub settlement_fee: u64,
    /// What went back of it.
    pub refund_fee: u64,
    pub coupon_refund_fee: u64,
    /// WeChat's fee less what it gave back.
    pub handling_fee: i64,
    /// Orders at their full amounts.
    pub total_fee: u64,
    pub requested_fee: u64,
}

impl BillTotals {
    pub(super) fn add(&mut self, values: &Values<'_>) {
        self.rows += 1;
        self.settlement_fee += values.settlement_fee;
        self.handling_fee += values.handling_fee;
        self.total_fee += values.total_fee;
        if let Some(refund) = &values.refund {
            self.refund_fee += refund.fee;
            self.coupon_refund_fee += refund.coupon_fee;
            self.requested_fee += refund.requested_fee;
        }
    }
}

impl BillTotals {
    /// A made-up payment, and the row of its refund.
    pub(super) fn add_padding(&mut self, total_fee: u64, refund_fee: Option<u64>, rate_bp: u32) {
        self.rows += 1;
        self.settlement_fee += total_fee;
        self.total_fee += total_fee;
        self.handling_fee += handling_fee(total_fee, rate_bp);
        if let Some(refund_fee) = refund_fee {
            self.rows += 1;
            self.refund_fee += refund_fee;
            self.requested_fee += refund_fee;
            self.handling_fee -= handling_fee(refund_fee, rate_bp);
        }
    }
}

/// One row's values.
pub(super) struct Values<'r> {
    pub(super) at_ms: i64,
    pub(super) appid: &'r str,
    pub(super) mch_id: &'r str,
    pub(super) sub_mch_id: &'r str,
    pub(super) device: &'r str,
    pub(super) transaction_id: &'r str,
    pub(super) out_trade_no: &'r str,
    pub(super) openid: &'r str,
    pub(super) trade_type: &'r str,
    pub(super) state: &'static str,
    pub(super) bank: &'r str,
    pub(super) currency: &'r str,
    pub(super) settlement_fee: u64,
    pub(super) coupon_fee: u64,
    pub(super) total_fee: u64,
    pub(super) refund: Option<RefundValues<'r>>,
    pub(super) goods: &'r str,
    pub(super) attach: &'r str,
    /// Negative when it is given back.
    pub(super) handling_fee: i64,
}

pub(super) struct RefundValues<'r> {
    pub(super) asked_ms: i64,
    pub(super) done_ms: Option<i64>,
    pub(super) refund_id: &'r str,
    pub(super) out_refund_no: &'r str,
    pub(super) fee: u64,
    pub(super) coupon_fee: u64,
    pub(super) requested_fee: u64,
    pub(super) state: &'static str,
}

impl<'r> Values<'r> {
    /// None if the payment is gone.
    pub(super) fn of(row: &'r BillRow, rate_bp: u32) -> Option<Values<'r>> {
        let order = &*row.order;
        let paid = order.paid.as_ref()?;
        let settled = order.total_fee.saturating_sub(paid.not_prepaid_fee());
        let of_order = Values {
            at_ms: row.at_ms,
            appid: &order.appid,
            mch_id: &order.key.mch_id,
            sub_mch_id: order.sub_mch_id.as_deref().unwrap_or("0"),
            device: order.device_info.as_deref().unwrap_or_default(),
            transaction_id: &paid.transaction_id,
            out_trade_no: &order.key.out_trade_no,
            openid: &order.openid,
            trade_type: &order.trade_type,
            state: "SUCCESS",
            bank: &paid.bank_type,
            currency: &order.fee_type,
            settlement_fee: settled,
            coupon_fee: paid.coupon_fee(),
            total_fee: order.total_fee,
            refund: None,
            goods: order.body.as_deref().unwrap_or("测试商品"),
            attach: order.attach.as_deref().unwrap_or_default(),
            handling_fee: handling_fee(settled, rate_bp),
        };
        let back = match &row.entry {
            Entry::Paid => return Some(of_order),
            Entry::Refunded(refund) => of_refund(order, refund, rate_bp),
            Entry::Revoked => of_reversal(row.at_ms, order, paid, rate_bp),
        };
        let (state, refund, fee_back) = back;
        let nothing = Values { settlement_fee: 0, coupon_fee: 0, total_fee: 0, ..of_order };
        Some(Values { state, refund: Some(refund), handling_fee: -fee_back, ..nothing })
    }

    /// Writes a column's value, without its backtick.
    pub(super) fn write(&self, column: Column, rate_bp: u32, line: &mut String) -> fmt::Result {
        match column {
            Column::Time => line.push_str(&clock::spaced(self.at_ms)),
            Column::AppId => line.push_str(self.appid),
            Column::MchId => line.push_str(self.mch_id),
            Column::SubMchId => line.push_str(self.sub_mch_id),
            Column::Device => line.push_str(self.device),
            Column::TransactionId => line.push_str(self.transaction_id),
            Column::OutTradeNo => line.push_str(self.out_trade_no),
            Column::OpenId => line.push_str(self.openid),
            Column::TradeType => line.push_str(self.trade_type),
            Column::State => line.push_str(self.state),
            Column::Bank => line.push_str(self.bank),
            Column::Currency => line.push_str(self.currency),
            Column::SettlementFee => write!(line, "{}", Yuan(self.settlement_fee))?,
            Column::CouponFee => write!(line, "{}", Yuan(self.coupon_fee))?,
            Column::Goods => push_clean(line, self.goods),
            Column::Attach => push_clean(line, self.attach),
            Column::HandlingFee => write!(line, "{}", Fee(self.handling_fee))?,
            Column::HandlingFeeBack => write!(line, "{}", Fee(-self.handling_fee))?,
            Column::Rate => write!(line, "{}.{:02}%", rate_bp / 100, rate_bp % 100)?,
            Column::TotalFee => write!(line, "{}", Yuan(self.total_fee))?,
            Column::RateNote => {}
            of_refund => return self.write_refund(of_refund, line),
        }
        Ok(())
    }

    fn write_refund(&self, column: Column, line: &mut String) -> fmt::Result {
        let Some(refund) = &self.refund else {
            line.push_str(match column {
                Column::RefundId | Column::OutRefundNo => "0",
                Column::RefundFee | Column::CouponRefundFee | Column::RequestedFee => "0.00",
                _ => "",
            });
            return Ok(());
        };
        match column {
            Column::RefundAskedAt => line.push_str(&clock::spaced(refund.asked_ms)),
            Column::RefundDoneAt => line.push_str(&refund.done_ms.map(clock::spaced).unwrap_or_default()),
            Column::RefundId => line.push_str(refund.refund_id),
            Column::OutRefundNo => line.push_str(refund.out_refund_no),
            Column::RefundFee => write!(line, "{}", Yuan(refund.fee))?,
            Column::CouponRefundFee => write!(line, "{}", Yuan(refund.coupon_fee))?,
            Column::RequestedFee => write!(line, "{}", Yuan(refund.requested_fee))?,
            Column::RefundChannel => line.push_str("ORIGINAL"),
            _ => line.push_str(refund.state),
        }
        Ok(())
    }
}

type Back<'r> = (&'static str, RefundValues<'r>, i64);

fn of_refund<'r>(order: &'r Order, refund: &'r Refund, rate_bp: u32) -> Back<'r> {
    let fee = refund.settlement_fee();
    // With the refunds before it, so that all parts together give back the whole fee.
    let earlier = order.refunds.iter().take_while(|other| other.out_refund_no != refund.out_refund_no);
    let before: u64 = earlier.filter(|other| other.holds_money()).map(|other| other.settlement_fee()).sum();
    let fee_back = if refund.holds_money() {
        handling_fee(before + fee, rate_bp) - handling_fee(before, rate_bp)
    } else {
        0
    };
    let values = RefundValues {
        asked_ms: refund.requested_ms,
        done_ms: refund.ended_ms.filter(|_| refund.state == RefundState::Success),
        refund_id: &refund.refund_id,
        out_refund_no: &refund.out_refund_no,
        fee,
        coupon_fee: refund.coupon_fee().saturating_sub(refund.refund_fee.saturating_sub(fee)),
        requested_fee: refund.refund_fee,
        state: match refund.state {
            RefundState::RefundClose => "FAIL",
            other => other.as_str(),
        },
    };
    ("REFUND", values, fee_back)
}

/// A reversal gives everything back that was not refunded before.
fn of_reversal<'r>(at_ms: i64, order: &'r Order, paid: &'r Paid, rate_bp: u32) -> Back<'r> {
    let settled = order.total_fee.saturating_sub(paid.not_prepaid_fee());
    let values = RefundValues {
        asked_ms: at_ms,
        done_ms: Some(at_ms),
        refund_id: &paid.transaction_id,
        out_refund_no: &order.key.out_trade_no,
        fee: settled,
        coupon_fee: paid.coupon_fee().saturating_sub(paid.not_prepaid_fee()),
        requested_fee: order.total_fee,
        state: "SUCCESS",
    };
    ("REVOKED", values, handling_fee(settled, rate_bp))
}

/// Rounded to the fen, half upwards.
pub(super) fn handling_fee(fee: u64, rate_bp: u32) -> i64 {
    let exact = u128::from(fee) * u128::from(rate_bp);
    i64::try_from((exact + 5_000) / 10_000).unwrap_or(i64::MAX)
}

/// What a shop wrote, without what would break the file.
fn push_clean(line: &mut String, text: &str) {
    line.extend(text.chars().map(|c| if c == '`' || c.is_control() { ' ' } else { c }));
}

/// Fen as yuan with two decimals.
pub(super) struct Yuan(pub(super) u64);

impl fmt::Display for Yuan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// Fen as yuan with five decimals and a sign.
pub(super) struct Fee(pub(super) i64);

impl fmt::Display for Fee {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}000", Yuan(self.0.unsigned_abs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_written_in_yuan() {
        assert_eq!([0, 5, 1999, 100].map(|fen| Yuan(fen).to_string()), ["0.00", "0.05", "19.99", "1.00"]);
        assert_eq!(
            [0, 12, -3, 150].map(|fen| Fee(fen).to_string()),
            ["0.00000", "0.12000", "-0.03000", "1.50000"]
        );
        assert_eq!([1999, 500, 83, 84].map(|fee| handling_fee(fee, 60)), [12, 3, 0, 1]);
    }
}
