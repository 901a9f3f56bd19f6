//! The bill of a merchant's day: which payments, refunds and reversals are in it, and whether it can be had yet. Rows
//! are pointers at orders, in the order of time; `stream` turns them into text as it is sent.

mod columns;
mod stream;
mod values;

use std::{collections::BTreeSet, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    clock::{self, DAY_MS},
    error::Error,
    faults::mix,
    order::Order,
    refund::{Account, Refund},
    world::World,
};

pub(crate) use stream::BillStream;
pub use values::BillTotals;

/// Before this hour the bill of yesterday is not even begun.
const CREATING_FROM_MS: i64 = 9 * 3_600_000;
/// How far back bills are kept.
const KEPT_DAYS: i64 = 92;
/// Made-up rows at most.
const PADDING_ROWS_MAX: u64 = 100_000_000;

/// `bill_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BillType {
    All,
    Success,
    Refund,
    RechargeRefund,
    Revoked,
}

impl BillType {
    pub(crate) fn read(word: Option<&str>) -> Option<BillType> {
        Some(match word {
            None | Some("ALL") => BillType::All,
            Some("SUCCESS") => BillType::Success,
            Some("REFUND") => BillType::Refund,
            Some("RECHARGE_REFUND") => BillType::RechargeRefund,
            Some("REVOKED") => BillType::Revoked,
            Some(_) => return None,
        })
    }

    fn wants(self, entry: &Entry) -> bool {
        match (self, entry) {
            (BillType::All, _)
            | (BillType::Success, Entry::Paid)
            | (BillType::Revoked, Entry::Revoked)
            | (BillType::Refund, Entry::Refunded(_)) => true,
            (BillType::RechargeRefund, Entry::Refunded(refund)) => refund.account == Account::Recharge,
            _ => false,
        }
    }
}

/// What a row is about.
pub(crate) enum Entry {
    Paid,
    /// Listed on the day on which it was accepted, with its state of now.
    Refunded(Arc<Refund>),
    Revoked,
}

/// A row, not yet text.
pub(crate) struct BillRow {
    at_ms: i64,
    order: Arc<Order>,
    entry: Entry,
}

/// Rows that belong to no order here, for bills of any size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Padding {
    /// Payments, evenly over the day, behind the real ones.
    pub rows: u64,
    /// What their `out_trade_no` begins with; ten digits follow.
    #[serde(default = "prefix")]
    pub prefix: String,
    /// Every so many payments one is refunded in part by a row of its own; 0: none.
    #[serde(default)]
    pub refund_every: u64,
}

fn prefix() -> String {
    "PAD".to_owned()
}

impl Padding {
    /// What payment number `number` comes to, and its refund if it has one.
    fn amounts(&self, number: u64, kind: BillType) -> (u64, Option<u64>) {
        let total_fee = mix(number) % 99_999 + 1;
        let refunded = self.refund_every > 0 && number.is_multiple_of(self.refund_every);
        (total_fee, (refunded && kind != BillType::Success).then(|| total_fee.div_ceil(2)))
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_-|*@".contains(&byte);
        if self.prefix.len() > 20 || !self.prefix.bytes().all(fit) {
            return Err(Error::invalid("prefix", "at most 20 digits, letters and _-|*@"));
        }
        if self.rows > PADDING_ROWS_MAX {
            return Err(Error::invalid("rows", "at most 100000000"));
        }
        Ok(())
    }
}

/// Whose bill of which day.
#[derive(Debug, Clone)]
pub(crate) struct BillOf {
    pub(crate) mch_id: String,
    /// One sub merchant of a provider only.
    pub(crate) sub_mch_id: Option<String>,
    pub(crate) day_begin_ms: i64,
    pub(crate) kind: BillType,
}

/// Why there is no bill.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoBill {
    Date,
    None,
    Creating,
}

impl World {
    /// The bill as it can be downloaded now.
    pub(crate) fn bill(&self, of: &BillOf) -> Result<BillStream, NoBill> {
        let (now_ms, settings) = (self.clock.wall_ms(), self.settings());
        let after_day_ms = now_ms - (of.day_begin_ms + DAY_MS);
        if !(0..=KEPT_DAYS * DAY_MS).contains(&after_day_ms) {
            return Err(NoBill::Date);
        }
        if after_day_ms < i64::from(settings.bill_ready_s) * 1000 {
            return Err(if after_day_ms < CREATING_FROM_MS { NoBill::None } else { NoBill::Creating });
        }
        let (rows, padding) = (self.bill_rows(of), self.bill_padding(of));
        if rows.is_empty() && padding.is_none() && !settings.empty_bills {
            return Err(NoBill::None);
        }
        Ok(BillStream::new(of, rows, padding, settings))
    }

    /// What the whole bill of the day sums up to, whether it is ready or not.
    pub(crate) fn bill_totals(&self, of: &BillOf) -> BillTotals {
        BillStream::new(of, self.bill_rows(of), self.bill_padding(of), self.settings()).totals()
    }

    fn bill_padding(&self, of: &BillOf) -> Option<Padding> {
        let payments = matches!(of.kind, BillType::All | BillType::Success);
        let padding = self.padding(&of.mch_id, of.day_begin_ms)?;
        (payments && of.sub_mch_id.is_none() && padding.rows > 0).then_some(padding)
    }

    fn bill_rows(&self, of: &BillOf) -> Vec<BillRow> {
        let day = of.day_begin_ms..of.day_begin_ms + DAY_MS;
        let mut rows = Vec::new();
        for order in self.book.of_merchant(&of.mch_id) {
            let Some(paid) = &order.paid else { continue };
            if of.sub_mch_id.is_some() && of.sub_mch_id != order.sub_mch_id {
                continue;
            }
            let mut add = |at_ms: i64, entry: Entry| {
                if day.contains(&at_ms) && of.kind.wants(&entry) {
                    rows.push(BillRow { at_ms, order: order.clone(), entry });
                }
            };
            add(paid.wall_ms, Entry::Paid);
            for refund in &order.refunds {
                add(refund.requested_ms, Entry::Refunded(refund.clone()));
            }
            if let Some(at_ms) = order.revoked_ms {
                add(at_ms, Entry::Revoked);
            }
        }
        rows.sort_by(|a, b| (a.at_ms, &a.order.key).cmp(&(b.at_ms, &b.order.key)));
        rows
    }

    /// The days on which the merchant's bills have rows, `yyyyMMdd`.
    pub(crate) fn bill_days(&self, mch_id: &str) -> BTreeSet<String> {
        let day = |at_ms: i64| clock::compact(at_ms).chars().take(8).collect::<String>();
        let mut days: BTreeSet<String> = self.padded_days(mch_id).into_iter().map(day).collect();
        for order in self.book.of_merchant(mch_id) {
            let refunds = order.refunds.iter().map(|refund| refund.requested_ms);
            let paid = order.paid.iter().map(|paid| paid.wall_ms);
            days.extend(paid.chain(refunds).chain(order.revoked_ms).map(day));
        }
        days
    }
}
