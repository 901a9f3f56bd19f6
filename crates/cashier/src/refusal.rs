//! From WeChat's words to a refusal with cause and remedy. Knows no order and stores nothing.

use paybell_core::place::{Refusal, RefusalKind, Words};
use paybell_core::time::Millis;
use paybell_core::{Answer, DeadReason};
use wechat_pay::error_code::{ErrCode, ErrorClass, Explanation, Interface, known_message};

/// When a busy WeChat, or a full rate, may be asked again.
pub(crate) const SOON: Millis = Millis::seconds(2);

/// A signed error of unifiedorder.
pub(crate) fn of_error(code: &ErrCode, description: Option<&str>) -> Refusal {
    let known = description.and_then(known_message);
    let kind = match code.class() {
        _ if known.is_some_and(|known| known.name == "order_number_repeated") => RefusalKind::NumberUsed,
        _ if *code == ErrCode::FrequencyLimited => RefusalKind::WechatBusy,
        ErrorClass::Transient => RefusalKind::OutcomeUnknown,
        ErrorClass::Paid => RefusalKind::OrderPaid,
        ErrorClass::Closed => RefusalKind::OrderClosed,
        _ if matches!(code, ErrCode::OutTradeNoUsed | ErrCode::InvalidRequest) => RefusalKind::NumberUsed,
        _ => RefusalKind::RefusedByWechat,
    };
    let explanation = match known {
        Some(known) => known.explanation,
        None => code.explanation_in(Interface::UnifiedOrder),
    };
    Refusal {
        words: words(explanation),
        err_code: Some(code.as_str().to_owned()),
        err_code_des: description.map(str::to_owned),
        retry_after: may_be_soon(kind),
        ..kind.into()
    }
}

/// `return_code=FAIL`: a hint for people, never more.
pub(crate) fn of_unsigned(text: &str) -> Refusal {
    let known = known_message(text);
    let kind = match known.map(|known| known.name) {
        Some("too_often") => RefusalKind::WechatBusy,
        _ => RefusalKind::RefusedUnsigned,
    };
    Refusal {
        words: known.map_or_else(|| kind.words(), |known| words(known.explanation)),
        err_code_des: Some(text.to_owned()).filter(|text| !text.is_empty()),
        retry_after: may_be_soon(kind),
        ..kind.into()
    }
}

/// A query or a close that brought nothing to go by.
pub(crate) fn of_answer(answer: &Answer) -> Refusal {
    match answer {
        Answer::Transient("key_refused" | "merchant_alarm") => RefusalKind::KeysRefused.into(),
        Answer::Refused { reason: DeadReason::UnknownMerchant, .. } => RefusalKind::UnknownMerchant.into(),
        Answer::Refused { detail, .. } => {
            Refusal { err_code_des: Some(detail.clone()), ..RefusalKind::RefusedByWechat.into() }
        }
        _ => soon(RefusalKind::WechatAway),
    }
}

/// The same again in a moment.
pub(crate) fn soon(kind: RefusalKind) -> Refusal {
    Refusal { retry_after: Some(SOON), ..kind.into() }
}

pub(crate) fn words(explanation: Explanation) -> Words {
    let Explanation { cause, remedy, cause_zh, remedy_zh } = explanation;
    Words {
        cause: cause.into(),
        remedy: remedy.into(),
        cause_zh: cause_zh.into(),
        remedy_zh: remedy_zh.into(),
    }
}

fn may_be_soon(kind: RefusalKind) -> Option<Millis> {
    matches!(kind, RefusalKind::WechatBusy | RefusalKind::OutcomeUnknown).then_some(SOON)
}
