//! Identifiers, parsed once at the edge and trusted afterwards.
//!
//! An [`OrderKey`] names one payment order at WeChat: `out_trade_no` is unique per `mch_id`, also for service
//! providers, whose `sub_mch_id` is an attribute and no part of the key.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} must be {rule}")]
pub struct IdError {
    name: &'static str,
    rule: &'static str,
}

/// Longest identifier of the protocol, in characters (WeChat's `String(32)`).
pub const ID_CHARS_MAX: usize = 32;

/// Longest number of a refund (WeChat's `String(64)`).
pub const OUT_REFUND_NO_CHARS_MAX: usize = 64;

fn check(name: &'static str, text: &str, rule: &'static str, allowed: fn(u8) -> bool) -> Result<(), IdError> {
    check_to(ID_CHARS_MAX, name, text, (rule, allowed))
}

fn check_to(
    chars_max: usize,
    name: &'static str,
    text: &str,
    (rule, allowed): (&'static str, fn(u8) -> bool),
) -> Result<(), IdError> {
    let fits = (1..=chars_max).contains(&text.len()) && text.bytes().all(allowed);
    if fits { Ok(()) } else { Err(IdError { name, rule }) }
}

fn is_number_like(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
}

fn is_wide(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')
}

fn is_out_trade_no(byte: u8) -> bool {
    is_wide(byte) || matches!(byte, b'|' | b'*' | b'@')
}

/// WeChat's merchant number (商户号), for example `1900000109`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MchId(String);

/// The merchant's own order number (商户订单号): 1 to 32 of digits, letters and `_-|*@`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutTradeNo(String);

/// WeChat's number of one payment (微信支付订单号), 28 digits today.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TransactionId(String);

/// An official account, mini program or app, for example `wx8888888888888888`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AppId(String);

/// The merchant's own number of one refund (商户退款单号): 1 to 64 of digits, letters and `_-|*@`. WeChat refunds a number
/// once, however often it is asked to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct OutRefundNo(String);

/// WeChat's number of one refund (微信退款单号).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefundId(String);

impl MchId {
    /// Letters and digits only.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("mch_id", &text, "1 to 32 letters or digits", is_number_like)?;
        Ok(Self(text))
    }
}

impl OutTradeNo {
    /// Refuses `&`, `=` and blanks, which would let neighbouring signed fields be folded into one.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("out_trade_no", &text, "1 to 32 of 0-9 A-Z a-z _ - | * @", is_out_trade_no)?;
        Ok(Self(text))
    }
}

impl TransactionId {
    /// Letters, digits, `_` and `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("transaction_id", &text, "1 to 32 letters, digits, _ or -", is_wide)?;
        Ok(Self(text))
    }
}

impl AppId {
    /// Letters, digits, `_` and `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("appid", &text, "1 to 32 letters, digits, _ or -", is_wide)?;
        Ok(Self(text))
    }
}

impl OutRefundNo {
    /// As [`OutTradeNo`], and twice as long.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let rule = "1 to 64 of 0-9 A-Z a-z _ - | * @";
        check_to(OUT_REFUND_NO_CHARS_MAX, "out_refund_no", &text, (rule, is_out_trade_no))?;
        Ok(Self(text))
    }
}

impl RefundId {
    /// Letters, digits, `_` and `-`.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        check("refund_id", &text, "1 to 32 letters, digits, _ or -", is_wide)?;
        Ok(Self(text))
    }
}

/// A shop's number for its own order, which several numbers at WeChat may pay: 1 to 64 visible ASCII characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BusinessNo(String);

/// Longest [`BusinessNo`].
pub const BUSINESS_NO_CHARS_MAX: usize = 64;

impl BusinessNo {
    /// Refuses blanks, control characters and everything beyond ASCII.
    pub fn new(text: impl Into<String>) -> Result<Self, IdError> {
        let text = text.into();
        let rule = "1 to 64 visible ASCII characters without blanks";
        check_to(BUSINESS_NO_CHARS_MAX, "business_no", &text, (rule, |byte| byte.is_ascii_graphic()))?;
        Ok(Self(text))
    }
}

/// One payment order at WeChat.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct OrderKey {
    pub mch_id: MchId,
    pub out_trade_no: OutTradeNo,
}

