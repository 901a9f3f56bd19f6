//! Order query (查询订单, `/pay/orderquery`): the request, and what a verified answer says of an order.
//!
//! Only `trade_state` says whether an order is paid, never the presence of payment fields. Does not compare the
//! answer with the order that was asked for: the caller knows amount, currency and merchant, and decides.

use std::fmt;

use crate::answer::{self, AnswerError, Opened, Verified};
use crate::beijing;
use crate::error_code::ErrCode;
use crate::fields::{self, Coupon, FEE_TYPE_DEFAULT, filled};
use crate::request::{self, OrderRef, Signer};
use crate::sign::{Algorithm, ApiKey};
use crate::xml::Document;

/// The path under a base URL.
pub const PATH: &str = "/pay/orderquery";

/// The signed request. `nonce` is at most 32 letters and digits, new for every request.
#[must_use]
pub fn request_body(order: &OrderRef, signer: Signer<'_>, nonce: &str) -> String {
    request::write(order, signer, nonce)
}

/// A verified answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderQueryAnswer {
    pub appid: String,
    pub mch_id: String,
    pub sub_mch_id: Option<String>,
    /// Missing in answers that are errors.
    pub out_trade_no: Option<String>,
    pub result: OrderQueryResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderQueryResult {
    /// `result_code=SUCCESS`.
    Trade {
        state: TradeState,
        /// `None` if the answer has no number, amount or time of a payment. There for `Success`.
        payment: Option<Box<PaymentFields>>,
    },
    /// `result_code=FAIL`, signed.
    Error { code: ErrCode, description: Option<String> },
}

impl OrderQueryAnswer {
    /// Verifies and reads an answer; key and algorithm are those of the request.
    pub fn parse(body: &[u8], key: &ApiKey, algorithm: Algorithm) -> Result<Verified<Self>, AnswerError> {
        answer::verified(body, key, algorithm, Self::read)
    }

    fn read(opened: Opened<'_>) -> Result<Self, AnswerError> {
        let Opened { document, appid, mch_id, sub_mch_id, error } = opened;
        let result = match error {
            Some(error) => OrderQueryResult::Error { code: error.code, description: error.description },
            None => {
                let state = TradeState::from(answer::required(&document, "trade_state")?);
                let payment = PaymentFields::read(&document, &state)?;
                OrderQueryResult::Trade { state, payment }
            }
        };
        let out_trade_no = filled(&document, "out_trade_no").map(str::to_owned);
        Ok(Self { appid, mch_id, sub_mch_id, out_trade_no, result })
    }
}

/// The state of an order at WeChat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum TradeState {
    /// Paid.
    Success,
    /// Was paid; at least part of it went back.
    Refund,
    NotPay,
    Closed,
    /// Reversed (付款码 only).
    Revoked,
    /// The payer enters the password (付款码 only).
    UserPaying,
    PayError,
    /// Taken, waiting for the debit.
    Accept,
    /// Authentic but unknown: neither paid nor failed.
    Other(String),
}

impl TradeState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "SUCCESS",
            Self::Refund => "REFUND",
            Self::NotPay => "NOTPAY",
            Self::Closed => "CLOSED",
            Self::Revoked => "REVOKED",
            Self::UserPaying => "USERPAYING",
            Self::PayError => "PAYERROR",
            Self::Accept => "ACCEPT",
            Self::Other(text) => text,
        }
    }
}

