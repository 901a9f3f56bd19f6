//! Which faults strike which order: rates, and draws from a seed. A draw depends on the seed, the order, the number of
//! the attempt and the fault alone, never on when it is made, so that a run can be repeated. Counts nothing; the notifier
//! and the query endpoint play the faults.

use serde::{Deserialize, Serialize};

use crate::{
    call_faults::{CallFaults, CallName},
    error::Error,
    order::OrderKey,
};

/// Everything that can go wrong on demand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Fault {
    NotificationLost,
    AttemptLost,
    Late,
    Reordered,
    Simultaneous,
    Duplicate,
    Tampered,
    Unsigned,
    Forged,
    QuerySlow,
    QueryHttp500,
    QueryHtml,
    QueryReset,
    QuerySystemError,
    QueryFrequencyLimited,
    QueryUnsignedFail,
    QueryWrongSign,
    QueryLag,
    RefundChange,
    RefundClosed,
    RefundNotificationLost,
    RefundAttemptLost,
    RefundLate,
    RefundDuplicate,
    RefundGarbage,
    RefundForged,
    RefundQueryLag,
}

impl Fault {
    pub(crate) const ALL: [Fault; 27] = [
        Fault::NotificationLost,
        Fault::AttemptLost,
        Fault::Late,
        Fault::Reordered,
        Fault::Simultaneous,
        Fault::Duplicate,
        Fault::Tampered,
        Fault::Unsigned,
        Fault::Forged,
        Fault::QuerySlow,
        Fault::QueryHttp500,
        Fault::QueryHtml,
        Fault::QueryReset,
        Fault::QuerySystemError,
        Fault::QueryFrequencyLimited,
        Fault::QueryUnsignedFail,
        Fault::QueryWrongSign,
        Fault::QueryLag,
        Fault::RefundChange,
        Fault::RefundClosed,
        Fault::RefundNotificationLost,
        Fault::RefundAttemptLost,
        Fault::RefundLate,
        Fault::RefundDuplicate,
        Fault::RefundGarbage,
        Fault::RefundForged,
        Fault::RefundQueryLag,
    ];
}

/// Rates from 0.0 (never, the default) to 1.0 (always). Times here are real, whatever the clock's scale.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Another seed strikes other orders.
    pub seed: u64,
    /// Per order: no notification is ever sent.
    pub notification_lost: f64,
    /// Per attempt: it is lost on its way; the next one comes at the next point of the cadence.
    pub attempt_lost: f64,
    /// Per order: the first attempt starts `late_ms` later.
    pub late: f64,
    pub late_ms: u64,
    /// Per order: the first attempt waits until one of another order overtook it, `reordered_ms_max` at most.
    pub reordered: f64,
    pub reordered_ms_max: u64,
    /// Per attempt: two copies at the same time over two connections.
    pub simultaneous: f64,
    /// Per order: after the acknowledgement `duplicate_copies` more come (one if that is 0), a second apart by the scaled clock.
    pub duplicate: f64,
    pub duplicate_copies: u32,
    /// Per attempt: beforehand comes a copy whose amount was changed after signing.
    pub tampered: f64,
    /// Per attempt: beforehand comes a copy without a sign.
    pub unsigned: f64,
    /// Per order: as soon as it is placed, somebody without the key claims that it is paid.
    pub forged: f64,
    /// Per query: the answer, whatever it is, comes `query_slow_ms` later.
    pub query_slow: f64,
    pub query_slow_ms: u64,
    /// Per query, the first that strikes: HTTP 500 without a document,
    pub query_http_500: f64,
    /// HTTP 502 with an HTML page,
    pub query_html: f64,
    /// the connection breaks off within the answer,
    pub query_reset: f64,
    /// a signed `SYSTEMERROR`,
    pub query_system_error: f64,
    /// a signed `FREQUENCY_LIMITED`,
    pub query_frequency_limited: f64,
    /// an unsigned `return_code=FAIL`,
    pub query_unsigned_fail: f64,
    /// the right answer, signed with another key.
    pub query_wrong_sign: f64,
    /// Per order: for `query_lag_ms` after the payment queries still see `NOTPAY`.
    pub query_lag: f64,
    pub query_lag_ms: u64,
    /// Per refund: for `refund_query_lag_ms` after it was taken refundquery knows of nothing, and for as long after it ended
    /// it still sees `PROCESSING`.
    pub refund_query_lag: f64,
    pub refund_query_lag_ms: u64,
    /// Per refund: it ends in `CHANGE`, or else in `REFUNDCLOSE`, instead of `SUCCESS`.
    pub refund_change: f64,
    pub refund_closed: f64,
    /// Per refund: its end is never announced.
    pub refund_notification_lost: f64,
    /// Per attempt: it is lost on its way; the next one comes at the next point of the cadence.
    pub refund_attempt_lost: f64,
    /// Per refund: the first attempt starts `refund_late_ms` later.
    pub refund_late: f64,
    pub refund_late_ms: u64,
    /// Per refund: after the acknowledgement `refund_duplicate_copies` more come (one if that is 0).
    pub refund_duplicate: f64,
    pub refund_duplicate_copies: u32,
    /// Per attempt: beforehand comes one whose `req_info` no key decrypts.
    pub refund_garbage: f64,
    /// Per attempt: beforehand comes one that was encrypted with a stranger's key.
    pub refund_forged: f64,
    /// What happens to the calls of the merchant API.
    pub unified_order: CallFaults,
    pub close_order: CallFaults,
    pub micropay: CallFaults,
    pub reverse: CallFaults,
    pub refund: CallFaults,
    pub refund_query: CallFaults,
    pub download_bill: CallFaults,
    /// `/sns/oauth2/access_token` and `/sns/jscode2session`.
    pub openid: CallFaults,
}

