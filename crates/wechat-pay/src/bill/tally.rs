//! Adds a bill's entries up and compares the sums with the bill's own summary.
//!
//! A difference means that the file is not what WeChat made, or that a row was misread: nothing should be booked on it
//! unseen. Mends nothing and prefers neither side.

use std::fmt;

use super::amount::decimal;
use super::{Entry, FeeUnits};

/// The sums over the entries of one bill, in fen (fees in hundred-thousandths of a yuan).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    pub entries: i64,
    pub settlement_fee: i64,
    pub refund_fee: i64,
    pub coupon_refund_fee: i64,
    pub handling_fee: FeeUnits,
    pub total_fee: i64,
    pub requested_fee: i64,
}

/// A total that is not the sum of its rows. Both in the total's unit: `10^-decimals`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TotalDifference {
    /// The summary's own name for it.
    pub name: String,
    /// `None` if the summary's value is no number.
    pub stated: Option<i64>,
    pub counted: i64,
}

impl Tally {
    pub fn add(&mut self, entry: &Entry<'_>) {
        self.entries += 1;
        let add = |sum: &mut i64, amount: i64| *sum = sum.saturating_add(amount);
        add(&mut self.settlement_fee, entry.settlement_fee);
        add(&mut self.handling_fee, entry.handling_fee);
        add(&mut self.total_fee, entry.total_fee.unwrap_or(0));
        if let Some(refund) = &entry.refund {
            add(&mut self.refund_fee, refund.refund_fee);
            add(&mut self.coupon_refund_fee, refund.coupon_refund_fee);
            add(&mut self.requested_fee, refund.requested_fee.unwrap_or(0));
        }
    }

    /// Compares with [`super::Bill::summary`]. Totals under names that are not known are passed over.
    #[must_use]
    pub fn differences(&self, summary: &[(String, String)]) -> Vec<TotalDifference> {
        let compared = summary.iter().filter_map(|(name, text)| {
            let (counted, decimals) = self.named(name.trim())?;
            let stated = decimal(text, decimals);
            (stated != Some(counted)).then(|| TotalDifference { name: name.clone(), stated, counted })
        });
        compared.collect()
    }

    fn named(&self, name: &str) -> Option<(i64, usize)> {
        Some(match name {
            // Has been seen as `45.0`, hence read as a decimal.
            "总交易单数" => (self.entries, 0),
            "应结订单总金额" | "总交易额" => (self.settlement_fee, 2),
            "退款总金额" | "总退款金额" => (self.refund_fee, 2),
            "充值券退款总金额" | "总代金券或立减优惠退款金额" | "总企业红包退款金额" => {
                (self.coupon_refund_fee, 2)
            }
            "手续费总金额" => (self.handling_fee, 5),
            "订单总金额" => (self.total_fee, 2),
            "申请退款总金额" => (self.requested_fee, 2),
            _ => return None,
        })
    }
}

impl fmt::Display for TotalDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stated {
            Some(stated) => {
                write!(f, "{}: the bill says {stated}, its rows come to {}", self.name, self.counted)
            }
            None => {
                write!(f, "{}: the bill's value is no number, its rows come to {}", self.name, self.counted)
            }
        }
    }
}
