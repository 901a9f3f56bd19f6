//! What an earlier ledger told, as the event log has it: where a ledger was lost, the one in its place knows of no order,
//! and what its predecessor called a mismatch or a second payment would be told as paid.
//!
//! Reads no log: whoever compares puts in what was told.

use std::collections::HashMap;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};

use paybell_core::event::{Event, EventType};
use paybell_core::time::{Millis, Timestamp};

use crate::scope::OutOfScope;

/// By so much WeChat's moment of a payment may lie after the moment that we told it.
const SKEW: Millis = Millis::seconds(300);

/// What was told of payments made before the ledger began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Earlier {
    /// When the ledger began that there is now.
    began: Timestamp,
    /// The oldest event that the log still has.
    log_since: Timestamp,
    /// Whether somebody wants to know of payments of which nobody can say whether they were told.
    is_asked: bool,
    /// By fingerprint of the order: two orders that share one are only reported.
    told: HashMap<u64, Told>,
}

/// As what a payment was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Told {
    /// As paid.
    Paid,
    /// As a mismatch or as a second payment.
    Otherwise,
}

impl Earlier {
    #[must_use]
    pub fn new(began: Timestamp, log_since: Timestamp, is_asked: bool) -> Self {
        Self { began, log_since, is_asked, told: HashMap::new() }
    }

    /// Takes in an event of the log. Only what says that money was taken counts; in which mode does not matter.
    pub fn add(&mut self, event: &Event) {
        let told = match event.kind {
            EventType::Paid | EventType::Refunded => Told::Paid,
            EventType::Mismatch | EventType::DuplicatePayment => Told::Otherwise,
            _ => return,
        };
        let known = self.told.entry(print(&event.subject)).or_insert(told);
        *known = told.max(*known);
    }

    /// Why a payment of which the ledger knows nothing is reported only; `None` where it was never told, or may be made
    /// sure of.
    pub(crate) fn excludes(&self, out_trade_no: &str, paid_at: Timestamp) -> Option<OutOfScope> {
        // Events of after the beginning are the ledger's own, and it may have forgotten none of them yet.
        match self.told.get(&print(out_trade_no)) {
            Some(Told::Otherwise) => Some(OutOfScope::ToldOtherwise),
            Some(Told::Paid) => Some(OutOfScope::ToldBefore),
            None => {
                let is_unknown = paid_at < self.began && paid_at < self.log_since + SKEW;
                (is_unknown && !self.is_asked).then_some(OutOfScope::BeforeLedger)
            }
        }
    }
}

fn print(out_trade_no: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    out_trade_no.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: Timestamp = Timestamp::from_millis(100_000_000);
    const LOG_SINCE: Timestamp = Timestamp::from_millis(50_000_000);

    fn event(kind: &str, out_trade_no: &str) -> Event {
        let document = format!(
            r#"{{"specversion":"1.0","id":"8803801d-9ff3-598c-bbfa-290c72a9eb8c","source":"/paybell/18",
                "type":"{kind}","subject":"{out_trade_no}","time":"2026-11-20T12:00:05+08:00",
                "datacontenttype":"application/json","data":{{"version":1,"mch_id":"18","sub_mch_id":null,
                "appid":null,"out_trade_no":"{out_trade_no}","transaction_id":null,"total_fee":1999,
                "fee_type":"CNY","cash_fee":null,"settlement_total_fee":null,"coupon_fee":null,"coupons":[],
                "trade_state":"SUCCESS","trade_type":null,"bank_type":null,"attach":null,"paid_at":null,
                "learned_by":"poll","late":false,"registered":true}}}}"#
        );
        serde_json::from_str(&document).unwrap()
    }

    #[test]
    fn what_the_log_has_is_not_asked_for_whoever_asks() {
        for is_asked in [false, true] {
            let mut earlier = Earlier::new(BEGAN, LOG_SINCE, is_asked);
            for (kind, number) in [
                ("order.paid", "PAID"),
                ("order.mismatch", "HELD"),
                ("order.duplicate_payment", "TWICE"),
                ("order.paid", "ACCEPTED"),
                ("order.mismatch", "ACCEPTED"),
                ("order.refunded", "ACCEPTED"),
                ("order.closed", "CLOSED"),
                ("order.unpaid", "UNPAID"),
            ] {
                earlier.add(&event(kind, number));
            }
            let why = |number: &str| earlier.excludes(number, BEGAN - Millis(1));
            assert_eq!(why("PAID"), Some(OutOfScope::ToldBefore));
            for number in ["HELD", "TWICE", "ACCEPTED"] {
                assert_eq!(why(number), Some(OutOfScope::ToldOtherwise), "{number}");
            }
            for number in ["CLOSED", "UNPAID", "NEVER"] {
                assert_eq!(why(number), None, "{number}: nobody was told that it is paid");
            }
        }
    }

    #[test]
    fn what_the_log_cannot_know_is_for_a_person() {
        let earlier = Earlier::new(BEGAN, LOG_SINCE, false);
        let edge = LOG_SINCE + SKEW;
        assert_eq!(earlier.excludes("T1", edge - Millis(1)), Some(OutOfScope::BeforeLedger));
        assert_eq!(earlier.excludes("T1", edge), None);
        assert_eq!(Earlier::new(BEGAN, LOG_SINCE, true).excludes("T1", edge - Millis(1)), None);
        let young = Earlier::new(BEGAN, BEGAN + Millis::seconds(900), false);
        assert_eq!(young.excludes("T1", BEGAN - Millis(1)), Some(OutOfScope::BeforeLedger));
        assert_eq!(young.excludes("T1", BEGAN), None, "of that on the ledger knows");
    }
}
