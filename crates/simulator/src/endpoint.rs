//! The endpoints of the merchant API. Each takes a request's bytes and says what to answer; this finds it, asks for the
//! certificate where one is needed, and plays what is to go wrong. Sockets are `http`'s.

mod close_order;
mod download_bill;
mod micropay;
pub(crate) mod openid;
mod order_query;
mod refund;
mod refund_query;
mod reverse;
mod unified_order;

use std::{sync::Arc, time::Duration};

use crate::{
    bill::BillStream,
    call_faults::{CallFault, CallName},
    order::{Order, OrderKey, TradeState},
    stats::{Counter, Counters},
    wire::{Call, Fields, Refusal, unsigned_fail},
    world::World,
};

const NOT_FOUND: Refusal = Refusal::Business { code: "ORDERNOTEXIST", text: "订单不存在" };
const PARAM_ERROR: Refusal = Refusal::Business { code: "PARAM_ERROR", text: "参数错误" };
const SYSTEM_ERROR: Refusal =
    Refusal::Business { code: "SYSTEMERROR", text: "系统繁忙，请稍后再试。" };
const FREQUENCY_LIMITED: Refusal = Refusal::Business { code: "FREQUENCY_LIMITED", text: "频率限制" };

/// What goes back to the merchant.
pub(crate) struct Answer {
    pub(crate) content: Content,
    pub(crate) mishap: Option<Mishap>,
    pub(crate) delay: Duration,
}

/// What an answer is made of.
pub(crate) enum Content {
    Xml(String),
    Bill(Box<BillStream>),
    Json(String),
    /// A page for a person.
    Page(String),
    /// A redirect.
    Found(String),
    /// The web server's own page, before the request reaches the API.
    NoCertificate,
}

/// What happens to an answer on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mishap {
    Http500,
    Html,
    /// The connection breaks off in its middle.
    Cut,
    /// The connection breaks off before it.
    Lost,
    /// It ends in its middle, as if it were whole.
    Short,
}

/// Which client certificate was shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Shown {
    Nothing,
    /// No questions are asked.
    Anyone,
    /// The certificate of this merchant.
    Of(String),
}

impl Answer {
    fn plain(body: String) -> Self {
        Answer { content: Content::Xml(body), mishap: None, delay: Duration::ZERO }
    }
}

/// An endpoint whose calls are carried out or refused, with the faults of [`CallName`].
struct Route {
    name: CallName,
    counter: fn(&Counters) -> &Counter,
    needs_certificate: bool,
    drawn_by: fn(&Call<'_>) -> OrderKey,
    act: fn(&Call<'_>, &Arc<World>) -> Result<Fields<'static>, Refusal>,
}

fn route(path: &str) -> Option<Route> {
    Some(match path {
        "/pay/unifiedorder" => Route {
            name: CallName::UnifiedOrder,
            counter: |counters| &counters.unified_orders,
            needs_certificate: false,
            drawn_by,
            act: unified_order::place,
        },
        "/pay/closeorder" => Route {
            name: CallName::CloseOrder,
            counter: |counters| &counters.close_orders,
            needs_certificate: false,
            drawn_by,
            act: close_order::close,
        },
        "/pay/micropay" => Route {
            name: CallName::Micropay,
            counter: |counters| &counters.micropays,
            needs_certificate: false,
            drawn_by,
            act: micropay::pay,
        },
        "/secapi/pay/reverse" => Route {
            name: CallName::Reverse,
            counter: |counters| &counters.reversals,
            needs_certificate: true,
            drawn_by,
            act: reverse::reverse,
        },
        "/secapi/pay/refund" => Route {
            name: CallName::Refund,
            counter: |counters| &counters.refund_requests,
            needs_certificate: true,
            drawn_by: refund::drawn_by,
            act: refund::refund,
        },
        "/pay/refundquery" => Route {
            name: CallName::RefundQuery,
            counter: |counters| &counters.refund_queries,
            needs_certificate: false,
            drawn_by: refund_query::drawn_by,
            act: refund_query::query,
        },
        _ => return None,
    })
}

/// Answers a POST to `path`; `None` if there is no such endpoint.
pub(crate) fn answer(path: &str, body: &[u8], shown: &Shown, world: &Arc<World>) -> Option<Answer> {
    if path == "/pay/orderquery" {
        world.counters.order_queries.add_one();
        return Some(
            read(body, world).map_or_else(|answer| answer, |call| order_query::answer(&call, world)),
        );
    }
    if path == "/pay/downloadbill" {
        world.counters.bill_downloads.add_one();
        return Some(download_bill::answer(body, world));
    }
    let route = route(path)?;
    (route.counter)(&world.counters).add_one();
    if route.needs_certificate && *shown == Shown::Nothing {
        return Some(Answer { content: Content::NoCertificate, ..Answer::plain(String::new()) });
    }
    let call = match read(body, world) {
        Ok(call) => call,
        Err(answer) => return Some(answer),
    };
    let of_other = matches!(shown, Shown::Of(mch_id) if call.get("mch_id") != Some(mch_id));
    if route.needs_certificate && of_other {
        return Some(Answer::plain(unsigned_fail("商户证书验证失败")));
    }
    Some(carry_out(&route, &call, body, world))
}

fn read<'d>(body: &'d [u8], world: &World) -> Result<Call<'d>, Answer> {
    Call::read(body, world).map_err(|refusal| match refusal {
        Refusal::Unsigned(text) | Refusal::Business { text, .. } => Answer::plain(unsigned_fail(text)),
    })
}

