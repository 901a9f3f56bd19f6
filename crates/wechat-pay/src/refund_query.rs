//! Refund query (查询退款, `/pay/refundquery`): what became of the refunds of an order.
//!
//! At most ten refunds come at once; [`RefundQueryAnswer::next_offset`] tells where to go on. Only the state says
//! whether money went back. Compares nothing with what was asked for: that is the caller's.

use std::fmt;

use crate::answer::{self, AnswerError, Opened, Verified, required};
use crate::beijing;
use crate::check::{Fault, Findings, InvalidRequest};
use crate::error_code::ErrCode;
use crate::fields::{self, Coupon, FEE_TYPE_DEFAULT, fen, fen_or_zero, filled, is_out_refund_no};
use crate::refund_notification::RefundStatus;
use crate::request::{self, OrderRef, Signer};
use crate::sign::{Algorithm, ApiKey};
use crate::xml::Document;

/// The path under a base URL.
pub const PATH: &str = "/pay/refundquery";
/// Refunds in one answer.
pub const REFUNDS_PER_PAGE: u32 = 10;

/// Which refunds to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundQuery {
    /// In whose name, and the order unless `by` names one refund.
    pub order: OrderRef,
    pub by: RefundQueryBy,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundQueryBy {
    /// All refunds of the order, oldest first, from the offset on.
    Order {
        offset: u32,
    },
    OutRefundNo(String),
    RefundId(String),
}

impl RefundQuery {
    /// One refund by our number of it.
    pub fn one(order: OrderRef, out_refund_no: impl Into<String>) -> Self {
        Self { order, by: RefundQueryBy::OutRefundNo(out_refund_no.into()) }
    }

    /// What WeChat would refuse.
    pub fn check(&self) -> Result<(), InvalidRequest> {
        let mut findings = Findings::default();
        findings.party(&self.order);
        match &self.by {
            RefundQueryBy::Order { .. } => {}
            RefundQueryBy::OutRefundNo(number) => {
                findings.required("out_refund_no", number, fields::REFUND_NUMBER_BYTES_MAX);
                findings.expect("out_refund_no", is_out_refund_no(number), Fault::Characters);
            }
            RefundQueryBy::RefundId(id) => findings.identifier("refund_id", id, 32),
        }
        findings.into_result()
    }

    /// The signed request. `nonce` is at most 32 letters and digits, new for every request.
    pub fn body(&self, signer: Signer<'_>, nonce: &str) -> Result<String, InvalidRequest> {
        self.check()?;
        Ok(self.write(signer, nonce))
    }

    pub(crate) fn write(&self, signer: Signer<'_>, nonce: &str) -> String {
        let offset_text;
        // WeChat takes exactly one number: of several it would silently choose.
        let fields: &[(&str, &str)] = match &self.by {
            RefundQueryBy::Order { offset } => {
                offset_text = if *offset == 0 { String::new() } else { offset.to_string() };
                &[("out_trade_no", &self.order.out_trade_no), ("offset", &offset_text)]
            }
            RefundQueryBy::OutRefundNo(number) => &[("out_refund_no", number)],
            RefundQueryBy::RefundId(id) => &[("refund_id", id)],
        };
        request::write_with(&self.order, fields, signer, nonce)
    }
}

/// A verified answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundQueryAnswer {
    pub appid: String,
    pub mch_id: String,
    pub sub_mch_id: Option<String>,
    pub result: RefundQueryResult,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefundQueryResult {
    Refunds(Box<OrderRefunds>),
    /// `result_code=FAIL`, signed. `REFUNDNOTEXIST`: no such refund was ever accepted.
    Error {
        code: ErrCode,
        description: Option<String>,
    },
}

/// The order as far as the answer tells it, and its refunds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderRefunds {
    pub transaction_id: Option<String>,
    pub out_trade_no: String,
    pub total_fee: Option<i64>,
    pub settlement_total_fee: Option<i64>,
    /// `CNY` where the answer names none.
    pub fee_type: String,
    pub cash_fee: Option<i64>,
    /// `total_refund_count`, where the answer has it.
    pub total_refund_count: Option<u32>,
    /// In WeChat's order, by the indices that are there; `refund_count` is not believed.
    pub refunds: Vec<RefundRecord>,
}

/// One refund. Amounts are in the smallest unit of the order's currency.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefundRecord {
    pub refund_id: String,
    pub out_refund_no: String,
    pub state: RefundState,
    pub refund_fee: i64,
    pub settlement_refund_fee: Option<i64>,
    /// `ORIGINAL`, `BALANCE`, `OTHER_BALANCE`, `OTHER_BANKCARD`.
    pub channel: Option<String>,
    pub account: Option<String>,
    pub coupon_refund_fee: Option<i64>,
    pub coupons: Vec<Coupon>,
    pub received_by: Option<RefundReceiver>,
    /// Unix milliseconds.
    pub success_time_ms: Option<i64>,
}

/// The state of a refund at WeChat.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RefundState {
    /// The money went back.
    Success,
    /// Not refunded, and it will not be.
    Closed,
    Processing,
    /// The bank refused: to be handled by hand in the merchant platform. Not a failure, and not money returned.
    Change,
    /// Authentic but unknown: neither returned nor failed.
    Other(String),
}

