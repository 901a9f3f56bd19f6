//! From a verified answer about a refund to what it means: it must be about the right refund of the right order.
//!
//! A refusal of the request answers one sending of it. Whether WeChat has a refund of the number all the same only
//! refundquery says, which the worker asks before a refusal counts.

use paybell_core::refund::{Receiver, RefundAnswer, RefundFacts, RefundStatus, Refusal};
use paybell_core::time::Millis;
use paybell_core::{AppId, Currency, DeadReason, Fen, MchId, RefundId, Timestamp, TransactionId};
use wechat_pay::error_code::{ErrCode, ErrorClass, Interface};
use wechat_pay::refund::{AcceptedRefund, RefundAnswer as RequestAnswer, RefundResult};
use wechat_pay::refund_query::{
    OrderRefunds, RefundQueryAnswer, RefundQueryResult, RefundRecord, RefundState as Word,
};

use crate::observe::{MerchantFacts, Named, differs};
use crate::wechat::RefundAsk;

/// WeChat wants a minute of peace after too many wrong requests.
const TOO_MUCH: Millis = Millis::seconds(60);

/// What a verified answer to a refund request means.
pub fn refund_answer(ask: &RefundAsk, merchant: &MerchantFacts, answer: &RequestAnswer) -> RefundAnswer {
    if answer.mch_id != ask.order.key.mch_id.as_str() {
        return wrong(format!("answered for mch_id {}", answer.mch_id));
    }
    match &answer.result {
        RefundResult::Accepted(accepted) => of_accepted(ask, merchant, answer, accepted),
        RefundResult::Error { code, description } => of_refusal(code, description.as_deref()),
    }
}

/// What a verified refundquery answer says of the refund.
pub fn observe_refund(ask: &RefundAsk, merchant: &MerchantFacts, answer: &RefundQueryAnswer) -> RefundAnswer {
    if answer.mch_id != ask.order.key.mch_id.as_str() {
        return wrong(format!("answered for mch_id {}", answer.mch_id));
    }
    let found = match &answer.result {
        RefundQueryResult::Refunds(found) => found,
        RefundQueryResult::Error { code, description } => return of_error(code, description.as_deref()),
    };
    let named = Named {
        out_trade_no: &found.out_trade_no,
        appid: &answer.appid,
        sub_mch_id: answer.sub_mch_id.as_deref(),
    };
    if found.out_trade_no != ask.order.key.out_trade_no.as_str() {
        return RefundAnswer::OtherOrder(Box::new(number_used(&found.out_trade_no)));
    }
    if let Some(difference) = differs(&ask.order, merchant, &named) {
        return wrong(difference);
    }
    let number = ask.out_refund_no.as_str();
    match found.refunds.iter().find(|refund| refund.out_refund_no == number) {
        Some(refund) => match facts_of(answer, found, refund) {
            Ok(facts) => RefundAnswer::Observed(status_of(&refund.state), Box::new(facts)),
            Err(field) => unreadable(field),
        },
        None => match found.refunds.first() {
            Some(other) => wrong(format!("answered for out_refund_no {}", other.out_refund_no)),
            None => transient("no_refund_in_answer"),
        },
    }
}

fn of_accepted(
    ask: &RefundAsk,
    merchant: &MerchantFacts,
    answer: &RequestAnswer,
    accepted: &AcceptedRefund,
) -> RefundAnswer {
    let named = Named {
        out_trade_no: &accepted.out_trade_no,
        appid: &answer.appid,
        sub_mch_id: answer.sub_mch_id.as_deref(),
    };
    if let Some(difference) = differs(&ask.order, merchant, &named) {
        return wrong(difference);
    }
    if accepted.out_refund_no != ask.out_refund_no.as_str() {
        return wrong(format!("answered for out_refund_no {}", accepted.out_refund_no));
    }
    match facts_of_accepted(answer, accepted) {
        Ok(facts) => RefundAnswer::Accepted(Box::new(facts)),
        Err(field) => unreadable(field),
    }
}

fn of_refusal(code: &ErrCode, description: Option<&str>) -> RefundAnswer {
    if code.class() == ErrorClass::Transient {
        let at_least = if *code == ErrCode::InvalidReqTooMuch { TOO_MUCH } else { Millis(0) };
        return RefundAnswer::Transient { cause: "busy", at_least };
    }
    RefundAnswer::Refused(Box::new(refusal(code, description)))
}

/// The refusal of a code, in words for people.
pub(crate) fn refusal(code: &ErrCode, description: Option<&str>) -> Refusal {
    let words = code.explanation_in(Interface::Refund);
    Refusal {
        code: code.as_str().chars().take(64).collect(),
        said: description.unwrap_or_default().chars().take(128).collect(),
        cause: words.cause.to_owned(),
        remedy: words.remedy.to_owned(),
        cause_zh: words.cause_zh.to_owned(),
        remedy_zh: words.remedy_zh.to_owned(),
    }
}

