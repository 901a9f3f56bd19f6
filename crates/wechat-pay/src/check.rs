//! Looks at a request's fields before it is sent: one finding per field, with its cause in English and Chinese.
//!
//! Refuses only what WeChat refuses for certain, or what would be signed differently there than here (blanks around a
//! value, characters that XML cannot carry). Sends nothing; [`crate::unified_order`] and [`crate::refund`] use it.

use std::fmt;

/// Longest `notify_url`, in bytes.
pub const NOTIFY_URL_BYTES_MAX: usize = 256;

/// A field that WeChat would refuse.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The name on the wire.
    pub field: &'static str,
    pub fault: Fault,
}

/// What is wrong with a field. Never holds the value: it may be an openid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    Missing,
    /// UTF-8 bytes, not characters.
    TooLong {
        bytes: usize,
        bytes_max: usize,
    },
    /// Characters that this field, or XML, cannot have.
    Characters,
    /// Blanks or line ends around the value: WeChat signs it without them.
    BlanksAround,
    /// Amounts are whole fen, at least 1.
    NotPositive,
    /// More goes back than was paid.
    MoreThanPaid,
    /// Not an absolute http(s) address, or one with a query string, a fragment or an underscore in its host.
    Url,
    /// The order expires less than a minute after it starts.
    LifeTooShort,
    /// No time that `yyyyMMddHHmmss` can say.
    Time,
    /// Three capital letters of ISO 4217.
    Currency,
}

impl Fault {
    /// One of each kind, for documents.
    pub const KINDS: [Self; 10] = [
        Self::Missing,
        Self::TooLong { bytes: 2, bytes_max: 1 },
        Self::Characters,
        Self::BlanksAround,
        Self::NotPositive,
        Self::MoreThanPaid,
        Self::Url,
        Self::LifeTooShort,
        Self::Time,
        Self::Currency,
    ];
}

/// All that is wrong with a request. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct InvalidRequest {
    pub errors: Vec<FieldError>,
}

impl fmt::Display for InvalidRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request would be refused: ")?;
        for (place, error) in self.errors.iter().enumerate() {
            let separator = if place == 0 { "" } else { "; " };
            write!(f, "{separator}{error}")?;
        }
        Ok(())
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.fault {
            Fault::TooLong { bytes, bytes_max } => {
                write!(f, "{} has {bytes} bytes, at most {bytes_max} are allowed", self.field)
            }
            fault => write!(f, "{} {}", self.field, fault.words().0),
        }
    }
}

impl FieldError {
    /// The same in Chinese.
    #[must_use]
    pub fn zh(&self) -> String {
        match self.fault {
            Fault::TooLong { bytes, bytes_max } => {
                format!("{} 有 {bytes} 字节，最多允许 {bytes_max} 字节", self.field)
            }
            fault => format!("{} {}", self.field, fault.words().1),
        }
    }
}

impl Fault {
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Missing => ("is missing", "缺失"),
            Self::TooLong { .. } => ("is too long", "过长"),
            Self::Characters => ("has characters that are not allowed there", "含有不允许的字符"),
            Self::BlanksAround => {
                ("has blanks or line ends around it: take them away", "首尾有空白或换行：请去掉")
            }
            Self::NotPositive => ("must be whole fen, at least 1", "必须是不小于 1 的整数（单位：分）"),
            Self::MoreThanPaid => ("is more than total_fee", "大于 total_fee"),
            Self::Url => (
                "must be an absolute http(s) address without query string, and without underscores in its host",
                "必须是不带参数的完整 http(s) 地址，域名中不能有下划线",
            ),
            Self::LifeTooShort => (
                "must be more than a minute after time_start (five for some products); both are Beijing time",
                "必须比 time_start 晚 1 分钟以上（部分产品为 5 分钟）；均为北京时间",
            ),
            Self::Time => ("is no time between the years 1970 and 9999", "不是 1970 至 9999 年之间的时间"),
            Self::Currency => ("must be three capital letters such as CNY", "必须是三个大写字母，如 CNY"),
        }
    }
}

/// Collects one fault per field.
#[derive(Default)]
pub(crate) struct Findings {
    errors: Vec<FieldError>,
}

