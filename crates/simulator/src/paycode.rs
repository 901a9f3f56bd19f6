//! Codes that payers show at a till: what comes of each, whether it was used, and reversing what was charged by one.
//! Speaks no HTTP; micropay, reverse and the control API call it.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};

use crate::{
    clock::DAY_MS,
    error::Error,
    order::{Order, OrderKey, Payment, TradeState},
    wire::Refusal,
    world::World,
};

/// Nothing older than this is reversed.
const REVERSIBLE_DAYS: i64 = 7;
/// Codes remembered at most; then the used ones are forgotten.
const CODES_MAX: usize = 1_000_000;
const NOT_CHARGED: [(&str, &str); 7] = [
    ("AUTHCODEEXPIRE", "二维码已过期，请用户在微信上刷新后再试"),
    ("AUTH_CODE_ERROR", "付款码参数错误"),
    ("AUTH_CODE_INVALID", "付款码检验错误"),
    ("NOTENOUGH", "用户账号余额不足"),
    ("NOTSUPORTCARD", "不支持的卡类型"),
    ("BUYER_MISMATCH", "支付帐号错误"),
    ("NOAUTH", "商户无权限"),
];
const UNKNOWN: [(&str, &str); 2] = [("SYSTEMERROR", "接口返回错误"), ("BANKERROR", "银行系统异常")];
const PAYING: Refusal =
    Refusal::Business { code: "USERPAYING", text: "用户支付中，需要输入密码" };
const EXPIRED: Refusal = Refusal::Business {
    code: "AUTHCODEEXPIRE",
    text: "二维码已过期，请用户在微信上刷新后再试",
};
const TOO_LATE: Refusal =
    Refusal::Business { code: "REVERSE_EXPIRE", text: "订单无法撤销，超过7天" };
const NOT_REVERSIBLE: Refusal =
    Refusal::Business { code: "PARAM_ERROR", text: "只有付款码支付的订单可以撤销" };
const REFUNDED: Refusal =
    Refusal::Business { code: "TRADE_STATE_ERROR", text: "订单已退款，不能撤销" };

/// What comes of a code.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PayCode {
    /// `SUCCESS`, `USERPAYING`, or the `err_code` of micropay.
    pub result: String,
    /// With `SYSTEMERROR` and `BANKERROR`: the payer was charged all the same.
    #[serde(default)]
    pub charged: bool,
}

#[derive(Default)]
pub(crate) struct PayCodes(Mutex<HashMap<String, Known>>);

#[derive(Default)]
struct Known {
    planned: Option<PayCode>,
    used_by: Option<OrderKey>,
}

impl PayCodes {
    fn codes(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl World {
    /// Decides what comes of a code that nobody used yet.
    pub(crate) fn plan_code(&self, auth_code: &str, plan: PayCode) -> Result<(), Error> {
        let known = ["SUCCESS", "USERPAYING"];
        let mut codes = NOT_CHARGED.iter().chain(&UNKNOWN).map(|(code, _)| *code).chain(known);
        if !codes.any(|code| code == plan.result) {
            return Err(Error::invalid("result", "SUCCESS, USERPAYING or an err_code of micropay"));
        }
        self.codes.codes().entry(auth_code.to_owned()).or_default().planned = Some(plan);
        Ok(())
    }

    /// Charges the payer who showed the code. The refusal is what the till is told, whatever was done.
    pub(crate) fn charge(
        self: &Arc<Self>,
        key: &OrderKey,
        auth_code: &str,
    ) -> Result<Result<Arc<Order>, Refusal>, Error> {
        let plan = {
            let mut codes = self.codes.codes();
            if codes.len() >= CODES_MAX {
                codes.retain(|_, known| known.used_by.is_none());
            }
            let known = codes.entry(auth_code.to_owned()).or_default();
            if known.used_by.as_ref().is_some_and(|used_by| used_by != key) {
                return Ok(Err(EXPIRED));
            }
            known.used_by = Some(key.clone());
            known.planned.clone()
        };
        let result = plan.as_ref().map_or("SUCCESS", |plan| &plan.result);
        let pay = || self.pay(key, Payment { silent: true, ..Payment::default() });
        if result == "SUCCESS" {
            return pay().map(Ok);
        }
        if result == "USERPAYING" {
            self.set_state(key, TradeState::UserPaying)?;
            return Ok(Err(PAYING));
        }
        if let Some((code, text)) = UNKNOWN.iter().find(|(code, _)| *code == result) {
            if plan.is_some_and(|plan| plan.charged) {
                pay()?;
            }
            return Ok(Err(Refusal::business(code, text)));
        }
        self.set_state(key, TradeState::PayError)?;
        let refusal = NOT_CHARGED.iter().find(|(code, _)| *code == result);
        Ok(Err(refusal.map_or(EXPIRED, |(code, text)| Refusal::business(code, text))))
    }

    /// Takes a payment at a till back, or stops it.
    pub(crate) fn reverse(&self, key: &OrderKey) -> Result<Arc<Order>, Error> {
        self.book.change(key, |order| {
            if order.trade_type != "MICROPAY" {
                return Err(NOT_REVERSIBLE.into());
            }
            let now_ms = self.clock.wall_ms();
            if now_ms - order.created_ms > REVERSIBLE_DAYS * DAY_MS {
                return Err(TOO_LATE.into());
            }
            match order.state {
                TradeState::Refund => return Err(REFUNDED.into()),
                TradeState::Success => order.revoked_ms = Some(now_ms),
                _ => {}
            }
            order.state = TradeState::Revoked;
            Ok(())
        })
    }
}
