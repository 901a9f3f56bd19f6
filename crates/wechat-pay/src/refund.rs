//! Ask for a refund (申请退款, `/secapi/pay/refund`), with the merchant's client certificate.
//!
//! A positive answer means *accepted*, not *money returned*: that is for [`crate::refund_query`] to say. The same
//! `out_refund_no` refunds once however often it is sent, so a retry never takes a new one. The account that the money
//! comes from is the caller's choice and is never changed here: after `NOTENOUGH` a person decides.

use std::fmt;

use crate::answer::{self, AnswerError, Opened, Verified, read, required};
use crate::check::{Fault, Findings, InvalidRequest};
use crate::error_code::ErrCode;
use crate::fields::{
    self, Coupon, FEE_TYPE_DEFAULT, REFUND_NUMBER_BYTES_MAX, fen, fen_or_zero, filled, is_out_refund_no,
};
use crate::request::{self, OrderRef, Signer};
use crate::sign::{Algorithm, ApiKey};
use crate::xml::Document;

/// The path under a base URL.
pub const PATH: &str = "/secapi/pay/refund";

const REASON_BYTES_MAX: usize = 80;

/// A refund to ask for. Amounts are in the smallest unit of the order's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRequest {
    pub order: OrderRef,
    /// Our number of this refund: the same on every retry.
    pub out_refund_no: String,
    /// The order's whole amount.
    pub total_fee: i64,
    /// What goes back of it.
    pub refund_fee: i64,
    /// ISO 4217; the order's if empty.
    pub refund_fee_type: String,
    /// Shown to the payer (`refund_desc`); not sent if empty.
    pub reason: String,
    /// WeChat's default if `None`.
    pub account: Option<RefundAccount>,
    /// Where the refund notification goes; the merchant platform's setting if empty.
    pub notify_url: String,
}

/// Where the money of a refund comes from; for merchants of the old settlement only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefundAccount {
    /// Payments that are not settled yet: WeChat's default.
    UnsettledFunds,
    /// The merchant's available balance.
    RechargeFunds,
}

impl RefundAccount {
    /// The word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::UnsettledFunds => "REFUND_SOURCE_UNSETTLED_FUNDS",
            Self::RechargeFunds => "REFUND_SOURCE_RECHARGE_FUNDS",
        }
    }
}

impl fmt::Display for RefundAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl RefundRequest {
    /// A refund of part or all of an order, with nothing special.
    pub fn new(order: OrderRef, out_refund_no: impl Into<String>, total_fee: i64, refund_fee: i64) -> Self {
        Self {
            order,
            out_refund_no: out_refund_no.into(),
            total_fee,
            refund_fee,
            refund_fee_type: String::new(),
            reason: String::new(),
            account: None,
            notify_url: String::new(),
        }
    }

    /// What WeChat would refuse.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        let mut findings = Findings::default();
        findings.party(&self.order);
        findings.required("out_refund_no", &self.out_refund_no, REFUND_NUMBER_BYTES_MAX);
        findings.expect("out_refund_no", is_out_refund_no(&self.out_refund_no), Fault::Characters);
        findings.expect("total_fee", self.total_fee > 0, Fault::NotPositive);
        findings.expect("refund_fee", self.refund_fee > 0, Fault::NotPositive);
        findings.expect("refund_fee", self.refund_fee <= self.total_fee, Fault::MoreThanPaid);
        findings.currency("refund_fee_type", &self.refund_fee_type);
        findings.optional("refund_desc", &self.reason, REASON_BYTES_MAX);
        if !self.notify_url.is_empty() {
            findings.notify_url(&self.notify_url);
        }
        findings.into_result()
    }

    /// The signed request, if WeChat would take it. `nonce` is at most 32 letters and digits, new for every request.
    pub fn body(&self, signer: Signer<'_>, nonce: &str) -> Result<String, InvalidRequest> {
        self.check()?;
        Ok(self.write(signer, nonce))
    }

    pub(crate) fn write(&self, signer: Signer<'_>, nonce: &str) -> String {
        let (total_fee, refund_fee) = (self.total_fee.to_string(), self.refund_fee.to_string());
        let fields = [
            ("out_trade_no", self.order.out_trade_no.as_str()),
            ("out_refund_no", &self.out_refund_no),
            ("total_fee", &total_fee),
            ("refund_fee", &refund_fee),
            ("refund_fee_type", &self.refund_fee_type),
            ("refund_desc", &self.reason),
            ("refund_account", self.account.map_or("", RefundAccount::as_str)),
            ("notify_url", &self.notify_url),
        ];
        request::write_with(&self.order, &fields, signer, nonce)
    }
}

/// A verified answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundAnswer {
    pub appid: String,
    pub mch_id: String,
    pub sub_mch_id: Option<String>,
    pub result: RefundResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundResult {
    /// Taken, also if it was taken before under the same number. Compare the numbers and the amount with the request.
    Accepted(Box<AcceptedRefund>),
    /// `result_code=FAIL`, signed; look at the code's class before calling it a failure.
    Error { code: ErrCode, description: Option<String> },
}

/// A refund as WeChat took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AcceptedRefund {
    pub transaction_id: String,
    pub out_trade_no: String,
    pub refund_id: String,
    pub out_refund_no: String,
    pub total_fee: i64,
    pub refund_fee: i64,
    /// `CNY` where the answer names none.
    pub fee_type: String,
    pub settlement_total_fee: Option<i64>,
    pub settlement_refund_fee: Option<i64>,
    pub cash_fee: Option<i64>,
    pub cash_refund_fee: Option<i64>,
    pub coupon_refund_fee: Option<i64>,
    pub coupons: Vec<Coupon>,
}

impl RefundAnswer {
    /// Verifies and reads an answer; key and algorithm are those of the request.
    pub fn parse(body: &[u8], key: &ApiKey, algorithm: Algorithm) -> Result<Verified<Self>, AnswerError> {
        answer::verified(body, key, algorithm, |opened| {
            let Opened { document, appid, mch_id, sub_mch_id, error } = opened;
            let result = match error {
                Some(error) => RefundResult::Error { code: error.code, description: error.description },
                None => RefundResult::Accepted(Box::new(AcceptedRefund::read(&document)?)),
            };
            Ok(Self { appid, mch_id, sub_mch_id, result })
        })
    }
}

impl AcceptedRefund {
    fn read(document: &Document<'_>) -> Result<Self, AnswerError> {
        let fee = |name| filled(document, name).and_then(fen_or_zero);
        Ok(Self {
            transaction_id: required(document, "transaction_id")?.to_owned(),
            out_trade_no: required(document, "out_trade_no")?.to_owned(),
            refund_id: required(document, "refund_id")?.to_owned(),
            out_refund_no: required(document, "out_refund_no")?.to_owned(),
            total_fee: read(document, "total_fee", fen)?,
            refund_fee: read(document, "refund_fee", fen)?,
            fee_type: filled(document, "fee_type").unwrap_or(FEE_TYPE_DEFAULT).to_owned(),
            settlement_total_fee: fee("settlement_total_fee"),
            settlement_refund_fee: fee("settlement_refund_fee"),
            cash_fee: fee("cash_fee"),
            cash_refund_fee: fee("cash_refund_fee"),
            coupon_refund_fee: fee("coupon_refund_fee"),
            coupons: fields::refund_coupons(document, ""),
        })
    }
}
