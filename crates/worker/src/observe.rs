//! From a verified answer to an observation: I2, the answer must be about the right order of the right merchant.

use paybell_core::observation::{ClosedAs, Coupon, NotPaid, Openid, Payment};
use paybell_core::{Answer, AppId, Currency, DeadReason, Fen, MchId, Observation, Timestamp, TransactionId};
use wechat_pay::close::{CloseAnswer, CloseResult};
use wechat_pay::error_code::{ErrCode, ErrorClass};
use wechat_pay::query::{OrderQueryAnswer, OrderQueryResult, PaymentFields, TradeState};

use crate::wechat::{Ask, CloseAsked};

/// What must hold of every answer of a merchant.
#[derive(Debug, Clone, Default)]
pub struct MerchantFacts {
    pub app_ids: Vec<String>,
    /// Restricts only when it is not empty.
    pub sub_mch_ids: Vec<String>,
}

/// What a verified orderquery answer says, if it is about the right order.
pub fn observe(ask: &Ask, merchant: &MerchantFacts, answer: &OrderQueryAnswer) -> Answer {
    if answer.mch_id != ask.key.mch_id.as_str() {
        return wrong_order(format!("answered for mch_id {}", answer.mch_id));
    }
    match &answer.result {
        OrderQueryResult::Error { code, description } => of_error(code, description.as_deref()),
        OrderQueryResult::Trade { state, payment } => match difference(ask, merchant, answer) {
            Some(difference) => difference,
            None => of_trade(answer, state, payment.as_deref()),
        },
    }
}

/// What a verified closeorder answer means for the order.
pub fn close_answer(answer: &CloseAnswer) -> CloseAsked {
    match &answer.result {
        CloseResult::Closed => CloseAsked::Answered,
        CloseResult::Error { code, description } => match code.class() {
            ErrorClass::Paid | ErrorClass::Closed | ErrorClass::NotExist => CloseAsked::Answered,
            ErrorClass::Permanent if *code == ErrCode::TradeStateError => CloseAsked::Answered,
            _ => CloseAsked::Undecided(of_error(code, description.as_deref())),
        },
    }
}

fn difference(ask: &Ask, merchant: &MerchantFacts, answer: &OrderQueryAnswer) -> Option<Answer> {
    let Some(out_trade_no) = &answer.out_trade_no else {
        return Some(Answer::Transient("malformed_answer"));
    };
    if out_trade_no != ask.key.out_trade_no.as_str() {
        return Some(wrong_order(format!("answered for out_trade_no {out_trade_no}")));
    }
    let is_expected_appid = match &ask.appid {
        Some(appid) if ask.must_be_appid => answer.appid == appid.as_str(),
        _ => merchant.app_ids.contains(&answer.appid),
    };
    if !is_expected_appid {
        return Some(wrong_order(format!("answered for appid {}", answer.appid)));
    }
    let sub_mch_id = answer.sub_mch_id.as_ref();
    let is_expected_sub = match &ask.sub_mch_id {
        Some(expected) if ask.must_be_sub_mch_id => {
            sub_mch_id.is_some_and(|answered| answered == expected.as_str())
        }
        _ if merchant.sub_mch_ids.is_empty() => true,
        _ => sub_mch_id.is_some_and(|answered| merchant.sub_mch_ids.contains(answered)),
    };
    if !is_expected_sub {
        let answered = sub_mch_id.map_or("none", String::as_str);
        return Some(wrong_order(format!("answered for sub_mch_id {answered}")));
    }
    None
}

