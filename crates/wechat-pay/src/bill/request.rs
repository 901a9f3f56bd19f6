//! Asks for a day's bill (下载对账单, `/pay/downloadbill`), always packed.
//!
//! Reads no clock: [`BillDate::ready_ms`] says when it is worth asking. The answer is unsigned either way; it goes to
//! [`super::open`].

use std::fmt;

use crate::beijing;
use crate::request::{self, OrderRef, Signer};

/// The path under a base URL.
pub const PATH: &str = "/pay/downloadbill";

const DAY_MS: i64 = 86_400_000;

/// A day in Beijing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BillDate {
    /// Unix milliseconds of its midnight.
    begin_ms: i64,
}

impl BillDate {
    /// Reads `2026-11-18` or `20261118`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let begin_ms = match text.len() {
            8 => beijing::parse_compact(&format!("{text}000000")),
            _ => beijing::parse_spaced(&format!("{text} 00:00:00")),
        }?;
        Some(Self { begin_ms })
    }

    /// The day of a moment in Unix milliseconds; `None` outside the years 1970 to 9999.
    #[must_use]
    pub fn of(unix_ms: i64) -> Option<Self> {
        Self::parse(beijing::format_compact(unix_ms)?.get(..8)?)
    }

    #[must_use]
    pub fn begin_ms(self) -> i64 {
        self.begin_ms
    }

    /// Where the day ends and the next begins.
    #[must_use]
    pub fn end_ms(self) -> i64 {
        self.begin_ms + DAY_MS
    }

    /// When the bill should be there: 10:00 of the next day. Asking earlier is answered by "no bill".
    #[must_use]
    pub fn ready_ms(self) -> i64 {
        self.end_ms() + 10 * 3_600_000
    }
}

/// `2026-11-18`.
impl fmt::Display for BillDate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = beijing::format_spaced(self.begin_ms).unwrap_or_default();
        f.pad(text.get(..10).unwrap_or_default())
    }
}

/// Which rows a bill has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum BillType {
    #[default]
    All,
    Success,
    Refund,
    RechargeRefund,
}

impl BillType {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Success => "SUCCESS",
            Self::Refund => "REFUND",
            Self::RechargeRefund => "RECHARGE_REFUND",
        }
    }
}

/// A bill to download. It has every app of the merchant number, whichever asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BillRequest {
    pub appid: String,
    pub date: BillDate,
    pub kind: BillType,
    /// A provider's: one sub merchant only; all of them if `None`.
    pub sub_mch_id: Option<String>,
}

impl BillRequest {
    pub fn new(appid: impl Into<String>, date: BillDate) -> Self {
        Self { appid: appid.into(), date, kind: BillType::All, sub_mch_id: None }
    }

    /// The signed request. `nonce` is at most 32 letters and digits, new for every request.
    #[must_use]
    pub fn body(&self, signer: Signer<'_>, nonce: &str) -> String {
        let party =
            OrderRef { sub_mch_id: self.sub_mch_id.clone(), ..OrderRef::new(self.appid.as_str(), "") };
        let date: String = self.date.to_string().chars().filter(|c| *c != '-').collect();
        let fields = [("bill_date", date.as_str()), ("bill_type", self.kind.as_str()), ("tar_type", "GZIP")];
        request::write_with(&party, &fields, signer, nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_beijings() {
        let date = BillDate::parse("2026-11-18").unwrap();
        assert_eq!(BillDate::parse("20261118"), Some(date));
        assert_eq!(date.to_string(), "2026-11-18");
        assert_eq!(BillDate::of(date.begin_ms()), Some(date));
        assert_eq!(BillDate::of(date.end_ms() - 1), Some(date));
        assert_eq!(BillDate::of(date.end_ms()), BillDate::parse("2026-11-19"));
        assert_eq!(beijing::format_spaced(date.ready_ms()).as_deref(), Some("2026-11-19 10:00:00"));
        for text in ["", "2026-11-31", "20261131", "2026-1-18", "18.11.2026", "2026-11-18 "] {
            assert_eq!(BillDate::parse(text), None, "{text}");
        }
    }
}
