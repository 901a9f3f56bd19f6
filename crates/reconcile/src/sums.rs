//! What a bill comes to: gross, refunds, fees and net, per currency, and per sub merchant of a service provider.
//!
//! Adds the bill's own amounts and nothing of ours. Amounts are fen and may be negative (a day of refunds only).

use std::collections::BTreeMap;

use paybell_core::money::Currency;
use serde::{Deserialize, Serialize};
use wechat_pay::bill::{Entry, EntryKind, FeeUnits};

/// Sub merchants that are summed by themselves; a provider's further ones are in the whole only.
pub const SUB_MERCHANTS_MAX: usize = 1000;

/// Hundred-thousandths of a yuan in a fen.
const FEE_UNITS_PER_FEN: i64 = 1000;

/// The sums of one currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sums {
    pub fee_type: Currency,
    /// Rows of payments.
    pub payments: u64,
    /// Rows of refunds.
    pub refunds_made: u64,
    /// What payers' orders came to.
    pub gross: i64,
    /// The part of it that WeChat settles: without coupons that nobody paid for.
    pub settled: i64,
    /// What went back.
    pub refunds: i64,
    /// Handling fees, rounded to fen.
    pub fees: i64,
    /// The same exactly, in hundred-thousandths of a yuan.
    pub fee_units: FeeUnits,
    /// `settled - refunds - fees`: what reaches the merchant.
    pub net: i64,
}

/// The sums of one sub merchant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubSums {
    pub sub_mch_id: String,
    #[serde(flatten)]
    pub sums: Sums,
}

impl Sums {
    fn zero(fee_type: Currency) -> Self {
        Self {
            fee_type,
            payments: 0,
            refunds_made: 0,
            gross: 0,
            settled: 0,
            refunds: 0,
            fees: 0,
            fee_units: 0,
            net: 0,
        }
    }

    fn add(&mut self, entry: &Entry<'_>) {
        let add = |sum: &mut i64, amount: i64| *sum = sum.saturating_add(amount);
        match entry.kind {
            EntryKind::Paid => self.payments += 1,
            EntryKind::Refund => self.refunds_made += 1,
            EntryKind::Revoked | EntryKind::Other(_) => {}
        }
        add(&mut self.gross, entry.total_fee.unwrap_or(entry.settlement_fee));
        add(&mut self.settled, entry.settlement_fee);
        add(&mut self.refunds, entry.refund.map_or(0, |refund| refund.refund_fee));
        add(&mut self.fee_units, entry.handling_fee);
        self.fees = rounded_fen(self.fee_units);
        self.net = self.settled.saturating_sub(self.refunds).saturating_sub(self.fees);
    }
}

/// Half a fen and more away from zero.
fn rounded_fen(units: FeeUnits) -> i64 {
    let half = if units < 0 { -FEE_UNITS_PER_FEN / 2 } else { FEE_UNITS_PER_FEN / 2 };
    units.saturating_add(half) / FEE_UNITS_PER_FEN
}

/// Adds up one bill.
#[derive(Debug, Default)]
pub(crate) struct Adder {
    /// In few bills is there more than one currency.
    whole: Vec<Sums>,
    by_sub_merchant: BTreeMap<String, Vec<Sums>>,
}

impl Adder {
    pub fn add(&mut self, entry: &Entry<'_>) {
        add_to(&mut self.whole, entry);
        let Some(sub_mch_id) = entry.sub_mch_id else { return };
        if let Some(sums) = self.by_sub_merchant.get_mut(sub_mch_id) {
            add_to(sums, entry);
        } else if self.by_sub_merchant.len() < SUB_MERCHANTS_MAX {
            let mut sums = Vec::new();
            add_to(&mut sums, entry);
            self.by_sub_merchant.insert(sub_mch_id.to_owned(), sums);
        }
    }

    /// Per currency, CNY first; a bill without rows has zeros in CNY.
    pub fn finish(self) -> (Vec<Sums>, Vec<SubSums>) {
        let mut whole = self.whole;
        if whole.is_empty() {
            whole.push(Sums::zero(Currency::CNY));
        }
        whole.sort_by_key(|sums| (sums.fee_type != Currency::CNY, sums.fee_type.as_str().to_owned()));
        let parts = self.by_sub_merchant.into_iter().flat_map(|(sub_mch_id, sums)| {
            sums.into_iter().map(move |sums| SubSums { sub_mch_id: sub_mch_id.clone(), sums })
        });
        (whole, parts.collect())
    }
}

fn add_to(sums: &mut Vec<Sums>, entry: &Entry<'_>) {
    if let Some(known) = sums.iter_mut().find(|sums| sums.fee_type.as_str() == entry.fee_type) {
        known.add(entry);
        return;
    }
    // A word that is no currency is counted as the default one: the row itself is reported.
    let fee_type = Currency::new(entry.fee_type).unwrap_or_default();
    if let Some(known) = sums.iter_mut().find(|sums| sums.fee_type == fee_type) {
        known.add(entry);
        return;
    }
    let mut fresh = Sums::zero(fee_type);
    fresh.add(entry);
    sums.push(fresh);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fees_are_rounded_once_and_from_zero() {
        for (units, fen) in [(0, 0), (499, 0), (500, 1), (11_994, 12), (-499, 0), (-500, -1), (-3_000, -3)] {
            assert_eq!(rounded_fen(units), fen, "{units}");
        }
    }
}
