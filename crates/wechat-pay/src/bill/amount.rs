//! Amounts of bills: decimal text in yuan, unlike everything else in API v2, read without floats.
//!
//! Knows nothing of columns. Digits beyond the unit are refused unless they are zeros: nothing is rounded.

/// Handling fees (手续费) have five decimals: this many units are one yuan, 1,000 are one fen.
pub type FeeUnits = i64;

const FEN_DECIMALS: usize = 2;
const FEE_DECIMALS: usize = 5;
/// Digits before the point: well inside 63 bits with five more behind it.
const DIGITS_MAX: usize = 13;

/// Reads yuan such as `19.99`, `5`, `-0.30` or `45.000` into fen. Empty is what does not apply, and so 0.
#[must_use]
pub fn fen_from_yuan(text: &str) -> Option<i64> {
    decimal(text, FEN_DECIMALS)
}

/// Reads a handling fee in yuan such as `-0.03000` into hundred-thousandths of a yuan.
#[must_use]
pub fn fee_units(text: &str) -> Option<FeeUnits> {
    decimal(text, FEE_DECIMALS)
}

/// Reads decimal text into units of `10^-decimals`.
pub(super) fn decimal(text: &str, decimals: usize) -> Option<i64> {
    let (is_negative, text) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    if text.is_empty() {
        return (!is_negative).then_some(0);
    }
    let (whole, fraction) = match text.split_once('.') {
        Some((_, "")) => return None,
        Some(parts) => parts,
        None => (text, ""),
    };
    if whole.is_empty() || whole.len() > DIGITS_MAX {
        return None;
    }
    let mut units: i64 = 0;
    for byte in whole.bytes() {
        units = units * 10 + digit(byte)?;
    }
    let mut places = decimals;
    for byte in fraction.bytes() {
        let digit = digit(byte)?;
        match places.checked_sub(1) {
            Some(left) => {
                units = units * 10 + digit;
                places = left;
            }
            None if digit != 0 => return None,
            None => {}
        }
    }
    for _ in 0..places {
        units *= 10;
    }
    Some(if is_negative { -units } else { units })
}

fn digit(byte: u8) -> Option<i64> {
    byte.is_ascii_digit().then(|| i64::from(byte - b'0'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_become_fen_digit_by_digit() {
        for (text, fen) in [
            ("19.90", 1990),
            ("19.9", 1990),
            ("0.29", 29),
            ("-0.30", -30),
            ("0", 0),
            ("", 0),
            ("0.00", 0),
            ("5", 500),
            ("45.000", 4500),
            ("1234567890123.99", 123_456_789_012_399),
            ("007.10", 710),
        ] {
            assert_eq!(fen_from_yuan(text), Some(fen), "{text}");
        }
        for text in
            ["1.001", "-", ".5", "5.", "1,000.00", "1e3", "+1", " 1", "１", "1.-1", "12345678901234", "NaN"]
        {
            assert_eq!(fen_from_yuan(text), None, "{text}");
        }
        assert_eq!(fee_units("-0.03000"), Some(-3000));
        assert_eq!(fee_units("0.00001"), Some(1));
        assert_eq!(fee_units("0.000001"), None);
    }

    #[test]
    fn every_amount_of_two_decimals_comes_back() {
        for fen in (0..200_000).chain([9_999_999_999]) {
            assert_eq!(fen_from_yuan(&format!("{}.{:02}", fen / 100, fen % 100)), Some(fen));
        }
    }
}
