//! [`Control`] as JSON over HTTP, under `/_sim/`. Adds no abilities; refuses changes without
//! `Content-Type: application/json`, so that no web page in a browser on the same machine can make them.

use std::{str::FromStr, time::Duration};

use bytes::Bytes;
use hyper::{Method, StatusCode};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use crate::{
    config::SecretKey,
    control::Control,
    error::Error,
    order::{NewOrder, OrderKey, Payment, TradeState},
    refund::{NewRefund, RefundKey, RefundState},
};

const LIMIT: usize = 100;
const LIMIT_MAX: usize = 1000;

const ROUTES: &[(&str, &str)] = &[
    (
        "POST /pay/unifiedorder | orderquery | closeorder | micropay | refundquery | downloadbill",
        "WeChat Pay API v2",
    ),
    ("POST /secapi/pay/refund | reverse", "the same, with a certificate"),
    ("POST /_sim/orders", "place: {mch_id, out_trade_no, total_fee, notify_url, …}"),
    ("GET /_sim/orders?after=&limit=", "what is true about all orders"),
    ("GET /_sim/orders/{mch_id}/{out_trade_no}", "what is true about one"),
    ("DELETE /_sim/orders/{mch_id}/{out_trade_no}", "forget it"),
    (
        "POST /_sim/orders/{mch_id}/{out_trade_no}/pay",
        "{coupons, bank_type, transaction_id, time_end, silent}, all optional",
    ),
    ("GET /_sim/orders/{mch_id}/{out_trade_no}/parameters", "what it was placed with"),
    (
        "POST /_sim/device",
        "pay as a device: {params} or {code_url} or {mweb_url, referer, ip}; optional {page, payment}",
    ),
    ("GET /connect/oauth2/authorize, /sns/oauth2/access_token, /sns/jscode2session", "openids"),
    ("POST /_sim/logins", "{appid, person}: a js_code for jscode2session"),
    ("PUT /_sim/codes/{auth_code}", "{result, charged}: what micropay comes to"),
    ("POST /_sim/orders/{mch_id}/{out_trade_no}/state", "{trade_state}"),
    (
        "POST /_sim/orders/{mch_id}/{out_trade_no}/refund",
        "{refund_fee}, and optional {out_refund_no, notify_url, state}: as in the merchant platform",
    ),
    ("POST /_sim/orders/{mch_id}/{out_trade_no}/notify", "notify again"),
    ("GET /_sim/refunds?after=&limit=", "what is true about all refunds"),
    ("GET /_sim/refunds/{mch_id}/{out_refund_no}", "what is true about one"),
    ("POST /_sim/refunds/{mch_id}/{out_refund_no}/end", "{state}: SUCCESS, CHANGE or REFUNDCLOSE, now"),
    ("POST /_sim/refunds/{mch_id}/{out_refund_no}/notify", "notify again"),
    ("GET /_sim/bills/{mch_id}", "the days that have bills"),
    ("GET /_sim/bills/{mch_id}/{bill_date}", "what the bill of a day sums up to, in fen"),
    ("PUT /_sim/bills/{mch_id}/{bill_date}/padding", "{rows, prefix, refund_every}: made-up rows"),
    ("GET /_sim/clock", "the simulator's time"),
    ("POST /_sim/clock", "{advance_s}: lets time pass"),
    (
        "GET, PUT /_sim/settings",
        "how long refunds take, when bills are ready, …; absent ones are the defaults",
    ),
    ("GET, PUT /_sim/merchants/{mch_id}/funds", "{unsettled_fee, recharge_fee}: what refunds are paid from"),
    ("GET, PUT /_sim/faults", "rates and seed; absent rates are 0"),
    ("POST /_sim/arrivals", "what the fault `late` keeps on its way arrives now"),
    ("GET /_sim/notifications?mch_id=&out_trade_no=&limit=", "the newest posts"),
    ("GET /_sim/stats", "counters"),
    ("PUT /_sim/merchants/{mch_id}/keys", "{api_key, previous_api_key}"),
    ("POST /_sim/send", "{url, body} or {url, fields, sign: nobody|merchant|stranger, mch_id, sign_type}"),
];

/// A control request, its body read.
pub(crate) struct Request<'a> {
    pub(crate) method: &'a Method,
    /// Behind `/_sim`.
    pub(crate) path: &'a str,
    pub(crate) query: &'a str,
    pub(crate) is_json: bool,
    pub(crate) body: &'a Bytes,
}

/// Status, and a JSON document or nothing.
pub(crate) type Reply = (StatusCode, Option<Value>);