/// WeChat finds a refund by its number alone, and a merchant's numbers are unique over all its orders.
fn number_used(out_trade_no: &str) -> Refusal {
    let other: String = out_trade_no.chars().take(64).collect();
    Refusal {
        code: "OUT_REFUND_NO_USED".to_owned(),
        said: format!("answered for out_trade_no {other}"),
        cause: "The out_refund_no was used for a refund of another order of this merchant".to_owned(),
        remedy: "Ask under a new out_refund_no; one number is for one refund of one order".to_owned(),
        cause_zh: "该商户退款单号已用于本商户的其他订单".to_owned(),
        remedy_zh: "使用新的商户退款单号重新申请；一个退款单号只能用于一个订单的一笔退款".to_owned(),
    }
}

fn of_error(code: &ErrCode, description: Option<&str>) -> RefundAnswer {
    match code.class() {
        ErrorClass::NotExist => RefundAnswer::NotExist,
        ErrorClass::Transient => transient("busy"),
        // Not a refundquery's answer: WeChat contradicts itself, ask again.
        ErrorClass::Paid | ErrorClass::Closed => transient("contradiction"),
        ErrorClass::Permanent | ErrorClass::Operator => {
            let said: String = description.unwrap_or("no description").chars().take(128).collect();
            let words = code.explanation_in(Interface::RefundQuery);
            let detail = format!(
                "refundquery: {code} ({said}): {} {} / {} {}",
                words.cause, words.remedy, words.cause_zh, words.remedy_zh
            );
            RefundAnswer::Stuck { reason: DeadReason::RefusedByWechat, detail }
        }
    }
}

fn status_of(word: &Word) -> RefundStatus {
    match word {
        Word::Success => RefundStatus::Success,
        Word::Closed => RefundStatus::Closed,
        Word::Processing => RefundStatus::Processing,
        Word::Change => RefundStatus::Abnormal,
        other => RefundStatus::Unknown(other.as_str().chars().take(64).collect()),
    }
}

fn facts_of(
    answer: &RefundQueryAnswer,
    found: &OrderRefunds,
    refund: &RefundRecord,
) -> Result<RefundFacts, &'static str> {
    Ok(RefundFacts {
        refund_id: RefundId::new(refund.refund_id.as_str()).map_err(|_| "refund_id")?,
        refund_fee: Fen::new(refund.refund_fee).map_err(|_| "refund_fee")?,
        settlement_refund_fee: fee(refund.settlement_refund_fee, "settlement_refund_fee")?,
        cash_refund_fee: None,
        coupon_refund_fee: fee(refund.coupon_refund_fee, "coupon_refund_fee")?,
        account: refund.account.as_deref().map(short),
        received_by: refund.received_by.as_ref().map(|by| Receiver(short(by.as_str()))),
        succeeded_at: refund.success_time_ms.map(Timestamp::from_millis),
        transaction_id: transaction(found.transaction_id.as_deref())?,
        total_fee: fee(found.total_fee, "total_fee")?,
        fee_type: Currency::new(&found.fee_type).map_err(|_| "fee_type")?,
        appid: AppId::new(answer.appid.as_str()).ok(),
        sub_mch_id: answer.sub_mch_id.as_deref().and_then(|id| MchId::new(id).ok()),
    })
}

fn facts_of_accepted(answer: &RequestAnswer, accepted: &AcceptedRefund) -> Result<RefundFacts, &'static str> {
    Ok(RefundFacts {
        refund_id: RefundId::new(accepted.refund_id.as_str()).map_err(|_| "refund_id")?,
        refund_fee: Fen::new(accepted.refund_fee).map_err(|_| "refund_fee")?,
        settlement_refund_fee: fee(accepted.settlement_refund_fee, "settlement_refund_fee")?,
        cash_refund_fee: fee(accepted.cash_refund_fee, "cash_refund_fee")?,
        coupon_refund_fee: fee(accepted.coupon_refund_fee, "coupon_refund_fee")?,
        account: None,
        received_by: None,
        succeeded_at: None,
        transaction_id: transaction(Some(&accepted.transaction_id))?,
        total_fee: fee(Some(accepted.total_fee), "total_fee")?,
        fee_type: Currency::new(&accepted.fee_type).map_err(|_| "fee_type")?,
        appid: AppId::new(answer.appid.as_str()).ok(),
        sub_mch_id: answer.sub_mch_id.as_deref().and_then(|id| MchId::new(id).ok()),
    })
}

fn fee(fen: Option<i64>, name: &'static str) -> Result<Option<Fen>, &'static str> {
    fen.map(Fen::new).transpose().map_err(|_| name)
}

fn transaction(id: Option<&str>) -> Result<Option<TransactionId>, &'static str> {
    id.map(TransactionId::new).transpose().map_err(|_| "transaction_id")
}

fn short(text: &str) -> String {
    text.chars().take(64).collect()
}

fn transient(cause: &'static str) -> RefundAnswer {
    RefundAnswer::Transient { cause, at_least: Millis(0) }
}

fn wrong(detail: String) -> RefundAnswer {
    RefundAnswer::Stuck { reason: DeadReason::WrongOrder, detail }
}

fn unreadable(field: &str) -> RefundAnswer {
    let detail = format!("authentic answer about a refund, but {field} cannot be read");
    RefundAnswer::Stuck { reason: DeadReason::IncompleteAnswer, detail }
}

#[cfg(test)]
#[path = "observe_refund_tests.rs"]
mod tests;
