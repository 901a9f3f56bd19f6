//! Payment notifications, in stages: read, verified, checked. A [`Notification`] can only be had verified.
//!
//! The stages are apart so that a receiver can judge in between: find the merchant by the untrusted `mch_id`, verify
//! by that merchant's keys, compare `appid` and `sub_mch_id`, then look at the fields. A verified notification is
//! still only a hint: the caller compares it with its order and asks by [`crate::query`] before it believes anything.
//! [`write`](mod@write) goes the other way.

pub mod write;

use std::borrow::Cow;

use crate::beijing;
use crate::error_code::ErrCode;
use crate::fields::{self, Coupon, FEE_TYPE_DEFAULT, filled};
use crate::sign::{self, AcceptedAlgorithm, ApiKey, SignError};
use crate::xml::{Document, XmlError};

/// A notification as it came in: anybody may have written it.
#[derive(Debug)]
pub struct Unverified<'a> {
    document: Document<'a>,
}

impl<'a> Unverified<'a> {
    /// Reads a body of at most [`crate::xml::BODY_BYTES_MAX`].
    pub fn parse(body: &'a [u8]) -> Result<Self, XmlError> {
        Document::parse(body).map(|document| Self { document })
    }

    /// Whose notification this claims to be: good for choosing a key, for nothing else.
    #[must_use]
    pub fn mch_id(&self) -> Option<&str> {
        filled(&self.document, "mch_id")
    }

    /// The document, for explaining why it does not verify.
    #[must_use]
    pub fn document(&self) -> &Document<'a> {
        &self.document
    }

    /// Verifies by the merchant's keys, current before previous, and tells the place of the one that fits.
    ///
    /// `return_code=FAIL` carries no sign and says nothing that could be trusted, so it is refused here.
    pub fn verify(
        self,
        keys: &[&ApiKey],
        accepted: AcceptedAlgorithm,
    ) -> Result<(Authentic<'a>, usize), NotificationError> {
        if self.document.get("return_code") == Some("FAIL") {
            return Err(NotificationError::ReturnCodeFail);
        }
        let algorithm = sign::choose(&self.document, accepted)?;
        let key_index = sign::verify_any(&self.document, keys, algorithm)?;
        Ok((Authentic { document: self.document }, key_index))
    }
}

/// A document that WeChat signed with this merchant's key. Not necessarily a payment, nor even a notification.
#[derive(Debug)]
pub struct Authentic<'a> {
    document: Document<'a>,
}

impl<'a> Authentic<'a> {
    #[must_use]
    pub fn appid(&self) -> Option<&str> {
        filled(&self.document, "appid")
    }

    #[must_use]
    pub fn mch_id(&self) -> Option<&str> {
        filled(&self.document, "mch_id")
    }

    #[must_use]
    pub fn sub_mch_id(&self) -> Option<&str> {
        filled(&self.document, "sub_mch_id")
    }

    /// Checks the mandatory fields: values are not escaped in the signed text, so a shifted border would verify.
    pub fn into_notification(self) -> Result<Notification<'a>, NotificationError> {
        let document = self.document;
        require(&document, &["return_code", "appid", "mch_id", "result_code", "out_trade_no"])?;
        check(&document, "return_code", |value| (value == "SUCCESS").then_some(()))?;
        let paid = check(&document, "result_code", |value| match value {
            "SUCCESS" => Some(true),
            "FAIL" => Some(false),
            _ => None,
        })?;
        if paid {
            require(&document, &["total_fee", "transaction_id", "time_end"])?;
        }
        check(&document, "out_trade_no", |value| fields::is_out_trade_no(value).then_some(()))?;
        let paid = paid.then(|| Paid::read(&document)).transpose()?;
        Ok(Notification { document, paid })
    }
}

/// A verified notification whose mandatory fields are there and well formed.
#[derive(Debug)]
pub struct Notification<'a> {
    document: Document<'a>,
    paid: Option<Paid>,
}

impl<'a> Notification<'a> {
    #[must_use]
    pub fn appid(&self) -> &str {
        self.mandatory("appid")
    }

    #[must_use]
    pub fn mch_id(&self) -> &str {
        self.mandatory("mch_id")
    }

    #[must_use]
    pub fn sub_mch_id(&self) -> Option<&str> {
        filled(&self.document, "sub_mch_id")
    }

    #[must_use]
    pub fn out_trade_no(&self) -> &str {
        self.mandatory("out_trade_no")
    }

    /// What was paid; `None` if `result_code` is `FAIL`, which is authentic but no payment.
    #[must_use]
    pub fn payment(&self) -> Option<NotifiedPayment<'_>> {
        self.paid.as_ref().map(|paid| NotifiedPayment {
            transaction_id: self.mandatory("transaction_id"),
            total_fee: paid.total_fee,
            fee_type: filled(&self.document, "fee_type").unwrap_or(FEE_TYPE_DEFAULT),
            time_end_ms: paid.time_end_ms,
        })
    }

    /// Why it was not paid, if WeChat says so.
    #[must_use]
    pub fn err_code(&self) -> Option<ErrCode> {
        filled(&self.document, "err_code").map(ErrCode::from)
    }

    #[must_use]
    pub fn coupons(&self) -> Vec<Coupon> {
        fields::coupons(&self.document)
    }

    /// All fields as text, known and unknown. Holds the payer's openid.
    #[must_use]
    pub fn document(&self) -> &Document<'a> {
        &self.document
    }

    fn mandatory(&self, name: &str) -> &str {
        self.document.get(name).expect("into_notification refuses documents without it")
    }
}