impl Findings {
    pub(crate) fn add(&mut self, field: &'static str, fault: Fault) {
        if !self.errors.iter().any(|error| error.field == field) {
            self.errors.push(FieldError { field, fault });
        }
    }

    pub(crate) fn expect(&mut self, field: &'static str, holds: bool, fault: Fault) {
        if !holds {
            self.add(field, fault);
        }
    }

    /// Text that may be left out; sent as it is.
    pub(crate) fn optional(&mut self, field: &'static str, text: &str, bytes_max: usize) {
        let bytes = text.len();
        self.expect(field, bytes <= bytes_max, Fault::TooLong { bytes, bytes_max });
        self.expect(field, text.chars().all(crate::xml::is_character), Fault::Characters);
        self.expect(field, text.trim() == text, Fault::BlanksAround);
    }

    pub(crate) fn required(&mut self, field: &'static str, text: &str, bytes_max: usize) {
        self.expect(field, !text.trim().is_empty(), Fault::Missing);
        self.optional(field, text, bytes_max);
    }

    /// An appid, a merchant number: visible ASCII without the signature's own marks.
    pub(crate) fn identifier(&mut self, field: &'static str, text: &str, bytes_max: usize) {
        self.required(field, text, bytes_max);
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        self.expect(field, text.bytes().all(fit), Fault::Characters);
    }

    pub(crate) fn party(&mut self, order: &crate::request::OrderRef) {
        self.identifier("appid", &order.appid, 32);
        match (&order.sub_mch_id, &order.sub_appid) {
            (Some(sub_mch_id), _) => self.identifier("sub_mch_id", sub_mch_id, 32),
            (None, Some(_)) => self.add("sub_mch_id", Fault::Missing),
            (None, None) => {}
        }
        if let Some(sub_appid) = &order.sub_appid {
            self.identifier("sub_appid", sub_appid, 32);
        }
        self.required("out_trade_no", &order.out_trade_no, crate::fields::ORDER_NUMBER_BYTES_MAX);
        self.expect("out_trade_no", crate::fields::is_out_trade_no(&order.out_trade_no), Fault::Characters);
    }

    pub(crate) fn currency(&mut self, field: &'static str, text: &str) {
        let fits = text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_uppercase());
        self.expect(field, text.is_empty() || fits, Fault::Currency);
    }

    pub(crate) fn notify_url(&mut self, text: &str) {
        self.optional("notify_url", text, NOTIFY_URL_BYTES_MAX);
        self.expect("notify_url", is_notify_url(text), Fault::Url);
    }

    pub(crate) fn into_result(self) -> Result<(), InvalidRequest> {
        if self.errors.is_empty() { Ok(()) } else { Err(InvalidRequest { errors: self.errors }) }
    }
}

fn is_notify_url(text: &str) -> bool {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let Some(rest) = rest else { return false };
    let authority = rest.split('/').next().unwrap_or_default();
    let visible = text.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'?' | b'#'));
    visible && !authority.is_empty() && !authority.contains(['_', '@'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notify_urls_have_no_query_string() {
        for text in ["https://pay.example.com/notify", "http://1.2.3.4:8080/a_b", "https://x"] {
            assert!(is_notify_url(text), "{text}");
        }
        for text in [
            "",
            "pay.example.com",
            "ftp://x/",
            "https://",
            "https://x/?a=1",
            "https://x/#f",
            "https://a_b/",
            "https://x/ y",
            "https://例子/",
            "https://u@x/",
        ] {
            assert!(!is_notify_url(text), "{text}");
        }
    }

    #[test]
    fn one_finding_per_field_in_both_languages_without_the_value() {
        let mut findings = Findings::default();
        findings.required("body", " secret\u{1} ", 3);
        findings.required("attach", "  ", 3);
        let error = findings.into_result().unwrap_err();
        assert_eq!(error.errors.len(), 2);
        assert!(!error.to_string().contains("secret"));
        assert_eq!(error.errors[1], FieldError { field: "attach", fault: Fault::Missing });
        for fault in Fault::KINDS {
            let error = FieldError { field: "x", fault };
            assert!(error.to_string().is_ascii() && !error.zh().is_ascii(), "{error}");
        }
    }
}
