//! What can go wrong with one call to the merchant API, and the plan for one request: which mishap, before or after the
//! call was carried out. Draws like `faults`, and plays nothing itself; endpoints do.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::{
    error::Error,
    faults::{Faults, draw},
    order::OrderKey,
};

/// Calls that [`CallFaults`] can strike; queries of orders have faults of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallName {
    UnifiedOrder,
    CloseOrder,
    Micropay,
    Reverse,
    Refund,
    RefundQuery,
    DownloadBill,
    Openid,
}

impl CallName {
    pub(crate) const ALL: [CallName; 8] = [
        CallName::UnifiedOrder,
        CallName::CloseOrder,
        CallName::Micropay,
        CallName::Reverse,
        CallName::Refund,
        CallName::RefundQuery,
        CallName::DownloadBill,
        CallName::Openid,
    ];

    /// The name of its rates.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CallName::UnifiedOrder => "unified_order",
            CallName::CloseOrder => "close_order",
            CallName::Micropay => "micropay",
            CallName::Reverse => "reverse",
            CallName::Refund => "refund",
            CallName::RefundQuery => "refund_query",
            CallName::DownloadBill => "download_bill",
            CallName::Openid => "openid",
        }
    }
}

/// Rates of what happens to a call, from 0.0 (never) to 1.0. Of those before and of those after the call is carried out the
/// first that strikes is played. Times are real.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CallFaults {
    /// The answer, whatever it is, comes `slow_ms` later.
    pub slow: f64,
    pub slow_ms: u64,
    /// The connection breaks without an answer, and the request arrives `late_ms` after that, or when it is told to: then it
    /// is carried out.
    pub late: f64,
    pub late_ms: u64,
    /// Nothing is done: the connection breaks without an answer,
    pub lost: f64,
    /// HTTP 500 without a document,
    pub http_500: f64,
    /// a signed `SYSTEMERROR`,
    pub system_error: f64,
    /// a signed `FREQUENCY_LIMITED`,
    pub frequency_limited: f64,
    /// an unsigned `return_code=FAIL`,
    pub unsigned_fail: f64,
    /// a signed refusal with `refuse_code` and `refuse_text`.
    pub refuse: f64,
    pub refuse_code: String,
    pub refuse_text: String,
    /// It is done: the connection breaks within the answer,
    pub answer_lost: f64,
    /// a proxy's HTTP 502 page comes in place of the answer,
    pub html: f64,
    /// a signed `SYSTEMERROR` comes in place of the answer,
    pub system_error_after: f64,
    /// the right answer is signed with another key.
    pub wrong_sign: f64,
}

/// One of the rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CallFault {
    Slow,
    Lost,
    Http500,
    SystemError,
    FrequencyLimited,
    UnsignedFail,
    Refuse,
    AnswerLost,
    Html,
    SystemErrorAfter,
    WrongSign,
    Late,
}

impl CallFault {
    pub(crate) const ALL: [CallFault; 12] = [
        CallFault::Slow,
        CallFault::Late,
        CallFault::Lost,
        CallFault::Http500,
        CallFault::SystemError,
        CallFault::FrequencyLimited,
        CallFault::UnsignedFail,
        CallFault::Refuse,
        CallFault::AnswerLost,
        CallFault::Html,
        CallFault::SystemErrorAfter,
        CallFault::WrongSign,
    ];

    /// Whether the call is carried out all the same.
    #[must_use]
    pub fn is_after(self) -> bool {
        use CallFault::{AnswerLost, Html, SystemErrorAfter, WrongSign};
        matches!(self, AnswerLost | Html | SystemErrorAfter | WrongSign)
    }

    /// The name of its rate.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            CallFault::Slow => "slow",
            CallFault::Late => "late",
            CallFault::Lost => "lost",
            CallFault::Http500 => "http_500",
            CallFault::SystemError => "system_error",
            CallFault::FrequencyLimited => "frequency_limited",
            CallFault::UnsignedFail => "unsigned_fail",
            CallFault::Refuse => "refuse",
            CallFault::AnswerLost => "answer_lost",
            CallFault::Html => "html",
            CallFault::SystemErrorAfter => "system_error_after",
            CallFault::WrongSign => "wrong_sign",
        }
    }
}

impl CallFaults {
    /// The configured rate.
    #[must_use]
    pub fn rate(&self, fault: CallFault) -> f64 {
        match fault {
            CallFault::Slow => self.slow,
            CallFault::Late => self.late,
            CallFault::Lost => self.lost,
            CallFault::Http500 => self.http_500,
            CallFault::SystemError => self.system_error,
            CallFault::FrequencyLimited => self.frequency_limited,
            CallFault::UnsignedFail => self.unsigned_fail,
            CallFault::Refuse => self.refuse,
            CallFault::AnswerLost => self.answer_lost,
            CallFault::Html => self.html,
            CallFault::SystemErrorAfter => self.system_error_after,
            CallFault::WrongSign => self.wrong_sign,
        }
    }