fn carry_out(route: &Route, call: &Call<'_>, body: &[u8], world: &Arc<World>) -> Answer {
    let plan = world.calls.plan(&world.faults(), route.name, &(route.drawn_by)(call));
    if plan.fault == Some(CallFault::Late) {
        arrive_later(route, body.to_vec(), world);
    }
    let mut answer = match plan.fault {
        Some(fault) if !fault.is_after() => before(route.name, call, fault, world),
        fault => after(call, fault, (route.act)(call, world), world),
    };
    answer.delay = plan.delay;
    answer
}

/// Carries the request out when nobody waits for it any more.
fn arrive_later(route: &Route, body: Vec<u8>, world: &Arc<World>) {
    let (name, act, late) = (route.name, route.act, world.clone());
    let arrival = world.arrival_in(Duration::from_millis(world.faults().of_call(name).late_ms));
    world.spawn(async move {
        let is_stopped = late.stop.run_until_cancelled(arrival).await.is_none();
        if !is_stopped && let Ok(call) = read(&body, &late) {
            let is_done = act(&call, &late).is_ok();
            tracing::debug!(call = name.name(), is_done, "a late {} was carried out", name.name());
        }
    });
}

/// Nothing was done, or not yet.
fn before(name: CallName, call: &Call<'_>, fault: CallFault, world: &World) -> Answer {
    let mishap = |mishap| Answer { mishap: Some(mishap), ..Answer::plain(String::new()) };
    match fault {
        CallFault::Lost | CallFault::Late => mishap(Mishap::Lost),
        CallFault::Http500 => mishap(Mishap::Http500),
        CallFault::FrequencyLimited => Answer::plain(call.answer(Err(FREQUENCY_LIMITED), world)),
        CallFault::UnsignedFail => Answer::plain(unsigned_fail("系统繁忙，请稍后再试")),
        CallFault::Refuse => {
            let faults = world.faults();
            let rates = faults.of_call(name);
            Answer::plain(call.refused_answer(&rates.refuse_code, &rates.refuse_text, world))
        }
        _ => Answer::plain(call.answer(Err(SYSTEM_ERROR), world)),
    }
}

/// It was carried out, whatever the merchant learns of it.
fn after(
    call: &Call<'_>,
    fault: Option<CallFault>,
    result: Result<Fields<'static>, Refusal>,
    world: &World,
) -> Answer {
    let mishap = |mishap, body| Answer { mishap: Some(mishap), ..Answer::plain(body) };
    match fault {
        Some(CallFault::AnswerLost) => mishap(Mishap::Cut, call.answer(result, world)),
        Some(CallFault::Html) => mishap(Mishap::Html, String::new()),
        Some(CallFault::SystemErrorAfter) => Answer::plain(call.answer(Err(SYSTEM_ERROR), world)),
        Some(CallFault::WrongSign) => Answer::plain(call.wrongly_signed_answer(result, world)),
        _ => Answer::plain(call.answer(result, world)),
    }
}

/// What faults of a call are drawn by: the order's number.
fn drawn_by(call: &Call<'_>) -> OrderKey {
    let owned = |name| call.get(name).unwrap_or_default().to_owned();
    OrderKey { mch_id: owned("mch_id"), out_trade_no: owned("out_trade_no") }
}

/// By `transaction_id` if it is given, else by `out_trade_no`; a sub merchant sees only its own.
fn find_order(call: &Call<'_>, world: &World) -> Result<Arc<Order>, Refusal> {
    let mch_id = call.required("mch_id")?;
    let order = match call.get("transaction_id") {
        Some(transaction_id) => world.book.by_transaction(mch_id, transaction_id),
        None => world.book.get(mch_id, call.required("out_trade_no")?),
    };
    order.filter(|order| is_own(call, order)).ok_or(NOT_FOUND)
}

/// Whether WeChat denies the order, as nobody has opened it.
fn is_hidden(order: &Order, world: &World) -> bool {
    order.state == TradeState::NotPay && order.prepay.is_some() && world.settings().hides_unopened
}

fn is_own(call: &Call<'_>, order: &Order) -> bool {
    order.sub_mch_id.as_deref() == call.get("sub_mch_id")
}

/// `[1-9][0-9]*`
fn fee(text: &str) -> Option<u64> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

/// Absolute, without a query, not too long.
fn is_notify_url(url: &str) -> bool {
    let absolute = url.starts_with("http://") || url.starts_with("https://");
    absolute && !url.contains(['?', '#']) && url.len() <= 256
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fee_is_a_plain_number_of_fen() {
        assert_eq!(fee("1999"), Some(1999));
        for text in ["", "0", "01", "+1", "1.0", "-1", "1 ", "99999999999999999999"] {
            assert_eq!(fee(text), None, "{text:?}");
        }
    }
}