/// What a notification says was paid. Compare amount and currency with the order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotifiedPayment<'n> {
    pub transaction_id: &'n str,
    /// In the smallest unit of `fee_type`.
    pub total_fee: i64,
    /// ISO 4217; `CNY` where the document names none.
    pub fee_type: &'n str,
    /// Unix milliseconds.
    pub time_end_ms: i64,
}

/// Why a notification is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotificationError {
    #[error(transparent)]
    Xml(#[from] XmlError),
    #[error("return_code is FAIL: unsigned, so nothing in it can be trusted")]
    ReturnCodeFail,
    #[error(transparent)]
    Sign(#[from] SignError),
    #[error("authentic, but the field {0} is missing")]
    MissingField(&'static str),
    #[error("authentic, but the field {0} is malformed")]
    InvalidField(&'static str),
}

impl NotificationError {
    /// A stable word for counters.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Xml(error) => error.reason(),
            Self::ReturnCodeFail => "return_code_fail",
            Self::Sign(error) => error.reason(),
            Self::MissingField(_) => "missing_field",
            Self::InvalidField(_) => "invalid_field",
        }
    }

    /// The word, and the field's name where a field is at fault: `missing_field:total_fee`.
    #[must_use]
    pub fn reason(&self) -> Cow<'static, str> {
        match self {
            Self::MissingField(name) | Self::InvalidField(name) => format!("{}:{name}", self.kind()).into(),
            _ => self.kind().into(),
        }
    }
}

#[derive(Debug)]
struct Paid {
    total_fee: i64,
    time_end_ms: i64,
}

impl Paid {
    fn read(document: &Document<'_>) -> Result<Self, NotificationError> {
        check(document, "transaction_id", |value| fields::is_transaction_id(value).then_some(()))?;
        Ok(Self {
            total_fee: check(document, "total_fee", fields::fen)?,
            time_end_ms: check(document, "time_end", beijing::parse_compact)?,
        })
    }
}

/// Missing fields are told before malformed ones: a shifted border leaves both, and the missing one is the cause.
fn require(document: &Document<'_>, names: &[&'static str]) -> Result<(), NotificationError> {
    match names.iter().find(|name| filled(document, name).is_none()) {
        Some(name) => Err(NotificationError::MissingField(name)),
        None => Ok(()),
    }
}

fn check<T>(
    document: &Document<'_>,
    name: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, NotificationError> {
    let value = filled(document, name).ok_or(NotificationError::MissingField(name))?;
    read(value).ok_or(NotificationError::InvalidField(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sign::Algorithm;

    const FIELDS: [(&str, &str); 9] = [
        ("return_code", "SUCCESS"),
        ("appid", "wx1"),
        ("mch_id", "1900000109"),
        ("result_code", "SUCCESS"),
        ("out_trade_no", "T1"),
        ("transaction_id", "42"),
        ("total_fee", "1999"),
        ("time_end", "20261118223732"),
        ("openid", "oSecret"),
    ];

    fn judge(change: &[(&str, &str)]) -> Result<(String, Option<i64>, String), NotificationError> {
        let key = ApiKey::new("K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED").unwrap();
        let mut fields = FIELDS.to_vec();
        for (name, value) in change {
            fields.retain(|(known, _)| known != name);
            fields.push((name, value));
        }
        let sign = sign::sign(fields.iter().copied(), &key, Algorithm::Md5);
        fields.push(("sign", &sign));
        let body = crate::xml::write(fields);
        let (authentic, _) = Unverified::parse(body.as_bytes())?.verify(&[&key], AcceptedAlgorithm::Any)?;
        let notification = authentic.into_notification()?;
        let fee = notification.payment().map(|payment| payment.total_fee);
        Ok((notification.out_trade_no().to_owned(), fee, format!("{notification:?}")))
    }

    #[test]
    fn a_payment_needs_more_fields_than_a_failure() {
        assert_eq!(judge(&[]).unwrap().1, Some(1999));
        let failed = [("result_code", "FAIL"), ("total_fee", ""), ("transaction_id", ""), ("time_end", "x")];
        assert_eq!(judge(&failed).unwrap().1, None);
        for name in
            ["appid", "mch_id", "result_code", "out_trade_no", "total_fee", "transaction_id", "time_end"]
        {
            assert_eq!(judge(&[(name, "")]).unwrap_err(), NotificationError::MissingField(name));
        }
        for name in ["return_code", "result_code", "out_trade_no", "total_fee", "transaction_id", "time_end"]
        {
            assert_eq!(judge(&[(name, "a b")]).unwrap_err(), NotificationError::InvalidField(name));
        }
        let both = [("out_trade_no", "a b"), ("transaction_id", "a b"), ("time_end", "")];
        assert_eq!(judge(&both).unwrap_err(), NotificationError::MissingField("time_end"), "the cause first");
    }

    #[test]
    fn fail_is_refused_even_when_signed() {
        assert_eq!(judge(&[("return_code", "FAIL")]).unwrap_err(), NotificationError::ReturnCodeFail);
    }

    #[test]
    fn debug_output_shows_no_payer() {
        let shown = judge(&[]).unwrap().2;
        assert!(shown.contains("openid") && !shown.contains("oSecret"), "{shown}");
    }
}