fn of_trade(answer: &OrderQueryAnswer, state: &TradeState, payment: Option<&PaymentFields>) -> Answer {
    let observation = match state {
        TradeState::Success | TradeState::Refund => match payment_of(answer, state, payment) {
            Ok(payment) => Observation::Payment(Box::new(payment)),
            Err(field) => {
                let detail = format!("authentic, but {field} cannot be read");
                return Answer::Refused { reason: DeadReason::IncompleteAnswer, detail };
            }
        },
        TradeState::NotPay => Observation::NotPaid(NotPaid::NotPay),
        TradeState::UserPaying => Observation::NotPaid(NotPaid::UserPaying),
        TradeState::Accept => Observation::NotPaid(NotPaid::Accept),
        TradeState::Closed => Observation::Closed(ClosedAs::Closed),
        TradeState::Revoked => Observation::Closed(ClosedAs::Revoked),
        TradeState::PayError => Observation::Failed,
        other => Observation::Unknown(other.as_str().chars().take(64).collect()),
    };
    Answer::Observed(observation)
}

fn payment_of(
    answer: &OrderQueryAnswer,
    state: &TradeState,
    fields: Option<&PaymentFields>,
) -> Result<Payment, &'static str> {
    let fee = |fen: Option<i64>| fen.map(Fen::new).transpose().map_err(|_| "an amount");
    let transaction_id = fields.and_then(|fields| fields.transaction_id.as_deref());
    let openid = fields.and_then(|fields| fields.openid.as_ref());
    let text = |of: fn(&PaymentFields) -> &Option<String>| fields.and_then(|fields| of(fields).clone());
    Ok(Payment {
        refunded: *state == TradeState::Refund,
        appid: Some(AppId::new(answer.appid.as_str()).map_err(|_| "appid")?),
        sub_mch_id: answer.sub_mch_id.as_deref().map(MchId::new).transpose().map_err(|_| "sub_mch_id")?,
        transaction_id: transaction_id.map(TransactionId::new).transpose().map_err(|_| "transaction_id")?,
        total_fee: fee(fields.and_then(|fields| fields.total_fee))?,
        fee_type: match fields {
            Some(fields) => Currency::new(&fields.fee_type).map_err(|_| "fee_type")?,
            None => Currency::CNY,
        },
        cash_fee: fee(fields.and_then(|fields| fields.cash_fee))?,
        settlement_total_fee: fee(fields.and_then(|fields| fields.settlement_total_fee))?,
        coupon_fee: fee(fields.and_then(|fields| fields.coupon_fee))?,
        coupons: fields.map_or(Ok(Vec::new()), coupons_of)?,
        trade_type: text(|fields| &fields.trade_type),
        bank_type: text(|fields| &fields.bank_type),
        attach: text(|fields| &fields.attach),
        paid_at: fields.and_then(|fields| fields.time_end_ms).map(Timestamp::from_millis),
        openid: openid.map(|openid| Openid(openid.as_str().to_owned())),
    })
}

fn coupons_of(fields: &PaymentFields) -> Result<Vec<Coupon>, &'static str> {
    let coupon = |coupon: &wechat_pay::fields::Coupon| {
        let fee = Fen::new(coupon.fee).map_err(|_| "a coupon")?;
        Ok(Coupon { id: coupon.id.clone(), kind: coupon.kind.clone(), fee })
    };
    fields.coupons.iter().map(coupon).collect()
}

fn of_error(code: &ErrCode, description: Option<&str>) -> Answer {
    match code.class() {
        ErrorClass::NotExist => Answer::Observed(Observation::NotPaid(NotPaid::NotExist)),
        ErrorClass::Transient => Answer::Transient("busy"),
        // Not an orderquery's answer: WeChat contradicts itself, ask again.
        ErrorClass::Paid | ErrorClass::Closed => Answer::Transient("contradiction"),
        ErrorClass::Permanent | ErrorClass::Operator => {
            let said: String = description.unwrap_or("no description").chars().take(128).collect();
            let explanation = code.explanation();
            let detail = format!(
                "{code} ({said}): {} {} / {} {}",
                explanation.cause, explanation.remedy, explanation.cause_zh, explanation.remedy_zh
            );
            Answer::Refused { reason: DeadReason::RefusedByWechat, detail }
        }
    }
}

fn wrong_order(detail: String) -> Answer {
    Answer::Refused { reason: DeadReason::WrongOrder, detail }
}
