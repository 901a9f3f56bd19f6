//! Writes a payment notification as WeChat would: for handlers that wait for one that never came.
//!
//! Takes what a *verified* answer said of the payment and invents nothing: a field that nobody knows is left out.
//! Carries no `sign_type`, like WeChat's own: the algorithm is that of the order. What it writes,
//! [`super::Unverified`] reads and verifies. Sends nothing.

use crate::beijing;
use crate::fields;
use crate::query::OpenId;
use crate::request::Signer;
use crate::sign;
use crate::xml;

/// What a notification says of a payment. Amounts are in the smallest unit of their currency.
#[derive(Clone, Debug)]
pub struct Payment<'n> {
    pub appid: &'n str,
    pub out_trade_no: &'n str,
    pub transaction_id: &'n str,
    pub total_fee: i64,
    /// Unix milliseconds.
    pub time_end_ms: i64,
    /// ISO 4217.
    pub fee_type: &'n str,
    pub details: Details<'n>,
}

/// What not every notification carries.
#[derive(Clone, Debug, Default)]
pub struct Details<'n> {
    /// Provider mode (服务商).
    pub sub_mch_id: Option<&'n str>,
    pub openid: Option<&'n OpenId>,
    pub trade_type: Option<&'n str>,
    pub bank_type: Option<&'n str>,
    pub cash_fee: Option<i64>,
    pub settlement_total_fee: Option<i64>,
    pub coupon_fee: Option<i64>,
    pub coupons: Vec<Coupon<'n>>,
    pub attach: Option<&'n str>,
}

/// One coupon; they are numbered in their order.
#[derive(Clone, Copy, Debug)]
pub struct Coupon<'n> {
    pub id: &'n str,
    /// `CASH` or `NO_CASH`, where it is known.
    pub kind: Option<&'n str>,
    pub fee: i64,
}

/// Why a payment cannot be told in a notification.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    #[error("the payment's {0} cannot stand in a notification")]
    Field(String),
    #[error("the payment has more coupons than a document has fields")]
    TooManyCoupons,
}

/// The signed document. `nonce` is at most 32 letters and digits, new for every notification.
pub fn write(payment: &Payment<'_>, signer: Signer<'_>, nonce: &str) -> Result<String, WriteError> {
    let mut fields = mandatory(payment, signer.mch_id, nonce)?;
    add_details(&mut fields, &payment.details);
    if fields.len() >= xml::FIELDS_MAX {
        return Err(WriteError::TooManyCoupons);
    }
    // A reader would see another character than the one that was signed.
    if let Some((name, _)) = fields.iter().find(|(_, value)| !xml::can_carry(value)) {
        return Err(WriteError::Field(name.clone()));
    }
    let signed = fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let sign = sign::sign(signed, signer.key, signer.algorithm);
    fields.push(("sign".to_owned(), sign));
    let document = xml::write(fields);
    if document.len() > xml::BODY_BYTES_MAX { Err(field("attach")) } else { Ok(document) }
}

type Fields = Vec<(String, String)>;

fn mandatory(payment: &Payment<'_>, mch_id: &str, nonce: &str) -> Result<Fields, WriteError> {
    let fit = |is_fit: bool, name: &str| if is_fit { Ok(()) } else { Err(field(name)) };
    fit(!payment.appid.is_empty(), "appid")?;
    fit(fields::is_out_trade_no(payment.out_trade_no), "out_trade_no")?;
    fit(fields::is_transaction_id(payment.transaction_id), "transaction_id")?;
    fit(payment.total_fee > 0, "total_fee")?;
    let time_end = beijing::format_compact(payment.time_end_ms).ok_or_else(|| field("time_end"))?;
    let total_fee = payment.total_fee.to_string();
    let fields = [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", payment.appid),
        ("mch_id", mch_id),
        ("nonce_str", nonce),
        ("out_trade_no", payment.out_trade_no),
        ("transaction_id", payment.transaction_id),
        ("total_fee", &total_fee),
        ("fee_type", payment.fee_type),
        ("time_end", &time_end),
    ];
    Ok(fields.map(|(name, value)| (name.to_owned(), value.to_owned())).into())
}

fn add_details(fields: &mut Fields, details: &Details<'_>) {
    let texts = [
        ("sub_mch_id", details.sub_mch_id),
        ("openid", details.openid.map(OpenId::as_str)),
        ("trade_type", details.trade_type),
        ("bank_type", details.bank_type),
        ("attach", details.attach),
    ];
    let fees = [
        ("cash_fee", details.cash_fee),
        ("settlement_total_fee", details.settlement_total_fee),
        ("coupon_fee", details.coupon_fee),
    ];
    let mut add = |name: String, value: String| fields.push((name, value));
    for (name, value) in texts {
        value.into_iter().for_each(|value| add(name.to_owned(), value.to_owned()));
    }
    for (name, value) in fees {
        value.into_iter().for_each(|value| add(name.to_owned(), value.to_string()));
    }
    for (number, coupon) in details.coupons.iter().enumerate() {
        add(format!("coupon_id_{number}"), coupon.id.to_owned());
        add(format!("coupon_fee_{number}"), coupon.fee.to_string());
        coupon.kind.into_iter().for_each(|kind| add(format!("coupon_type_{number}"), kind.to_owned()));
    }
    if !details.coupons.is_empty() {
        add("coupon_count".to_owned(), details.coupons.len().to_string());
    }
}