    fn is_quiet(&self) -> bool {
        CallFault::ALL.into_iter().all(|fault| self.rate(fault) <= 0.0)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match CallFault::ALL.into_iter().find(|fault| !(0.0..=1.0).contains(&self.rate(*fault))) {
            Some(fault) => Err(Error::config(fault.name(), "a rate must lie between 0.0 and 1.0")),
            None if self.refuse > 0.0 && self.refuse_code.is_empty() => {
                Err(Error::config("refuse_code", "name the err_code to refuse with"))
            }
            None => Ok(()),
        }
    }
}

/// Orders whose attempts are counted at most; then all begin anew.
const ATTEMPTS_MAX: usize = 1_000_000;

/// What is to happen to one request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    pub(crate) delay: Duration,
    pub(crate) fault: Option<CallFault>,
}

/// How often each call was made on each order, while it has faults, and what struck.
#[derive(Default)]
pub(crate) struct CallLog(Mutex<Counts>);

#[derive(Default)]
struct Counts {
    attempts: HashMap<(CallName, OrderKey), u64>,
    struck: BTreeMap<(CallName, CallFault), u64>,
}

impl CallLog {
    /// Draws for the next request of `call` on `key`; for refunds the number is the refund's.
    pub(crate) fn plan(&self, faults: &Faults, call: CallName, key: &OrderKey) -> Plan {
        let rates = faults.of_call(call);
        if rates.is_quiet() {
            return Plan::default();
        }
        let mut counts = self.counts();
        if counts.attempts.len() >= ATTEMPTS_MAX {
            counts.attempts.clear();
        }
        let attempts = counts.attempts.entry((call, key.clone())).or_default();
        let attempt = *attempts;
        *attempts += 1;
        let strikes = |fault: &CallFault| {
            let rate = rates.rate(*fault);
            let salt = [faults.seed, 0x1_0000 + 0x100 * (call as u64) + *fault as u64, attempt];
            rate > 0.0 && draw(&salt, key) < rate
        };
        let slow = strikes(&CallFault::Slow);
        let fault = CallFault::ALL.into_iter().skip(1).find(strikes);
        for fault in fault.into_iter().chain(slow.then_some(CallFault::Slow)) {
            *counts.struck.entry((call, fault)).or_default() += 1;
        }
        let delay = if slow { Duration::from_millis(rates.slow_ms) } else { Duration::ZERO };
        Plan { delay, fault }
    }

    /// Counts of what was played, as `refund.answer_lost`.
    pub(crate) fn struck(&self) -> BTreeMap<String, u64> {
        let name = |((call, fault), count): (&(CallName, CallFault), &u64)| {
            (format!("{}.{}", call.name(), fault.name()), *count)
        };
        self.counts().struck.iter().map(name).collect()
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> OrderKey {
        OrderKey { mch_id: "1900000109".to_owned(), out_trade_no: format!("T{number:06}") }
    }

    #[test]
    fn every_request_is_drawn_anew_and_a_seed_repeats() {
        let refund = CallFaults { answer_lost: 0.5, slow: 1.0, slow_ms: 7, ..CallFaults::default() };
        let faults = Faults { seed: 3, refund, ..Faults::default() };
        let draws = || {
            let log = CallLog::default();
            let draws: Vec<_> =
                (0..400).map(|_| log.plan(&faults, CallName::Refund, &key(1)).fault).collect();
            (draws, log.struck())
        };
        let (first, struck) = draws();
        let lost = first.iter().filter(|fault| **fault == Some(CallFault::AnswerLost)).count();
        assert!((150..250).contains(&lost), "{lost}");
        assert_eq!(
            (struck["refund.answer_lost"], struck["refund.slow"]),
            (u64::try_from(lost).unwrap(), 400)
        );
        assert_eq!(draws().0, first);
        assert_eq!(CallLog::default().plan(&faults, CallName::CloseOrder, &key(1)), Plan::default());
    }

    #[test]
    fn every_rate_is_found_by_its_name_and_explained() {
        for call in CallName::ALL {
            for fault in CallFault::ALL {
                let text = format!(r#"{{"{}":{{"{}":1.0,"refuse_code":"X"}}}}"#, call.name(), fault.name());
                let faults: Faults = serde_json::from_str(&text).unwrap();
                faults.check().unwrap();
                let plan = CallLog::default().plan(&faults, call, &key(1));
                assert_eq!(plan.fault, (fault != CallFault::Slow).then_some(fault), "{text}");
                let readme = include_str!("../README.md");
                assert!(readme.contains(&format!("`{}`", fault.name())), "{text}");
                assert!(readme.contains(&format!("`{}`", call.name())), "{text}");
            }
        }
        let twice: Faults = serde_json::from_str(r#"{"refund":{"lost":2}}"#).unwrap();
        let nameless: Faults = serde_json::from_str(r#"{"refund":{"refuse":1}}"#).unwrap();
        assert!(twice.check().is_err() && nameless.check().is_err());
    }
}