/// Carries out a request.
pub(crate) async fn answer(request: &Request<'_>, control: &Control) -> Reply {
    if request.method != Method::GET && !request.is_json {
        let detail = "changes need Content-Type: application/json";
        return problem(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail);
    }
    let segments: Option<Vec<String>> = request.path.split('/').skip(1).map(decode).collect();
    let Some(segments) = segments else { return problem(StatusCode::BAD_REQUEST, "the path is not UTF-8") };
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let outcome = match segments.as_slice() {
        ["orders", mch_id, out_trade_no, rest @ ..] => {
            let key = OrderKey { mch_id: (*mch_id).to_owned(), out_trade_no: (*out_trade_no).to_owned() };
            on_order(request, control, &key, rest)
        }
        ["refunds", mch_id, out_refund_no, rest @ ..] => {
            let key = RefundKey { mch_id: (*mch_id).to_owned(), out_refund_no: (*out_refund_no).to_owned() };
            on_refund(request, control, &key, rest)
        }
        other => on_all(request, control, other).await,
    };
    outcome.unwrap_or_else(|refusal| refusal)
}

async fn on_all(request: &Request<'_>, control: &Control, segments: &[&str]) -> Result<Reply, Reply> {
    match (request.method.as_str(), segments) {
        ("GET", [] | [""]) => {
            let routes = ROUTES.iter().map(|(route, what)| json!({"route": route, "what": what}));
            Ok((StatusCode::OK, Some(json!({"routes": routes.collect::<Vec<_>>()}))))
        }
        ("GET", ["orders"]) => {
            let after = parameter(request, "after")?.unwrap_or(0);
            ok(control.page(after, limit(request)?))
        }
        ("POST", ["orders"]) => {
            let key = control.create_order(read::<NewOrder>(request)?).map_err(refused)?;
            let truth = control.truth(&key).map_err(refused)?;
            Ok((StatusCode::CREATED, Some(to_json(truth))))
        }
        ("PUT", ["codes", auth_code]) => {
            control.plan_code(auth_code, read(request)?).map_err(refused)?;
            Ok((StatusCode::NO_CONTENT, None))
        }
        ("POST", ["logins"]) => {
            let Logs { appid, person } = read(request)?;
            ok(json!({"js_code": control.login(&appid, &person).map_err(refused)?}))
        }
        ("POST", ["device"]) => ok(control.pay_by_device(read(request)?).map_err(refused)?),
        ("GET", ["refunds"]) => {
            let after = parameter(request, "after")?.unwrap_or(0);
            ok(control.refund_page(after, limit(request)?))
        }
        (_, ["bills", mch_id, rest @ ..]) => on_bills(request, control, mch_id, rest),
        (_, ["clock" | "settings"] | ["merchants", _, "funds"]) => on_rules(request, control, segments),
        ("GET", ["faults"]) => ok(control.faults()),
        ("POST", ["arrivals"]) => {
            control.let_arrive();
            Ok((StatusCode::NO_CONTENT, None))
        }
        ("PUT", ["faults"]) => {
            control.set_faults(read(request)?).map_err(refused)?;
            ok(control.faults())
        }
        ("GET", ["notifications"]) => {
            let key = match (text(request, "mch_id")?, text(request, "out_trade_no")?) {
                (Some(mch_id), Some(out_trade_no)) => Some(OrderKey { mch_id, out_trade_no }),
                (None, None) => None,
                _ => {
                    return Err(problem(StatusCode::BAD_REQUEST, "give mch_id and out_trade_no, or neither"));
                }
            };
            ok(json!({"notifications": control.posts(key.as_ref(), limit(request)?)}))
        }
        ("GET", ["stats"]) => ok(control.stats()),
        ("PUT", ["merchants", mch_id, "keys"]) => {
            let keys = read::<Keys>(request)?;
            control.set_keys(mch_id, keys.api_key, keys.previous_api_key).map_err(refused)?;
            Ok((StatusCode::NO_CONTENT, None))
        }
        ("POST", ["send"]) => ok(control.send(read(request)?).await.map_err(refused)?),
        _ => Err(problem(StatusCode::NOT_FOUND, "no such route; GET /_sim/ lists them")),
    }
}

fn on_order(request: &Request<'_>, control: &Control, key: &OrderKey, rest: &[&str]) -> Result<Reply, Reply> {
    match (request.method.as_str(), rest) {
        ("GET", []) => ok(control.truth(key).map_err(refused)?),
        ("GET", ["parameters"]) => ok(json!({"parameters": control.parameters(key).map_err(refused)?})),
        ("DELETE", []) => {
            control.forget(key).map_err(refused)?;
            Ok((StatusCode::NO_CONTENT, None))
        }
        ("POST", ["pay"]) => {
            let payment = if request.body.is_empty() { Payment::default() } else { read(request)? };
            ok(control.pay(key, payment).map_err(refused)?)
        }
        ("POST", ["state"]) => {
            let state = read::<State>(request)?.trade_state;
            ok(control.set_state(key, state).map_err(refused)?)
        }
        ("POST", ["refund"]) => {
            control.refund_with(key, read::<NewRefund>(request)?).map_err(refused)?;
            ok(control.truth(key).map_err(refused)?)
        }
        ("POST", ["notify"]) => {
            control.notify_again(key).map_err(refused)?;
            Ok((StatusCode::ACCEPTED, None))
        }
        _ => Err(problem(StatusCode::NOT_FOUND, "no such route; GET /_sim/ lists them")),
    }
}