impl OrderKey {
    /// Parses both parts.
    pub fn new(mch_id: impl Into<String>, out_trade_no: impl Into<String>) -> Result<Self, IdError> {
        Ok(Self { mch_id: MchId::new(mch_id)?, out_trade_no: OutTradeNo::new(out_trade_no)? })
    }
}

impl fmt::Display for OrderKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.mch_id, self.out_trade_no)
    }
}

/// The fencing token of one lease: 128 random bits, brought by the caller.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct LeaseToken(pub u128);

impl LeaseToken {
    /// The half that a process keeps for all its leases: 64 random bits that name it.
    pub fn holder(self) -> u64 {
        // The upper half of 128 bits is 64 bits.
        u64::try_from(self.0 >> 64).unwrap_or(u64::MAX)
    }

    /// A token of that process.
    pub fn of(holder: u64, random: u64) -> Self {
        Self(u128::from(holder) << 64 | u128::from(random))
    }
}

impl fmt::Debug for LeaseToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl Serialize for LeaseToken {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("{:032x}", self.0))
    }
}

impl<'de> Deserialize<'de> for LeaseToken {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        u128::from_str_radix(&text, 16).map(LeaseToken).map_err(serde::de::Error::custom)
    }
}

/// The conversions of each identifier.
mod text {
    use super::{AppId, BusinessNo, IdError, MchId, OutRefundNo, OutTradeNo, RefundId, TransactionId, fmt};

    impl MchId {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
    impl OutTradeNo {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
    impl TransactionId {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
    impl AppId {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
    impl OutRefundNo {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }
    impl RefundId {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }

    impl BusinessNo {
        pub fn as_str(&self) -> &str {
            &self.0
        }
    }

    impl TryFrom<String> for BusinessNo {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }
    impl TryFrom<String> for MchId {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }
    impl TryFrom<String> for OutTradeNo {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }
    impl TryFrom<String> for TransactionId {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }
    impl TryFrom<String> for AppId {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }
    impl TryFrom<String> for OutRefundNo {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }
    impl TryFrom<String> for RefundId {
        type Error = IdError;
        fn try_from(text: String) -> Result<Self, IdError> {
            Self::new(text)
        }
    }

    impl From<BusinessNo> for String {
        fn from(id: BusinessNo) -> String {
            id.0
        }
    }
    impl From<MchId> for String {
        fn from(id: MchId) -> String {
            id.0
        }
    }
    impl From<OutTradeNo> for String {
        fn from(id: OutTradeNo) -> String {
            id.0
        }
    }
    impl From<TransactionId> for String {
        fn from(id: TransactionId) -> String {
            id.0
        }
    }
    impl From<AppId> for String {
        fn from(id: AppId) -> String {
            id.0
        }
    }
    impl From<OutRefundNo> for String {
        fn from(id: OutRefundNo) -> String {
            id.0
        }
    }
    impl From<RefundId> for String {
        fn from(id: RefundId) -> String {
            id.0
        }
    }

    impl fmt::Display for BusinessNo {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl fmt::Display for MchId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl fmt::Display for OutTradeNo {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl fmt::Display for TransactionId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl fmt::Display for AppId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl fmt::Display for OutRefundNo {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
    impl fmt::Display for RefundId {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(&self.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn out_trade_no_refuses_what_could_shift_a_field_boundary() {
        assert!(OutTradeNo::new("T2026_-|*@").is_ok());
        for bad in ["", "a&b", "a=b", "a b", "商户", &"x".repeat(33)] {
            assert!(OutTradeNo::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_refund_s_number_is_twice_as_long_as_an_order_s() {
        assert!(OutRefundNo::new("x".repeat(64)).is_ok());
        for bad in ["", "a&b", "a b", "退款", &"x".repeat(65)] {
            assert!(OutRefundNo::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_business_number_is_what_a_shop_may_print() {
        for good in ["1", "B/2026:11-20{a}", &"x".repeat(64)] {
            assert!(BusinessNo::new(good).is_ok(), "{good:?}");
        }
        for bad in ["", "a b", "a\n", "订单", &"x".repeat(65)] {
            assert!(BusinessNo::new(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_lease_token_survives_its_text_form() {
        let token = LeaseToken(7);
        let text = serde_json::to_string(&token).unwrap();
        assert_eq!(text, "\"00000000000000000000000000000007\"");
        assert_eq!(serde_json::from_str::<LeaseToken>(&text).unwrap(), token);
    }
}
