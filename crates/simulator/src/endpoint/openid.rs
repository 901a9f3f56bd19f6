//! The calls around openids: the page that a payer is sent to (`/connect/oauth2/authorize`), and the exchange of codes for
//! openids (`/sns/oauth2/access_token`, `/sns/jscode2session`). GET, JSON, no signs; who people are is `openid`'s.

use std::{collections::BTreeMap, sync::Arc};

use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde_json::{Value, json};

use super::{Answer, Content, Mishap};
use crate::{
    call_faults::{CallFault, CallName},
    faults::{hash, mix},
    openid::{Login, LoginRefusal, Session},
    order::OrderKey,
    world::World,
};

type Query = BTreeMap<String, String>;
type Exchange = fn(&Query, &World) -> Result<Value, LoginRefusal>;

/// Answers a GET; `None` if there is no such page. `person` is who holds the device, if it says so.
pub(crate) fn answer(path: &str, query: &str, person: Option<&str>, world: &Arc<World>) -> Option<Answer> {
    let query = read(query);
    let act: Exchange = match path {
        "/connect/oauth2/authorize" => return Some(authorize(&query, person, world)),
        "/sns/oauth2/access_token" => access_token,
        "/sns/jscode2session" => session,
        _ => return None,
    };
    world.counters.openids.add_one();
    let code = query.get("code").or(query.get("js_code")).cloned().unwrap_or_default();
    let key = OrderKey { mch_id: query.get("appid").cloned().unwrap_or_default(), out_trade_no: code };
    let faults = world.faults();
    let plan = world.calls.plan(&faults, CallName::Openid, &key);
    let mut answer = match plan.fault {
        Some(CallFault::Lost) => mishap(Mishap::Lost, String::new()),
        Some(CallFault::Http500) => mishap(Mishap::Http500, String::new()),
        Some(CallFault::SystemError | CallFault::UnsignedFail) => in_json(&refused(BUSY)),
        Some(CallFault::FrequencyLimited) => in_json(&refused((45011, "api minute-quota reach limit"))),
        Some(CallFault::Refuse) => {
            let errcode = faults.openid.refuse_code.parse().unwrap_or(-1_i64);
            in_json(&json!({"errcode": errcode, "errmsg": faults.openid.refuse_text}))
        }
        fault => {
            let said = act(&query, world).unwrap_or_else(refused);
            match fault {
                Some(CallFault::SystemErrorAfter) => in_json(&refused(BUSY)),
                Some(CallFault::AnswerLost) => mishap(Mishap::Cut, said.to_string()),
                Some(CallFault::Html) => mishap(Mishap::Html, String::new()),
                Some(CallFault::WrongSign) => mishap(Mishap::Short, said.to_string()),
                _ => in_json(&said),
            }
        }
    };
    answer.delay = plan.delay;
    Some(answer)
}

const BUSY: LoginRefusal = (-1, "system error");

fn in_json(value: &Value) -> Answer {
    Answer { content: Content::Json(value.to_string()), ..Answer::plain(String::new()) }
}

fn mishap(mishap: Mishap, body: String) -> Answer {
    Answer { content: Content::Json(body), mishap: Some(mishap), ..Answer::plain(String::new()) }
}

fn refused((errcode, errmsg): LoginRefusal) -> Value {
    json!({"errcode": errcode, "errmsg": errmsg})
}

/// Sends the payer back with a code, or shows the page that says why not.
fn authorize(query: &Query, person: Option<&str>, world: &World) -> Answer {
    let of = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let page =
        |text: &str| Answer { content: Content::Page(text.to_owned()), ..Answer::plain(String::new()) };
    let (appid, target) = (of("appid"), of("redirect_uri"));
    if !world.knows_app(appid) {
        return page("10013 appid错误");
    }
    let login = match of("scope") {
        "snsapi_base" => Login::Base,
        "snsapi_userinfo" => Login::UserInfo,
        _ => return page("10005 scope参数错误或没有scope权限"),
    };
    if of("response_type") != "code" {
        return page("10004 response_type参数错误");
    }
    let host =
        target.split_once("://").map(|(_, rest)| rest.split(['/', '?', '#']).next().unwrap_or_default());
    let fits = |host: &str| {
        let hosts = world.app(appid).map_or(&[][..], |app| &app.redirect_hosts);
        let bare = host.split(':').next().unwrap_or_default();
        hosts.is_empty() || hosts.iter().any(|known| known == host || known == bare)
    };
    if !host.is_some_and(|host| !host.is_empty() && fits(host)) || target.contains(['\r', '\n']) {
        return page("10003 redirect_uri域名与后台配置不一致");
    }
    let settings = world.settings();
    let Ok(code) = world.login(appid, person.unwrap_or(&settings.person), login) else {
        return page("10013 appid错误");
    };
    let (before, fragment) = target.split_once('#').map_or((target, None), |(a, b)| (a, Some(b)));
    let mark = if before.contains('?') { '&' } else { '?' };
    let state = utf8_percent_encode(of("state"), NON_ALPHANUMERIC);
    let fragment = fragment.map(|fragment| format!("#{fragment}")).unwrap_or_default();
    let location = format!("{before}{mark}code={code}&state={state}{fragment}");
    Answer { content: Content::Found(location), ..Answer::plain(String::new()) }
}

fn access_token(query: &Query, world: &World) -> Result<Value, LoginRefusal> {
    let session = exchange(query, "code", world, |login| login != Login::MiniProgram)?;
    let scope = if session.login == Login::UserInfo { "snsapi_userinfo" } else { "snsapi_base" };
    let mut said = json!({
        "access_token": world.nonce(),
        "expires_in": 7200,
        "refresh_token": world.nonce(),
        "openid": session.openid,
        "scope": scope,
    });
    if let (Login::UserInfo, Some(fields)) = (session.login, said.as_object_mut()) {
        fields.insert("unionid".to_owned(), unionid(&session).into());
    }
    Ok(said)
}

fn session(query: &Query, world: &World) -> Result<Value, LoginRefusal> {
    let session = exchange(query, "js_code", world, |login| login == Login::MiniProgram)?;
    let (first, second) = (world.nonce(), world.nonce());
    let key = format!("{}{}==", first.get(..16).unwrap_or_default(), second.get(..6).unwrap_or_default());
    Ok(json!({"session_key": key, "openid": session.openid, "unionid": unionid(&session)}))
}

fn exchange(
    query: &Query,
    code_name: &str,
    world: &World,
    is_kind: fn(Login) -> bool,
) -> Result<Session, LoginRefusal> {
    let of = |name: &str| query.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let appid = of("appid").ok_or((41002, "appid missing"))?;
    let secret = of("secret").ok_or((41004, "appsecret missing"))?;
    let code = of(code_name).ok_or((41008, "missing code"))?;
    if of("grant_type") != Some("authorization_code") {
        return Err((40002, "invalid grant_type"));
    }
    world.exchange((appid, secret), code, is_kind)
}

/// The same for all apps of one company.
fn unionid(session: &Session) -> String {
    let key = OrderKey { mch_id: String::new(), out_trade_no: session.person.clone() };
    format!("uSIM{:016x}{:08x}", hash(&[8], &key), mix(hash(&[9], &key)) >> 32)
}

/// The first of each name counts.
fn read(query: &str) -> Query {
    let mut pairs = Query::new();
    for (name, raw) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        let raw = raw.replace('+', " ");
        let value = percent_decode_str(&raw).decode_utf8_lossy().into_owned();
        pairs.entry(name.to_owned()).or_insert(value);
    }
    pairs
}
