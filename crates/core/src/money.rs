//! Amounts in fen and their currency. No floats, no bare integers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An amount in the smallest unit of its currency (分 for CNY); never negative, and bounded so that JSON readers with
/// 53-bit numbers agree with us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Fen(i64);

/// 2^53 - 1: the largest integer that every JSON reader keeps exactly.
pub const FEN_MAX: i64 = 9_007_199_254_740_991;

/// An amount that cannot be one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an amount must be an integer number of fen from 0 to {FEN_MAX}")]
pub struct FenError;

impl Fen {
    /// Zero or more.
    pub fn new(fen: i64) -> Result<Self, FenError> {
        if (0..=FEN_MAX).contains(&fen) { Ok(Self(fen)) } else { Err(FenError) }
    }

    /// The number of fen.
    pub fn get(self) -> i64 {
        self.0
    }

    /// An order is over at least one fen.
    pub fn is_zero(self) -> bool {
        self.0 == 0
    }
}

impl TryFrom<i64> for Fen {
    type Error = FenError;
    fn try_from(fen: i64) -> Result<Self, FenError> {
        Self::new(fen)
    }
}

impl From<Fen> for i64 {
    fn from(fen: Fen) -> i64 {
        fen.0
    }
}

impl fmt::Display for Fen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What is left of amounts: like [`Fen`], but it may be negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "i64", into = "i64")]
pub struct Balance(i64);

impl Balance {
    /// Bounded like an amount, on both sides.
    pub fn new(fen: i64) -> Result<Self, FenError> {
        if (-FEN_MAX..=FEN_MAX).contains(&fen) { Ok(Self(fen)) } else { Err(FenError) }
    }

    /// The number of fen.
    pub fn get(self) -> i64 {
        self.0
    }
}

impl TryFrom<i64> for Balance {
    type Error = FenError;
    fn try_from(fen: i64) -> Result<Self, FenError> {
        Self::new(fen)
    }
}

impl From<Balance> for i64 {
    fn from(fen: Balance) -> i64 {
        fen.0
    }
}

/// An ISO 4217 code such as `CNY`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Currency([u8; 3]);

/// A text that is not a currency.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a currency must be three capital letters, such as CNY")]
pub struct CurrencyError;

impl Currency {
    /// WeChat's default.
    pub const CNY: Currency = Currency(*b"CNY");

    /// Three capital letters.
    pub fn new(text: &str) -> Result<Self, CurrencyError> {
        let code: [u8; 3] = text.as_bytes().try_into().map_err(|_| CurrencyError)?;
        if code.iter().all(u8::is_ascii_uppercase) { Ok(Self(code)) } else { Err(CurrencyError) }
    }

    /// The three letters.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("???")
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self::CNY
    }
}

impl TryFrom<String> for Currency {
    type Error = CurrencyError;
    fn try_from(text: String) -> Result<Self, CurrencyError> {
        Self::new(&text)
    }
}

impl From<Currency> for String {
    fn from(currency: Currency) -> String {
        currency.as_str().to_owned()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_is_an_integer_that_every_json_reader_keeps() {
        for (fen, is_one) in
            [(-1, false), (0, true), (FEN_MAX, true), (FEN_MAX + 1, false), (i64::MIN, false)]
        {
            assert_eq!(Fen::new(fen).is_ok(), is_one, "{fen}");
            assert_eq!(serde_json::from_str::<Fen>(&fen.to_string()).is_ok(), is_one, "{fen}");
        }
        for text in ["1.0", "1e2", "\"1\"", "null", "9223372036854775808"] {
            assert!(serde_json::from_str::<Fen>(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_currency_is_three_capital_letters() {
        assert_eq!(Currency::new("CNY"), Ok(Currency::default()));
        for text in ["", "CN", "CNYY", "cny", "C1Y", "元"] {
            assert_eq!(Currency::new(text), Err(CurrencyError), "{text}");
        }
    }
}
