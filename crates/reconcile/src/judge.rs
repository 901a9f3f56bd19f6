//! One row of the bill against one order of the ledger: in what do they differ.
//!
//! Pure. Prefers neither side: what follows from a difference is the caller's.

use paybell_core::ids::OutTradeNo;
use paybell_core::money::Fen;
use paybell_core::record::State;
use paybell_core::time::Timestamp;
use wechat_pay::bill::{Entry, EntryKind, EntryRefund};

use crate::difference::{Kind, RefundNumbers, Side};
use crate::standing::{PaymentHere, RefundStanding, RefundState, Standing};

/// A row that has to be compared by itself, as values of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub number: OutTradeNo,
    pub transaction_id: String,
    pub appid: String,
    pub sub_mch_id: Option<String>,
    /// The order's amount.
    pub fee: Option<Fen>,
    pub fee_type: String,
    pub at: Timestamp,
    pub sort: Sort,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sort {
    Payment,
    Refund(RowRefund),
    Reversal,
}

/// The refund of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowRefund {
    pub refund_id: String,
    pub out_refund_no: String,
    /// What was asked for, as far as the bill says.
    pub fee: Option<Fen>,
    pub status: String,
}

/// A difference without its row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    pub kind: Kind,
    pub here: Option<Side>,
}

impl Row {
    /// `None` if the row's state is none that this version knows, or a refund's row names no refund.
    pub fn of(entry: &Entry<'_>, number: OutTradeNo) -> Option<Self> {
        let sort = match entry.kind {
            EntryKind::Paid => Sort::Payment,
            EntryKind::Refund => Sort::Refund(RowRefund::of(&entry.refund?)),
            EntryKind::Revoked => Sort::Reversal,
            EntryKind::Other(_) => return None,
        };
        Some(Self {
            number,
            transaction_id: entry.transaction_id.to_owned(),
            appid: entry.appid.to_owned(),
            sub_mch_id: entry.sub_mch_id.map(str::to_owned),
            fee: Fen::new(fee_of(entry)).ok(),
            fee_type: entry.fee_type.to_owned(),
            at: Timestamp::from_millis(entry.time_ms),
            sort,
        })
    }

    /// The bill's side of a difference.
    pub fn side(&self) -> Side {
        let (fee, state) = match &self.sort {
            Sort::Payment => (self.fee, "SUCCESS"),
            Sort::Refund(refund) => (refund.fee, refund.status.as_str()),
            Sort::Reversal => (self.fee, "REVOKED"),
        };
        Side {
            fee,
            fee_type: paybell_core::money::Currency::new(&self.fee_type).ok(),
            transaction_id: Some(self.transaction_id.clone()),
            state: Some(state.to_owned()),
        }
    }

    pub fn refund_numbers(&self) -> Option<RefundNumbers> {
        let Sort::Refund(refund) = &self.sort else { return None };
        let refund_id = Some(refund.refund_id.clone()).filter(|id| !id.is_empty());
        Some(RefundNumbers { refund_id, out_refund_no: refund.out_refund_no.clone() })
    }
}

impl RowRefund {
    fn of(refund: &EntryRefund<'_>) -> Self {
        Self {
            refund_id: refund.refund_id.to_owned(),
            out_refund_no: refund.out_refund_no.to_owned(),
            fee: Fen::new(refund.requested_fee.unwrap_or(refund.refund_fee)).ok(),
            status: refund.status.to_owned(),
        }
    }
}

/// The order's amount: what is settled, in the old layout, which has no other.
pub(crate) fn fee_of(entry: &Entry<'_>) -> i64 {
    entry.total_fee.unwrap_or(entry.settlement_fee)
}

/// In what a row and an order differ; empty if they agree.
pub(crate) fn judge(row: &Row, standing: Option<&Standing>) -> Vec<Finding> {
    match &row.sort {
        Sort::Payment => judge_payment(row, standing),
        Sort::Refund(refund) => judge_refund(refund, standing),
        Sort::Reversal => match standing {
            Some(standing) if matches!(standing.state, State::Paid | State::Refunded) => {
                vec![Finding { kind: Kind::Reversed, here: Some(side_of(standing)) }]
            }
            _ => Vec::new(),
        },
    }
}

fn judge_payment(row: &Row, standing: Option<&Standing>) -> Vec<Finding> {
    let Some(standing) = standing.filter(|standing| !standing.by_refund_only) else {
        return vec![Finding { kind: Kind::PaymentUnknownHere, here: None }];
    };
    let found = |kind| Finding { kind, here: Some(side_of(standing)) };
    let Some(payment) = standing.payment.as_ref().filter(|_| standing.is_paid()) else {
        return vec![found(Kind::PaymentBehindHere)];
    };
    if payment.transaction_id.as_ref().is_some_and(|id| *id != row.transaction_id) {
        return vec![found(Kind::SecondPayment)];
    }
    let mut findings = Vec::new();
    if payment.fee.is_some() && payment.fee != row.fee {
        findings.push(found(Kind::Amount));
    }
    if payment.fee_type.as_str() != row.fee_type {
        findings.push(found(Kind::Currency));
    }
    if matches!(standing.state, State::Mismatch | State::Rejected) {
        findings.push(found(Kind::PaymentHeldHere));
    }
    findings
}

fn judge_refund(row: &RowRefund, standing: Option<&Standing>) -> Vec<Finding> {
    let unknown = |here: Option<Side>| vec![Finding { kind: Kind::RefundUnknownHere, here }];
    let Some(standing) = standing else { return unknown(None) };
    let Some(refunds) = &standing.refunds else {
        // Single refunds are not known, but whether there were any.
        let is_told = standing.state == State::Refunded;
        return if is_told { Vec::new() } else { unknown(Some(side_of(standing))) };
    };
    let is_it = |one: &&RefundStanding| {
        let same_id = one.refund_id.as_ref().is_some_and(|id| *id == row.refund_id);
        same_id || (one.out_refund_no == row.out_refund_no && !row.out_refund_no.is_empty())
    };
    let Some(refund) = refunds.iter().find(is_it) else { return unknown(Some(side_of(standing))) };
    let here = Side {
        fee: refund.fee,
        fee_type: standing.payment.as_ref().map(|payment| payment.fee_type.clone()),
        transaction_id: standing.payment.as_ref().and_then(|payment| payment.transaction_id.clone()),
        state: Some(refund.word.to_owned()),
    };
    let mut kinds = Vec::new();
    if refund.fee.is_some() && row.fee.is_some() && refund.fee != row.fee {
        kinds.push(Kind::RefundAmount);
    }
    match (row.status.as_str(), refund.state) {
        ("SUCCESS", RefundState::Open) => kinds.push(Kind::RefundBehindHere),
        ("SUCCESS", RefundState::NotMade) | ("FAIL", RefundState::Done) => kinds.push(Kind::RefundState),
        _ => {}
    }
    kinds.into_iter().map(|kind| Finding { kind, here: Some(here.clone()) }).collect()
}

/// The ledger's side of a difference.
pub(crate) fn side_of(standing: &Standing) -> Side {
    let payment = standing.payment.as_ref();
    let of = |get: fn(&PaymentHere) -> Option<String>| payment.and_then(get);
    Side {
        fee: payment.and_then(|payment| payment.fee),
        fee_type: payment.map(|payment| payment.fee_type.clone()),
        transaction_id: of(|payment| payment.transaction_id.clone()),
        state: Some(standing.state.as_str().to_owned()),
    }
}
