//! Strict readers of single values: fen, order numbers, coupons.
//!
//! Everything on the wire is text; these turn it into values or refuse it, and never guess. Text that is only passed
//! on (`attach`, `bank_type`, `trade_type`) is not judged: its lists are open and its lengths have grown before.

use crate::xml::Document;

/// Longest `out_trade_no` and `transaction_id`, in bytes.
pub const ORDER_NUMBER_BYTES_MAX: usize = 32;
/// Longest `out_refund_no`, in bytes.
pub const REFUND_NUMBER_BYTES_MAX: usize = 64;
/// The currency of a document that names none.
pub const FEE_TYPE_DEFAULT: &str = "CNY";

/// An amount of at least one in the currency's smallest unit: `[1-9][0-9]*` within 63 bits.
#[must_use]
pub fn fen(text: &str) -> Option<i64> {
    let first_is_fit = text.bytes().next().is_some_and(|byte| (b'1'..=b'9').contains(&byte));
    let digits_only = text.bytes().all(|byte| byte.is_ascii_digit());
    if first_is_fit && digits_only { text.parse().ok() } else { None }
}

/// Like [`fen`], or exactly `0`: what coupons or cash may come to.
#[must_use]
pub fn fen_or_zero(text: &str) -> Option<i64> {
    if text == "0" { Some(0) } else { fen(text) }
}

/// A merchant's order number: 1 to 32 of `0-9 A-Z a-z _ - | * @`. `&` and `=` would shift the signed text's borders.
#[must_use]
pub fn is_out_trade_no(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'|' | b'*' | b'@');
    (1..=ORDER_NUMBER_BYTES_MAX).contains(&text.len()) && text.bytes().all(fit)
}

/// WeChat's number of a payment: 1 to 32 of `0-9 A-Z a-z _ -` (28 digits today).
#[must_use]
pub fn is_transaction_id(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=ORDER_NUMBER_BYTES_MAX).contains(&text.len()) && text.bytes().all(fit)
}

/// A merchant's refund number: 1 to 64 of the same characters as an order number.
#[must_use]
pub fn is_out_refund_no(text: &str) -> bool {
    let fit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'|' | b'*' | b'@');
    (1..=REFUND_NUMBER_BYTES_MAX).contains(&text.len()) && text.bytes().all(fit)
}

/// A coupon (代金券) that paid part of an order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Coupon {
    /// The `n` of `coupon_id_$n`.
    pub index: u16,
    pub id: String,
    /// `CASH` or `NO_CASH`; missing in production now and then.
    pub kind: Option<String>,
    /// In fen.
    pub fee: i64,
}

/// The coupons by the indices that are there, in numeric order; `coupon_count` is not believed. One without a
/// well-formed id or fee is left out.
#[must_use]
pub fn coupons(document: &Document<'_>) -> Vec<Coupon> {
    indexed(document, &CouponNames { id: "coupon_id_", fee: "coupon_fee_", kind: "coupon_type_", of: "" })
}

/// The coupons that went back with a refund; `of` is `"3_"` for refund 3 of a refundquery and empty for a single one.
pub(crate) fn refund_coupons(document: &Document<'_>, of: &str) -> Vec<Coupon> {
    indexed(
        document,
        &CouponNames { id: "coupon_refund_id_", fee: "coupon_refund_fee_", kind: "coupon_type_", of },
    )
}

/// What comes before a coupon's index.
struct CouponNames<'n> {
    id: &'n str,
    fee: &'n str,
    kind: &'n str,
    of: &'n str,
}

fn indexed(document: &Document<'_>, names: &CouponNames<'_>) -> Vec<Coupon> {
    let mut found: Vec<Coupon> =
        document.iter().filter_map(|(name, id)| coupon(document, names, name, id)).collect();
    found.sort_unstable_by_key(|coupon| coupon.index);
    found
}

/// A field's value unless it is absent or empty, which the signature does not tell apart.
pub(crate) fn filled<'d>(document: &'d Document<'_>, name: &str) -> Option<&'d str> {
    document.get(name).filter(|value| !value.is_empty())
}

fn coupon(document: &Document<'_>, names: &CouponNames<'_>, name: &str, id: &str) -> Option<Coupon> {
    let CouponNames { id: id_prefix, fee, kind, of } = names;
    let suffix = name.strip_prefix(id_prefix)?.strip_prefix(of)?;
    let index = suffix.parse().ok()?;
    let fee = document.get(&format!("{fee}{of}{suffix}")).and_then(fen_or_zero)?;
    let kind = filled(document, &format!("{kind}{of}{suffix}")).map(str::to_owned);
    let canonical = fen_or_zero(suffix).is_some();
    (canonical && !id.is_empty()).then(|| Coupon { index, id: id.to_owned(), kind, fee })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::xml::write;

    #[test]
    fn fen_are_positive_decimal_integers() {
        assert_eq!(fen("1"), Some(1));
        assert_eq!(fen("9223372036854775807"), Some(i64::MAX));
        for text in ["", "0", "01", "-1", "+1", " 1", "1 ", "1.0", "1e3", "１", "9223372036854775808", "0x1"]
        {
            assert_eq!(fen(text), None, "{text}");
        }
        assert_eq!(fen_or_zero("0"), Some(0));
        assert_eq!(fen_or_zero("00"), None);
    }

    #[test]
    fn order_numbers_have_a_small_alphabet() {
        assert!(is_out_trade_no("aZ09_-|*@"));
        assert!(is_out_trade_no(&"x".repeat(32)));
        assert!(is_transaction_id("4200001234202611200123456789"));
        for text in ["", "a b", "a&b", "a=b", "a/b", "中", &"x".repeat(33)] {
            assert!(!is_out_trade_no(text), "{text}");
            assert!(!is_transaction_id(text), "{text}");
        }
        assert!(!is_transaction_id("a|b"));
    }

    #[test]
    fn coupons_come_in_numeric_order_whatever_the_count_says() {
        let body = write([
            ("coupon_count", "9"),
            ("coupon_fee", "17"),
            ("coupon_id_10", "ten"),
            ("coupon_fee_10", "10"),
            ("coupon_id_2", "two"),
            ("coupon_fee_2", "5"),
            ("coupon_type_2", "NO_CASH"),
            ("coupon_id_3", "no fee"),
            ("coupon_id_4", "bad fee"),
            ("coupon_fee_4", "1.5"),
            ("coupon_id_05", "bad index"),
            ("coupon_fee_05", "1"),
            ("coupon_id_99999", "far"),
            ("coupon_fee_99999", "1"),
            ("coupon_id_6", ""),
            ("coupon_fee_6", "1"),
        ]);
        let document = Document::parse(body.as_bytes()).unwrap();
        let expected = [
            Coupon { index: 2, id: "two".into(), kind: Some("NO_CASH".into()), fee: 5 },
            Coupon { index: 10, id: "ten".into(), kind: None, fee: 10 },
        ];
        assert_eq!(coupons(&document), expected);
    }
}