fn on_refund(
    request: &Request<'_>,
    control: &Control,
    key: &RefundKey,
    rest: &[&str],
) -> Result<Reply, Reply> {
    match (request.method.as_str(), rest) {
        ("GET", []) => ok(control.refund_truth(key).map_err(refused)?),
        ("POST", ["end"]) => ok(control.end_refund(key, read::<End>(request)?.state).map_err(refused)?),
        ("POST", ["notify"]) => {
            control.notify_refund_again(key).map_err(refused)?;
            Ok((StatusCode::ACCEPTED, None))
        }
        _ => Err(problem(StatusCode::NOT_FOUND, "no such route; GET /_sim/ lists them")),
    }
}

fn on_bills(request: &Request<'_>, control: &Control, mch_id: &str, rest: &[&str]) -> Result<Reply, Reply> {
    match (request.method.as_str(), rest) {
        ("GET", []) => ok(json!({"bill_dates": control.bill_days(mch_id).map_err(refused)?})),
        ("GET", [date]) => ok(control.bill_totals(mch_id, date).map_err(refused)?),
        ("PUT", [date, "padding"]) => {
            control.pad_bill(mch_id, date, read(request)?).map_err(refused)?;
            ok(control.bill_totals(mch_id, date).map_err(refused)?)
        }
        _ => Err(problem(StatusCode::NOT_FOUND, "no such route; GET /_sim/ lists them")),
    }
}

/// Time, settings, funds.
fn on_rules(request: &Request<'_>, control: &Control, segments: &[&str]) -> Result<Reply, Reply> {
    match (request.method.as_str(), segments) {
        ("GET", ["clock"]) => ok(control.clock()),
        ("POST", ["clock"]) => {
            control.advance(Duration::from_secs(read::<Advance>(request)?.advance_s));
            ok(control.clock())
        }
        ("GET", ["settings"]) => ok(control.settings()),
        ("PUT", ["settings"]) => {
            control.set_settings(read(request)?).map_err(refused)?;
            ok(control.settings())
        }
        ("GET", ["merchants", mch_id, "funds"]) => ok(control.funds(mch_id).map_err(refused)?),
        ("PUT", ["merchants", mch_id, "funds"]) => {
            control.set_funds(mch_id, read(request)?).map_err(refused)?;
            ok(control.funds(mch_id).map_err(refused)?)
        }
        _ => Err(problem(StatusCode::NOT_FOUND, "no such route; GET /_sim/ lists them")),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    trade_state: TradeState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct End {
    state: RefundState,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Logs {
    appid: String,
    person: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_s: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Keys {
    api_key: SecretKey,
    #[serde(default)]
    previous_api_key: Option<SecretKey>,
}

fn read<T: DeserializeOwned>(request: &Request<'_>) -> Result<T, Reply> {
    serde_json::from_slice(request.body)
        .map_err(|error| problem(StatusCode::BAD_REQUEST, &format!("request body: {error}")))
}

fn limit(request: &Request<'_>) -> Result<usize, Reply> {
    Ok(parameter(request, "limit")?.unwrap_or(LIMIT).min(LIMIT_MAX))
}

fn parameter<T: FromStr>(request: &Request<'_>, name: &str) -> Result<Option<T>, Reply> {
    let malformed = || problem(StatusCode::BAD_REQUEST, &format!("query parameter {name} is malformed"));
    text(request, name)?.map(|text| text.parse().map_err(|_| malformed())).transpose()
}

fn text(request: &Request<'_>, name: &str) -> Result<Option<String>, Reply> {
    let pairs = request.query.split('&').filter_map(|pair| pair.split_once('='));
    let Some((_, raw)) = pairs.into_iter().find(|(of, raw)| *of == name && !raw.is_empty()) else {
        return Ok(None);
    };
    let not_utf8 = || problem(StatusCode::BAD_REQUEST, &format!("query parameter {name} is not UTF-8"));
    decode(raw).map(Some).ok_or_else(not_utf8)
}

fn decode(raw: &str) -> Option<String> {
    percent_decode_str(raw).decode_utf8().ok().map(|text| text.into_owned())
}

fn ok(value: impl Serialize) -> Result<Reply, Reply> {
    Ok((StatusCode::OK, Some(to_json(value))))
}

fn refused(error: Error) -> Reply {
    let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::BAD_REQUEST);
    problem(status, &error.to_string())
}

/// RFC 9457.
pub(crate) fn problem(status: StatusCode, detail: &str) -> Reply {
    let title = status.canonical_reason().unwrap_or_default();
    (status, Some(json!({"status": status.as_u16(), "title": title, "detail": detail})))
}

fn to_json(value: impl Serialize) -> Value {
    serde_json::to_value(value).expect("these types have text keys and no faults of their own")
}
