//! From a verified answer to an observation: I2, the answer must be about the right order of the right merchant.

use paybell_core::decide::CloseSaid;
use paybell_core::observation::{ClosedAs, Coupon, NotPaid, Openid, Payment};
use paybell_core::{Answer, AppId, Currency, DeadReason, Fen, MchId, Observation, Timestamp, TransactionId};
use wechat_pay::close::{CloseAnswer, CloseResult};
use wechat_pay::error_code::{ErrCode, ErrorClass};
use wechat_pay::query::{OrderQueryAnswer, OrderQueryResult, PaymentFields, TradeState};

use crate::wechat::{Ask, CloseAsked};

/// What must hold of every answer of a merchant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
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
        CloseResult::Closed => CloseAsked::Answered(CloseSaid::Closed),
        CloseResult::Error { code, description } => match code.class() {
            ErrorClass::Closed => CloseAsked::Answered(CloseSaid::Closed),
            ErrorClass::NotExist => CloseAsked::Answered(CloseSaid::NotExist),
            ErrorClass::Paid => CloseAsked::Answered(CloseSaid::NotClosed),
            ErrorClass::Permanent if *code == ErrCode::TradeStateError => {
                CloseAsked::Answered(CloseSaid::NotClosed)
            }
            _ => CloseAsked::Undecided(of_error(code, description.as_deref())),
        },
    }
}

/// As whose order an answer names the order that it is about.
pub(crate) struct Named<'a> {
    pub out_trade_no: &'a str,
    pub appid: &'a str,
    pub sub_mch_id: Option<&'a str>,
}

fn difference(ask: &Ask, merchant: &MerchantFacts, answer: &OrderQueryAnswer) -> Option<Answer> {
    let Some(out_trade_no) = &answer.out_trade_no else {
        return Some(Answer::Transient("malformed_answer"));
    };
    let named = Named { out_trade_no, appid: &answer.appid, sub_mch_id: answer.sub_mch_id.as_deref() };
    differs(ask, merchant, &named).map(wrong_order)
}