impl Faults {
    /// Whether `fault` strikes attempt number `attempt` of `order` (0 for what is drawn per order).
    #[must_use]
    pub fn strikes(&self, fault: Fault, order: &OrderKey, attempt: u64) -> bool {
        let rate = self.rate(fault);
        rate > 0.0 && draw(&[self.seed, fault as u64, attempt], order) < rate
    }

    /// The configured rate.
    #[must_use]
    pub fn rate(&self, fault: Fault) -> f64 {
        match fault {
            Fault::NotificationLost => self.notification_lost,
            Fault::AttemptLost => self.attempt_lost,
            Fault::Late => self.late,
            Fault::Reordered => self.reordered,
            Fault::Simultaneous => self.simultaneous,
            Fault::Duplicate => self.duplicate,
            Fault::Tampered => self.tampered,
            Fault::Unsigned => self.unsigned,
            Fault::Forged => self.forged,
            Fault::QuerySlow => self.query_slow,
            Fault::QueryHttp500 => self.query_http_500,
            Fault::QueryHtml => self.query_html,
            Fault::QueryReset => self.query_reset,
            Fault::QuerySystemError => self.query_system_error,
            Fault::QueryFrequencyLimited => self.query_frequency_limited,
            Fault::QueryUnsignedFail => self.query_unsigned_fail,
            Fault::QueryWrongSign => self.query_wrong_sign,
            Fault::QueryLag => self.query_lag,
            Fault::RefundQueryLag => self.refund_query_lag,
            Fault::RefundChange => self.refund_change,
            Fault::RefundClosed => self.refund_closed,
            Fault::RefundNotificationLost => self.refund_notification_lost,
            Fault::RefundAttemptLost => self.refund_attempt_lost,
            Fault::RefundLate => self.refund_late,
            Fault::RefundDuplicate => self.refund_duplicate,
            Fault::RefundGarbage => self.refund_garbage,
            Fault::RefundForged => self.refund_forged,
        }
    }