fn field(name: &str) -> WriteError {
    WriteError::Field(name.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notification::Unverified;
    use crate::sign::{AcceptedAlgorithm, Algorithm, ApiKey};

    const KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";

    fn payment() -> Payment<'static> {
        Payment {
            appid: "wx8888888888888888",
            out_trade_no: "T2026112000000001",
            transaction_id: "4200001234202611200123456789",
            total_fee: 1999,
            time_end_ms: 1_795_012_652_000,
            fee_type: "CNY",
            details: Details::default(),
        }
    }

    fn written(payment: &Payment<'_>, algorithm: Algorithm) -> Result<String, WriteError> {
        let key = ApiKey::new(KEY).unwrap();
        write(
            payment,
            Signer { mch_id: "1900000109", key: &key, algorithm },
            "5K8264ILTKCH16CQ2502SI8ZNMTM67VS",
        )
    }

    #[test]
    fn our_own_strict_reader_accepts_it_by_either_algorithm() {
        let openid = OpenId::from("oUpF8uMEb4qRXf22hE3X68TekukE".to_owned());
        let details = Details {
            sub_mch_id: Some("1573520957"),
            openid: Some(&openid),
            trade_type: Some("JSAPI"),
            bank_type: Some("OTHERS"),
            cash_fee: Some(0),
            settlement_total_fee: Some(1899),
            coupon_fee: Some(1999),
            coupons: vec![
                Coupon { id: "ten", kind: Some("NO_CASH"), fee: 100 },
                Coupon { id: "two", kind: None, fee: 1899 },
            ],
            attach: Some("附加 ]]> a=b&c \r\n\u{1f514}"),
        };
        let payment = Payment { details, ..payment() };
        let key = ApiKey::new(KEY).unwrap();
        for algorithm in [Algorithm::Md5, Algorithm::HmacSha256] {
            let text = written(&payment, algorithm).unwrap();
            let unverified = Unverified::parse(text.as_bytes()).unwrap();
            let accepted = AcceptedAlgorithm::Only(algorithm);
            let (authentic, _) = unverified.verify(&[&key], accepted).unwrap();
            let read = authentic.into_notification().unwrap();
            let told = read.payment().unwrap();
            assert_eq!((told.transaction_id, told.total_fee), ("4200001234202611200123456789", 1999));
            assert_eq!((told.fee_type, told.time_end_ms), ("CNY", 1_795_012_652_000));
            assert_eq!((read.mch_id(), read.sub_mch_id()), ("1900000109", Some("1573520957")));
            let document = read.document();
            assert_eq!(document.get("attach"), Some("附加 ]]> a=b&c \r\n\u{1f514}"));
            assert_eq!(document.get("openid"), Some("oUpF8uMEb4qRXf22hE3X68TekukE"));
            assert_eq!((document.get("cash_fee"), document.get("coupon_count")), (Some("0"), Some("2")));
            assert_eq!(document.get("sign_type"), None, "WeChat's own have none");
            let coupons: Vec<_> =
                read.coupons().into_iter().map(|coupon| (coupon.index, coupon.kind)).collect();
            assert_eq!(coupons, [(0, Some("NO_CASH".to_owned())), (1, None)]);
        }
    }

    #[test]
    fn nothing_is_invented() {
        let text = written(&payment(), Algorithm::Md5).unwrap();
        let document = xml::Document::parse(text.as_bytes()).unwrap();
        let names: Vec<&str> = document.iter().map(|(name, _)| name).collect();
        let expected = "return_code result_code appid mch_id nonce_str out_trade_no transaction_id total_fee \
                        fee_type time_end sign";
        assert_eq!(names.join(" "), expected);
    }

    #[test]
    fn what_would_not_be_read_back_is_refused() {
        let with = |change: fn(&mut Payment<'static>)| {
            let mut payment = payment();
            change(&mut payment);
            written(&payment, Algorithm::Md5).unwrap_err()
        };
        assert_eq!(with(|payment| payment.appid = ""), field("appid"));
        assert_eq!(with(|payment| payment.out_trade_no = "a b"), field("out_trade_no"));
        assert_eq!(with(|payment| payment.transaction_id = ""), field("transaction_id"));
        assert_eq!(with(|payment| payment.total_fee = 0), field("total_fee"));
        assert_eq!(with(|payment| payment.time_end_ms = i64::MAX), field("time_end"));
        assert_eq!(with(|payment| payment.details.attach = Some("a\0b")), field("attach"));
        let coupon = Coupon { id: "c", kind: Some("CASH"), fee: 1 };
        let mut crowded = payment();
        crowded.details.coupons = vec![coupon; 40];
        assert_eq!(written(&crowded, Algorithm::Md5), Err(WriteError::TooManyCoupons));
    }
}