/// In what an authentic answer is about something else than was asked for.
pub(crate) fn differs(ask: &Ask, merchant: &MerchantFacts, named: &Named<'_>) -> Option<String> {
    let Named { out_trade_no, appid, sub_mch_id } = *named;
    if out_trade_no != ask.key.out_trade_no.as_str() {
        return Some(format!("answered for out_trade_no {out_trade_no}"));
    }
    let is_expected_appid = match &ask.appid {
        Some(expected) if ask.must_be_appid => appid == expected.as_str(),
        _ => merchant.app_ids.iter().any(|one| one == appid),
    };
    if !is_expected_appid {
        return Some(format!("answered for appid {appid}"));
    }
    let is_expected_sub = match &ask.sub_mch_id {
        Some(expected) if ask.must_be_sub_mch_id => sub_mch_id == Some(expected.as_str()),
        _ if merchant.sub_mch_ids.is_empty() => true,
        _ => sub_mch_id.is_some_and(|answered| merchant.sub_mch_ids.iter().any(|one| one == answered)),
    };
    if !is_expected_sub {
        return Some(format!("answered for sub_mch_id {}", sub_mch_id.unwrap_or("none")));
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

#[cfg(test)]
mod tests {
    use super::*;
    use paybell_core::OrderKey;
    use wechat_pay::sign::{Algorithm, ApiKey, sign};

    const SUCCESS: [(&str, &str); 10] = [
        ("return_code", "SUCCESS"),
        ("result_code", "SUCCESS"),
        ("appid", "wx1"),
        ("mch_id", "1900000109"),
        ("out_trade_no", "T1"),
        ("trade_state", "SUCCESS"),
        ("transaction_id", "42"),
        ("total_fee", "1999"),
        ("time_end", "20261120120003"),
        ("openid", "oSECRET"),
    ];

    /// The answer of SUCCESS with some fields changed, added, or (empty) left out, through the real parser.
    fn answer(changes: &[(&'static str, &'static str)]) -> OrderQueryAnswer {
        let key = ApiKey::new("192006250b4c09247ec02edce69f6a2d").unwrap();
        let mut fields: Vec<(&str, &str)> = SUCCESS.to_vec();
        fields.retain(|(name, _)| changes.iter().all(|(changed, _)| changed != name));
        fields.extend(changes.iter().filter(|(_, value)| !value.is_empty()));
        let signature = sign(fields.iter().copied(), &key, Algorithm::Md5);
        fields.push(("sign", &signature));
        let body = wechat_pay::xml::write(fields);
        OrderQueryAnswer::parse(body.as_bytes(), &key, Algorithm::Md5).unwrap().into_inner()
    }

    fn ask() -> Ask {
        Ask {
            key: OrderKey::new("1900000109", "T1").unwrap(),
            appid: None,
            sub_mch_id: None,
            must_be_appid: false,
            must_be_sub_mch_id: false,
            is_urgent: true,
        }
    }

    fn merchant() -> MerchantFacts {
        MerchantFacts { app_ids: vec!["wx1".to_owned(), "wx2".to_owned()], sub_mch_ids: Vec::new() }
    }

    fn is_wrong_order(answer: &Answer) -> bool {
        matches!(answer, Answer::Refused { reason: DeadReason::WrongOrder, .. })
    }

    #[test]
    fn a_payment_is_observed_with_everything_that_an_event_tells() {
        let Answer::Observed(Observation::Payment(payment)) = observe(&ask(), &merchant(), &answer(&[]))
        else {
            panic!("not a payment");
        };
        assert_eq!(payment.total_fee, Some(Fen::new(1999).unwrap()));
        assert_eq!(payment.transaction_id, Some(TransactionId::new("42").unwrap()));
        assert_eq!(payment.paid_at.unwrap().rfc3339(), "2026-11-20T12:00:03+08:00");
        assert!(!payment.refunded);
        assert!(!format!("{payment:?}").contains("oSECRET"), "I10: a payer shows in debug output");
    }

    #[test]
    fn i2_an_authentic_answer_about_something_else_is_a_wrong_order() {
        for change in [("mch_id", "1900000110"), ("appid", "wx3"), ("out_trade_no", "T2")] {
            let observed = observe(&ask(), &merchant(), &answer(&[change]));
            assert!(is_wrong_order(&observed), "{change:?}: {observed:?}");
        }
        let registered = Ask { appid: Some(AppId::new("wx2").unwrap()), must_be_appid: true, ..ask() };
        assert!(
            is_wrong_order(&observe(&registered, &merchant(), &answer(&[]))),
            "the registered appid is wx2"
        );
        let seen = Ask { must_be_appid: false, ..registered };
        assert!(!is_wrong_order(&observe(&seen, &merchant(), &answer(&[]))), "a hint does not bind");
    }

    #[test]
    fn i2_the_sub_merchant_must_be_the_registered_or_a_listed_one() {
        let listed = MerchantFacts { sub_mch_ids: vec!["1573520957".to_owned()], ..merchant() };
        let of_sub = answer(&[("sub_mch_id", "1573520957")]);
        assert!(!is_wrong_order(&observe(&ask(), &listed, &of_sub)));
        assert!(is_wrong_order(&observe(&ask(), &listed, &answer(&[]))));
        assert!(is_wrong_order(&observe(&ask(), &listed, &answer(&[("sub_mch_id", "1")]))));
        let registered =
            Ask { sub_mch_id: Some(MchId::new("77").unwrap()), must_be_sub_mch_id: true, ..ask() };
        assert!(is_wrong_order(&observe(&registered, &merchant(), &of_sub)));
    }

    #[test]
    fn trade_states_are_told_apart() {
        let told = |state: &'static str| observe(&ask(), &merchant(), &answer(&[("trade_state", state)]));
        let not_paid = |kind| Answer::Observed(Observation::NotPaid(kind));
        assert_eq!(told("NOTPAY"), not_paid(NotPaid::NotPay));
        assert_eq!(told("USERPAYING"), not_paid(NotPaid::UserPaying));
        assert_eq!(told("ACCEPT"), not_paid(NotPaid::Accept));
        assert_eq!(told("CLOSED"), Answer::Observed(Observation::Closed(ClosedAs::Closed)));
        assert_eq!(told("REVOKED"), Answer::Observed(Observation::Closed(ClosedAs::Revoked)));
        assert_eq!(told("PAYERROR"), Answer::Observed(Observation::Failed));
        assert_eq!(told("NEW"), Answer::Observed(Observation::Unknown("NEW".to_owned())));
        let Answer::Observed(Observation::Payment(refund)) = told("REFUND") else { panic!("not a refund") };
        assert!(refund.refunded);
    }

    #[test]
    fn what_closeorder_says_is_told_apart() {
        let closes = |result: CloseResult| {
            let (appid, mch_id) = ("wx1".to_owned(), "1900000109".to_owned());
            close_answer(&CloseAnswer { appid, mch_id, sub_mch_id: None, result })
        };
        let error = |code: &str| closes(CloseResult::Error { code: code.into(), description: None });
        assert_eq!(closes(CloseResult::Closed), CloseAsked::Answered(CloseSaid::Closed));
        for (code, said) in [
            ("ORDERCLOSED", CloseSaid::Closed),
            ("ORDERNOTEXIST", CloseSaid::NotExist),
            ("ORDERPAID", CloseSaid::NotClosed),
            ("TRADE_STATE_ERROR", CloseSaid::NotClosed),
        ] {
            assert_eq!(error(code), CloseAsked::Answered(said), "{code}");
        }
        for code in ["SYSTEMERROR", "SIGNERROR", "NEW_CODE"] {
            assert!(matches!(error(code), CloseAsked::Undecided(_)), "{code}");
        }
    }

    #[test]
    fn error_codes_are_classed() {
        let told = |code: &'static str| {
            observe(&ask(), &merchant(), &answer(&[("result_code", "FAIL"), ("err_code", code)]))
        };
        assert_eq!(told("ORDERNOTEXIST"), Answer::Observed(Observation::NotPaid(NotPaid::NotExist)));
        assert_eq!(told("SYSTEMERROR"), Answer::Transient("busy"));
        assert_eq!(told("FREQUENCY_LIMITED"), Answer::Transient("busy"));
        for code in ["SIGNERROR", "NOAUTH", "SOMETHING_NEW"] {
            let Answer::Refused { reason: DeadReason::RefusedByWechat, detail } = told(code) else {
                panic!("{code} is for a person");
            };
            assert!(detail.starts_with(code) && !detail.is_ascii(), "{detail}");
        }
    }
}