impl RefundState {
    /// The word on the wire.
    #[must_use]
    pub fn as_str(&self) -> &str {
        match self {
            Self::Success => "SUCCESS",
            Self::Closed => "REFUNDCLOSE",
            Self::Processing => "PROCESSING",
            Self::Change => "CHANGE",
            Self::Other(text) => text,
        }
    }

    /// Whether asking again may bring something else. `Change` can still become `Success` by a person's hand.
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self, Self::Success | Self::Closed)
    }
}

impl From<&str> for RefundState {
    fn from(text: &str) -> Self {
        match text {
            "SUCCESS" => Self::Success,
            "REFUNDCLOSE" => Self::Closed,
            "PROCESSING" => Self::Processing,
            "CHANGE" => Self::Change,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl From<RefundStatus> for RefundState {
    fn from(status: RefundStatus) -> Self {
        match status {
            RefundStatus::Success => Self::Success,
            RefundStatus::Change => Self::Change,
            RefundStatus::Closed => Self::Closed,
        }
    }
}

impl fmt::Display for RefundState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The account that a refund went to, such as a bank and the end of a card's number: not shown in debug output.
#[derive(Clone, PartialEq, Eq)]
pub struct RefundReceiver(String);

impl RefundReceiver {
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for RefundReceiver {
    fn from(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Debug for RefundReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefundReceiver(***)")
    }
}

impl RefundQueryAnswer {
    /// Verifies and reads an answer; key and algorithm are those of the request.
    pub fn parse(body: &[u8], key: &ApiKey, algorithm: Algorithm) -> Result<Verified<Self>, AnswerError> {
        answer::verified_listing(body, key, algorithm, |opened| {
            let Opened { document, appid, mch_id, sub_mch_id, error } = opened;
            let result = match error {
                Some(error) => RefundQueryResult::Error { code: error.code, description: error.description },
                None => RefundQueryResult::Refunds(Box::new(OrderRefunds::read(&document)?)),
            };
            Ok(Self { appid, mch_id, sub_mch_id, result })
        })
    }

    /// The offset of the next page after one that began at `offset`; `None` when there is nothing more.
    #[must_use]
    pub fn next_offset(&self, offset: u32) -> Option<u32> {
        let RefundQueryResult::Refunds(found) = &self.result else { return None };
        let here = u32::try_from(found.refunds.len()).ok().filter(|here| *here > 0)?;
        let next = offset.checked_add(here)?;
        match found.total_refund_count {
            Some(total) => (next < total).then_some(next),
            None => (here >= REFUNDS_PER_PAGE).then_some(next),
        }
    }
}

impl OrderRefunds {
    fn read(document: &Document<'_>) -> Result<Self, AnswerError> {
        let fee = |name| filled(document, name).and_then(fen_or_zero);
        let mut indices: Vec<u16> = document
            .iter()
            .filter_map(|(name, _)| name.strip_prefix("refund_id_"))
            .filter(|suffix| fen_or_zero(suffix).is_some())
            .filter_map(|suffix| suffix.parse().ok())
            .collect();
        indices.sort_unstable();
        let refunds =
            indices.into_iter().map(|n| RefundRecord::read(document, n)).collect::<Result<_, _>>()?;
        Ok(Self {
            transaction_id: filled(document, "transaction_id").map(str::to_owned),
            out_trade_no: required(document, "out_trade_no")?.to_owned(),
            total_fee: fee("total_fee"),
            settlement_total_fee: fee("settlement_total_fee"),
            fee_type: filled(document, "fee_type").unwrap_or(FEE_TYPE_DEFAULT).to_owned(),
            cash_fee: fee("cash_fee"),
            total_refund_count: fee("total_refund_count").and_then(|count| u32::try_from(count).ok()),
            refunds,
        })
    }
}

impl RefundRecord {
    /// Numbers, state and amount must be there: events are built on them.
    fn read(document: &Document<'_>, n: u16) -> Result<Self, AnswerError> {
        let text = |name: &str| filled(document, &format!("{name}_{n}"));
        let needed = |name: &'static str| text(name).ok_or(AnswerError::MalformedAnswer(name));
        let fee = |name: &str| text(name).and_then(fen_or_zero);
        Ok(Self {
            refund_id: needed("refund_id")?.to_owned(),
            out_refund_no: needed("out_refund_no")?.to_owned(),
            state: RefundState::from(needed("refund_status")?),
            refund_fee: fen(needed("refund_fee")?).ok_or(AnswerError::MalformedAnswer("refund_fee"))?,
            settlement_refund_fee: fee("settlement_refund_fee"),
            channel: text("refund_channel").map(str::to_owned),
            account: text("refund_account").map(str::to_owned),
            coupon_refund_fee: fee("coupon_refund_fee"),
            coupons: fields::refund_coupons(document, &format!("{n}_")),
            received_by: text("refund_recv_accout").map(RefundReceiver::from),
            success_time_ms: text("refund_success_time").and_then(beijing::parse_spaced),
        })
    }
}
