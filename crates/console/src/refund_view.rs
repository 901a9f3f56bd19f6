//! How a refund looks to services and operators. Field names are contract (`docs/api.md`); what only orders the worker's
//! own steps stays inside.

use paybell_core::OrderKey;
use paybell_core::refund::{Refund, RefundFacts, Refusal};
use serde::Serialize;

use crate::problem::{InBoth, in_both};
use crate::view::moment;

/// A refund of an order.
#[derive(Debug, Serialize)]
pub(crate) struct RefundView<'a> {
    mch_id: &'a str,
    out_trade_no: &'a str,
    out_refund_no: &'a str,
    state: &'static str,
    refund_fee: Option<i64>,
    request: Option<RequestView<'a>>,
    wechat: Option<FactsView<'a>>,
    refusal: Option<RefusalView<'a>>,
    /// When it was asked for, or first heard of.
    known_at: String,
    settled_at: Option<String>,
    notified: bool,
    transient_answers: u32,
    next_look_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct RequestView<'a> {
    refund_fee: i64,
    total_fee: i64,
    fee_type: &'a str,
    refund_account: Option<&'static str>,
    refund_desc: Option<&'a str>,
    who: &'a str,
    asked_at: String,
}

/// What WeChat says of it, in WeChat's words.
#[derive(Debug, Serialize)]
struct FactsView<'a> {
    refund_id: &'a str,
    transaction_id: Option<&'a str>,
    refund_fee: i64,
    fee_type: &'a str,
    settlement_refund_fee: Option<i64>,
    cash_refund_fee: Option<i64>,
    coupon_refund_fee: Option<i64>,
    refund_account: Option<&'a str>,
    /// WeChat's spelling.
    refund_recv_accout: Option<&'a str>,
    refund_success_time: Option<String>,
}

#[derive(Debug, Serialize)]
struct RefusalView<'a> {
    code: &'a str,
    said: &'a str,
    cause: InBoth<'a>,
    remedy: InBoth<'a>,
}

impl<'a> RefundView<'a> {
    pub(crate) fn of(key: &'a OrderKey, refund: &'a Refund) -> Self {
        Self {
            mch_id: key.mch_id.as_str(),
            out_trade_no: key.out_trade_no.as_str(),
            out_refund_no: refund.out_refund_no.as_str(),
            state: refund.state.as_str(),
            refund_fee: refund.fee().map(|fee| fee.get()),
            request: RequestView::of(refund),
            wechat: refund.facts.as_ref().map(FactsView::of),
            refusal: refund.refusal.as_ref().map(RefusalView::of),
            known_at: moment(refund.known_at),
            settled_at: refund.settled_at.map(moment),
            notified: refund.notified,
            transient_answers: refund.attempts,
            next_look_at: refund.next_at.map(moment),
        }
    }
}

impl<'a> RequestView<'a> {
    fn of(refund: &'a Refund) -> Option<Self> {
        let request = refund.request.as_ref()?;
        Some(Self {
            refund_fee: request.refund_fee.get(),
            total_fee: request.total_fee.get(),
            fee_type: request.fee_type.as_str(),
            refund_account: request.refund_account.map(|account| account.as_str()),
            refund_desc: request.refund_desc.as_deref(),
            who: &request.who,
            asked_at: moment(request.asked_at),
        })
    }
}

impl<'a> FactsView<'a> {
    fn of(facts: &'a RefundFacts) -> Self {
        Self {
            refund_id: facts.refund_id.as_str(),
            transaction_id: facts.transaction_id.as_ref().map(|id| id.as_str()),
            refund_fee: facts.refund_fee.get(),
            fee_type: facts.fee_type.as_str(),
            settlement_refund_fee: facts.settlement_refund_fee.map(|fee| fee.get()),
            cash_refund_fee: facts.cash_refund_fee.map(|fee| fee.get()),
            coupon_refund_fee: facts.coupon_refund_fee.map(|fee| fee.get()),
            refund_account: facts.account.as_deref(),
            refund_recv_accout: facts.received_by.as_ref().map(|receiver| receiver.0.as_str()),
            refund_success_time: facts.succeeded_at.map(moment),
        }
    }
}

impl<'a> RefusalView<'a> {
    fn of(refusal: &'a Refusal) -> Self {
        Self {
            code: &refusal.code,
            said: &refusal.said,
            cause: in_both(&refusal.cause, &refusal.cause_zh),
            remedy: in_both(&refusal.remedy, &refusal.remedy_zh),
        }
    }
}