impl From<&str> for TradeState {
    fn from(text: &str) -> Self {
        match text {
            "SUCCESS" => Self::Success,
            "REFUND" => Self::Refund,
            "NOTPAY" => Self::NotPay,
            "CLOSED" => Self::Closed,
            "REVOKED" => Self::Revoked,
            "USERPAYING" => Self::UserPaying,
            "PAYERROR" => Self::PayError,
            "ACCEPT" => Self::Accept,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for TradeState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The payment as the answer tells it. Amounts are in the smallest unit of their currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PaymentFields {
    /// There in state `Success`, like `total_fee` and `time_end_ms`.
    pub transaction_id: Option<String>,
    pub total_fee: Option<i64>,
    /// ISO 4217; `CNY` where the answer names none.
    pub fee_type: String,
    pub cash_fee: Option<i64>,
    pub settlement_total_fee: Option<i64>,
    pub coupon_fee: Option<i64>,
    pub coupons: Vec<Coupon>,
    pub trade_type: Option<String>,
    pub bank_type: Option<String>,
    pub attach: Option<String>,
    pub openid: Option<OpenId>,
    pub sub_openid: Option<OpenId>,
    /// Unix milliseconds.
    pub time_end_ms: Option<i64>,
}

impl PaymentFields {
    fn read(document: &Document<'_>, state: &TradeState) -> Result<Option<Box<Self>>, AnswerError> {
        let text = |name| filled(document, name).map(str::to_owned);
        let fee = |name| filled(document, name).and_then(fields::fen_or_zero);
        let transaction_id = |text: &str| fields::is_transaction_id(text).then(|| text.to_owned());
        let transaction_id = essential(document, state, "transaction_id", transaction_id)?;
        let total_fee = essential(document, state, "total_fee", fields::fen)?;
        let time_end_ms = essential(document, state, "time_end", beijing::parse_compact)?;
        if transaction_id.is_none() && total_fee.is_none() && time_end_ms.is_none() {
            return Ok(None);
        }
        Ok(Some(Box::new(Self {
            transaction_id,
            total_fee,
            fee_type: text("fee_type").unwrap_or_else(|| FEE_TYPE_DEFAULT.to_owned()),
            cash_fee: fee("cash_fee"),
            settlement_total_fee: fee("settlement_total_fee"),
            coupon_fee: fee("coupon_fee"),
            coupons: fields::coupons(document),
            trade_type: text("trade_type"),
            bank_type: text("bank_type"),
            attach: text("attach"),
            openid: text("openid").map(OpenId),
            sub_openid: text("sub_openid").map(OpenId),
            time_end_ms,
        })))
    }
}

/// A payer's openid: personal, so it is not shown in debug output.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct OpenId(String);

impl OpenId {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for OpenId {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for OpenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenId(***)")
    }
}

/// Number, amount and time: needed for SUCCESS, well formed or absent for REFUND, since events are built on both. In
/// every other state nothing depends on them, and a strange one must not keep the order from its end.
fn essential<T>(
    document: &Document<'_>,
    state: &TradeState,
    name: &'static str,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, AnswerError> {
    let present = filled(document, name);
    let value = present.and_then(read);
    match state {
        TradeState::Success if value.is_none() => Err(AnswerError::MalformedAnswer(name)),
        TradeState::Refund if present.is_some() && value.is_none() => Err(AnswerError::MalformedAnswer(name)),
        _ => Ok(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";

    fn parse(state: &str, fields: &[(&str, &str)]) -> Result<OrderQueryAnswer, AnswerError> {
        let key = ApiKey::new(KEY).unwrap();
        let mut all = vec![
            ("return_code", "SUCCESS"),
            ("appid", "wx1"),
            ("mch_id", "1900000109"),
            ("result_code", "SUCCESS"),
            ("trade_state", state),
            ("out_trade_no", "T1"),
        ];
        all.extend(fields);
        let sign = crate::sign::sign(all.iter().copied(), &key, Algorithm::Md5);
        all.push(("sign", &sign));
        let body = crate::xml::write(all);
        OrderQueryAnswer::parse(body.as_bytes(), &key, Algorithm::Md5).map(Verified::into_inner)
    }

    fn payment(answer: OrderQueryAnswer) -> Option<Box<PaymentFields>> {
        match answer.result {
            OrderQueryResult::Trade { payment, .. } => payment,
            OrderQueryResult::Error { code, .. } => panic!("{code}"),
        }
    }

    const PAID: [(&str, &str); 4] = [
        ("transaction_id", "42"),
        ("total_fee", "1999"),
        ("time_end", "20261118223732"),
        ("openid", "oSecret"),
    ];

    #[test]
    fn success_needs_number_amount_and_time() {
        assert_eq!(payment(parse("SUCCESS", &PAID).unwrap()).unwrap().total_fee, Some(1999));
        for at in 0..3 {
            let mut fields = PAID.to_vec();
            let (name, _) = fields.remove(at);
            let missing = parse("SUCCESS", &fields).unwrap_err();
            fields.push((name, "not that"));
            let malformed = parse("SUCCESS", &fields).unwrap_err();
            let refund = parse("REFUND", &fields).unwrap_err();
            assert!(matches!(missing, AnswerError::MalformedAnswer(field) if field == name));
            assert_eq!((&missing, &missing), (&malformed, &refund));
            parse("NOTPAY", &fields).unwrap();
        }
    }

    #[test]
    fn other_states_need_nothing() {
        for state in ["REFUND", "NOTPAY", "CLOSED", "REVOKED", "USERPAYING", "PAYERROR", "ACCEPT", "NEW"] {
            let answer = parse(state, &[("attach", "x")]).unwrap();
            assert_eq!(payment(answer), None, "{state}");
            assert_eq!(TradeState::from(state).as_str(), state);
        }
        assert_eq!(parse("", &PAID).unwrap_err(), AnswerError::MalformedAnswer("trade_state"));
    }

    #[test]
    fn malformed_extras_are_left_out() {
        let mut fields = PAID.to_vec();
        fields.extend([
            ("cash_fee", "1.5"),
            ("coupon_fee", "x"),
            ("coupon_id_0", "1"),
            ("coupon_fee_0", "-1"),
        ]);
        let read = payment(parse("SUCCESS", &fields).unwrap()).unwrap();
        assert_eq!((read.cash_fee, read.coupon_fee, read.coupons.len()), (None, None, 0));
        assert_eq!((read.fee_type.as_str(), read.time_end_ms), ("CNY", Some(1_795_012_652_000)));
    }

    #[test]
    fn debug_output_shows_no_payer() {
        let shown = format!("{:?}", parse("SUCCESS", &PAID).unwrap());
        assert!(shown.contains("OpenId(***)") && !shown.contains("oSecret"), "{shown}");
    }
}
