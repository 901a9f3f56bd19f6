//! Control over what comes after a payment: refunds, bills, the merchants' funds, the settings, and the
//! simulator's time.

use std::time::Duration;

use serde::Serialize;

use super::Control;
use crate::{
    bill::{BillOf, BillTotals, BillType, Padding},
    clock,
    error::Error,
    order::OrderKey,
    refund::{NewRefund, RefundKey, RefundState, RefundTruth},
    refund_notifier,
    settings::{Funds, Settings},
};

/// A part of the list of refunds.
#[derive(Debug, Clone, Serialize)]
pub struct RefundPage {
    pub refunds: Vec<RefundTruth>,
    /// Where to continue.
    pub next: String,
    pub has_more: bool,
}

/// The simulator's time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ClockReading {
    /// RFC 3339: what documents are dated with.
    pub wall: String,
    pub wall_ms: i64,
    /// Seconds of protocol time since it began: scaled, leaps included.
    pub elapsed_s: u64,
}

impl Control {
    /// A refund as by a person in the merchant platform.
    pub fn refund_with(&self, order: &OrderKey, refund: NewRefund) -> Result<RefundTruth, Error> {
        self.0.refund(order, refund).map(|(order, refund)| refund.truth(&order))
    }

    /// Ends a refund now, and has it announced.
    pub fn end_refund(&self, refund: &RefundKey, state: RefundState) -> Result<RefundTruth, Error> {
        self.0.end_refund(refund, state).map(|(order, refund)| refund.truth(&order))
    }

    /// Starts the notifications of an ended refund once more, faults included.
    pub fn notify_refund_again(&self, refund: &RefundKey) -> Result<(), Error> {
        let (order, refund) = self.0.refund_of(refund)?;
        if refund.state == RefundState::Processing {
            return Err(Error::RefundState(refund.state, refund.state));
        }
        refund_notifier::announce(&self.0, order, refund);
        Ok(())
    }

    /// What is true about one refund.
    pub fn refund_truth(&self, refund: &RefundKey) -> Result<RefundTruth, Error> {
        self.0.refund_of(refund).map(|(order, refund)| refund.truth(&order))
    }

    /// What is true about all refunds, in the order of acceptance.
    #[must_use]
    pub fn refund_truths(&self) -> Vec<RefundTruth> {
        self.refund_page(0, usize::MAX).refunds
    }

    /// The same in parts. `after` is a page's `next`, 0 the beginning.
    #[must_use]
    pub fn refund_page(&self, after: usize, limit: usize) -> RefundPage {
        let (refunds, next) = self.0.book.refunds(after, limit);
        RefundPage {
            refunds: refunds.iter().map(|(order, refund)| refund.truth(order)).collect(),
            next: next.to_string(),
            has_more: next < self.0.book.refund_places(),
        }
    }

    /// What the merchant has left to pay refunds with.
    pub fn funds(&self, mch_id: &str) -> Result<Funds, Error> {
        self.0.merchant(mch_id).ok_or_else(|| Error::UnknownMerchant(mch_id.to_owned()))?;
        Ok(self.0.with_funds(mch_id, |funds| *funds))
    }

    /// Replaces it.
    pub fn set_funds(&self, mch_id: &str, new: Funds) -> Result<(), Error> {
        self.0.merchant(mch_id).ok_or_else(|| Error::UnknownMerchant(mch_id.to_owned()))?;
        self.0.with_funds(mch_id, |funds| *funds = new);
        Ok(())
    }

    /// What the bill of a day (`yyyyMMdd`) sums up to, ready or not.
    pub fn bill_totals(&self, mch_id: &str, bill_date: &str) -> Result<BillTotals, Error> {
        let day_begin_ms = self.day_of(mch_id, bill_date)?;
        let of = BillOf { mch_id: mch_id.to_owned(), sub_mch_id: None, day_begin_ms, kind: BillType::All };
        Ok(self.0.bill_totals(&of))
    }

    /// Adds made-up rows to the bill of a day (`yyyyMMdd`), in place of those added before.
    pub fn pad_bill(&self, mch_id: &str, bill_date: &str, padding: Padding) -> Result<(), Error> {
        let day_begin_ms = self.day_of(mch_id, bill_date)?;
        self.0.pad_bill(mch_id, day_begin_ms, padding)
    }

    /// The days (`yyyyMMdd`) on which the merchant's bills have rows.
    pub fn bill_days(&self, mch_id: &str) -> Result<Vec<String>, Error> {
        self.0.merchant(mch_id).ok_or_else(|| Error::UnknownMerchant(mch_id.to_owned()))?;
        Ok(self.0.bill_days(mch_id).into_iter().collect())
    }

    fn day_of(&self, mch_id: &str, bill_date: &str) -> Result<i64, Error> {
        self.0.merchant(mch_id).ok_or_else(|| Error::UnknownMerchant(mch_id.to_owned()))?;
        clock::day_begin(bill_date).ok_or(Error::invalid("bill_date", "yyyyMMdd"))
    }

    /// The rules in force.
    #[must_use]
    pub fn settings(&self) -> Settings {
        Settings::clone(&self.0.settings())
    }

    /// Replaces all of them. Refunds under way keep the delay that they began with.
    pub fn set_settings(&self, settings: Settings) -> Result<(), Error> {
        self.0.set_settings(settings)
    }

    /// Reads the simulator's time.
    #[must_use]
    pub fn clock(&self) -> ClockReading {
        let wall_ms = self.0.clock.wall_ms();
        ClockReading { wall: clock::rfc3339(wall_ms), wall_ms, elapsed_s: self.0.clock.now().as_secs() }
    }

    /// Lets time pass: delays that end in it end now, documents are dated later, and the day may change.
    pub fn advance(&self, by: Duration) {
        self.0.clock.leap(by);
    }
}