    /// The rates of a call.
    #[must_use]
    pub fn of_call(&self, call: CallName) -> &CallFaults {
        match call {
            CallName::UnifiedOrder => &self.unified_order,
            CallName::CloseOrder => &self.close_order,
            CallName::Micropay => &self.micropay,
            CallName::Reverse => &self.reverse,
            CallName::Refund => &self.refund,
            CallName::RefundQuery => &self.refund_query,
            CallName::DownloadBill => &self.download_bill,
            CallName::Openid => &self.openid,
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        for call in CallName::ALL {
            self.of_call(call).check()?;
        }
        match Fault::ALL.into_iter().find(|fault| !(0.0..=1.0).contains(&self.rate(*fault))) {
            None => Ok(()),
            Some(fault) => Err(Error::config(fault.name(), "a rate must lie between 0.0 and 1.0")),
        }
    }
}

impl Fault {
    /// The name of its rate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Fault::NotificationLost => "notification_lost",
            Fault::AttemptLost => "attempt_lost",
            Fault::Late => "late",
            Fault::Reordered => "reordered",
            Fault::Simultaneous => "simultaneous",
            Fault::Duplicate => "duplicate",
            Fault::Tampered => "tampered",
            Fault::Unsigned => "unsigned",
            Fault::Forged => "forged",
            Fault::QuerySlow => "query_slow",
            Fault::QueryHttp500 => "query_http_500",
            Fault::QueryHtml => "query_html",
            Fault::QueryReset => "query_reset",
            Fault::QuerySystemError => "query_system_error",
            Fault::QueryFrequencyLimited => "query_frequency_limited",
            Fault::QueryUnsignedFail => "query_unsigned_fail",
            Fault::QueryWrongSign => "query_wrong_sign",
            Fault::QueryLag => "query_lag",
            Fault::RefundQueryLag => "refund_query_lag",
            Fault::RefundChange => "refund_change",
            Fault::RefundClosed => "refund_closed",
            Fault::RefundNotificationLost => "refund_notification_lost",
            Fault::RefundAttemptLost => "refund_attempt_lost",
            Fault::RefundLate => "refund_late",
            Fault::RefundDuplicate => "refund_duplicate",
            Fault::RefundGarbage => "refund_garbage",
            Fault::RefundForged => "refund_forged",
        }
    }
}

/// A number in [0, 1) that only these values decide.
pub(crate) fn draw(salt: &[u64], order: &OrderKey) -> f64 {
    let upper_half = u32::try_from(hash(salt, order) >> 32).expect("32 bits are left");
    f64::from(upper_half) / 4_294_967_296.0
}

/// FNV-1a over the order's number between rounds of splitmix64. Part of what a seed means: never change it.
pub(crate) fn hash(salt: &[u64], order: &OrderKey) -> u64 {
    let salted = salt.iter().fold(0xcbf2_9ce4_8422_2325, |state, word| mix(state ^ word));
    let bytes = order.mch_id.bytes().chain([b'\n']).chain(order.out_trade_no.bytes());
    mix(bytes.fold(salted, |state, byte| (state ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)))
}

/// One step of splitmix64.
pub(crate) fn mix(state: u64) -> u64 {
    let state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(number: u32) -> OrderKey {
        OrderKey { mch_id: "1900000109".to_owned(), out_trade_no: format!("T{number:08}") }
    }

    fn struck(faults: &Faults, fault: Fault, attempt: u64) -> Vec<u32> {
        (0..10_000).filter(|number| faults.strikes(fault, &order(*number), attempt)).collect()
    }

    #[test]
    fn rates_are_met_and_draws_are_independent() {
        let faults = Faults { seed: 7, duplicate: 0.25, late: 0.25, ..Faults::default() };
        let duplicate = struck(&faults, Fault::Duplicate, 0);
        assert!((2300..2700).contains(&duplicate.len()), "{}", duplicate.len());
        for other in [struck(&faults, Fault::Late, 0), struck(&faults, Fault::Duplicate, 1)] {
            let both = duplicate.iter().filter(|number| other.contains(number)).count();
            assert!((500..750).contains(&both), "{both}");
        }
        assert_eq!(duplicate, struck(&faults.clone(), Fault::Duplicate, 0), "a seed repeats");
        assert_ne!(duplicate, struck(&Faults { seed: 8, ..faults }, Fault::Duplicate, 0));
    }

    #[test]
    fn never_and_always() {
        assert_eq!(struck(&Faults::default(), Fault::Forged, 0), [0; 0]);
        assert_eq!(struck(&Faults { forged: 1.0, ..Faults::default() }, Fault::Forged, 3).len(), 10_000);
    }

    #[test]
    fn every_rate_has_the_name_of_its_fault() {
        for fault in Fault::ALL {
            let text = format!("{{\"{}\":0.5}}", fault.name());
            let faults: Faults = serde_json::from_str(&text).unwrap();
            assert_eq!(faults.rate(fault), 0.5, "{text}");
            assert!(
                include_str!("../README.md").contains(&format!("`{}`", fault.name())),
                "{text} is explained"
            );
        }
    }
}
