//! How a shop learns who pays: the page that sends the payer back with a code, and the exchange of codes.

use std::time::Duration;

use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use simulator::{AppConfig, CallFaults, Faults, Settings, SimulatorConfig};
use wechat_pay::sign::Algorithm::Md5;

use crate::support::{APP, Sim, config, unified, with};

const MINI: &str = "wx7777777777777777";
const BACK: &str = "https%3A%2F%2Fshop.example.com%2Fcart%3Fa%3D1%23top";

async fn sim() -> Sim {
    let app = |appid: &str, hosts: &[&str]| AppConfig {
        appid: appid.to_owned(),
        secret: format!("secret-of-{appid}"),
        redirect_hosts: hosts.iter().map(|host| (*host).to_owned()).collect(),
    };
    let apps = vec![app(APP, &["shop.example.com"]), app(MINI, &[])];
    assert!(!format!("{apps:?}").contains("secret-of"), "a secret does not show itself");
    Sim::start(SimulatorConfig { clock_scale: 1.0, apps, ..config(Faults::default()) }).await
}

fn authorize(appid: &str, back: &str, scope: &str) -> String {
    format!(
        "/connect/oauth2/authorize?appid={appid}&redirect_uri={back}&response_type=code&scope={scope}&state=a%26b"
    )
}

/// The code that a payer comes back with.
async fn code(sim: &Sim, scope: &str) -> String {
    let (status, location) = sim.visit(&authorize(APP, BACK, scope), "").await;
    assert_eq!(status, StatusCode::FOUND, "{location}");
    let rest = location.strip_prefix("https://shop.example.com/cart?a=1&code=").unwrap();
    rest.strip_suffix("&state=a%26b#top").unwrap().to_owned()
}

async fn json_of(sim: &Sim, path: &str) -> Value {
    let (status, text) = sim.request(Method::GET, path, "", "").await.unwrap();
    assert_eq!(status, StatusCode::OK);
    serde_json::from_str(&text).expect(&text)
}

fn token(appid: &str, secret: &str, code: &str) -> String {
    format!(
        "/sns/oauth2/access_token?appid={appid}&secret={secret}&code={code}&grant_type=authorization_code"
    )
}

fn session(appid: &str, code: &str) -> String {
    format!(
        "/sns/jscode2session?appid={appid}&secret=secret-of-{appid}&js_code={code}&grant_type=authorization_code"
    )
}

const SECRET: &str = "secret-of-wx8888888888888888";

#[tokio::test]
async fn a_payer_comes_back_with_a_code_that_is_good_once() {
    let sim = sim().await;
    let base = code(&sim, "snsapi_base").await;
    let said = json_of(&sim, &token(APP, SECRET, &base)).await;
    let openid = said["openid"].as_str().unwrap();
    assert_eq!(openid, sim.control.openid(APP, "alice"));
    assert_eq!(
        (&said["scope"], &said["unionid"], &said["errcode"]),
        (&json!("snsapi_base"), &Value::Null, &Value::Null)
    );
    assert!(!said["access_token"].as_str().unwrap().is_empty() && said["expires_in"] == 7200);
    assert_eq!(json_of(&sim, &token(APP, SECRET, &base)).await["errcode"], 40163);
    let user = code(&sim, "snsapi_userinfo").await;
    let said = json_of(&sim, &token(APP, SECRET, &user)).await;
    assert!(said["openid"] == openid && said["unionid"].is_string(), "{said}");
    let placed = sim.call("/pay/unifiedorder", &with(unified("T00001"), "openid", openid), Md5).await;
    assert_eq!(placed["result_code"], "SUCCESS");

    let (_, location) = sim.visit(&authorize(APP, BACK, "snsapi_base"), "bob").await;
    let bobs = location.split("code=").nth(1).unwrap().split('&').next().unwrap();
    assert_eq!(json_of(&sim, &token(APP, SECRET, bobs)).await["openid"], sim.control.openid(APP, "bob"));
    let old = code(&sim, "snsapi_base").await;
    sim.control.advance(Duration::from_secs(301));
    assert_eq!(json_of(&sim, &token(APP, SECRET, &old)).await["errcode"], 40029);
}

#[tokio::test]
async fn the_page_says_what_is_wrong() {
    let sim = sim().await;
    for (path, said) in [
        (authorize("wx1", BACK, "snsapi_base"), "10013"),
        (authorize(APP, BACK, "snsapi_everything"), "10005"),
        (authorize(APP, "https%3A%2F%2Fevil.example.com%2F", "snsapi_base"), "10003"),
        (authorize(APP, "https%3A%2F%2Fshop.example.com.evil.com%2F", "snsapi_base"), "10003"),
        (authorize(APP, "cart", "snsapi_base"), "10003"),
        (authorize(APP, BACK, "snsapi_base").replace("response_type=code", "response_type=x"), "10004"),
    ] {
        let (status, text) = sim.request(Method::GET, &path, "", "").await.unwrap();
        assert!(status == StatusCode::OK && text.contains(said), "{path}: {text}");
    }
}

#[tokio::test]
async fn an_exchange_is_refused_for_its_reason() {
    let sim = sim().await;
    let web = code(&sim, "snsapi_base").await;
    let js = sim.control.login(MINI, "alice").unwrap();
    for (path, errcode) in [
        (token("wx1", SECRET, &web), 40013),
        (token(APP, "wrong", &web), 40125),
        (token(APP, SECRET, "0none"), 40029),
        (token(MINI, "secret-of-wx7777777777777777", &web), 40029),
        (token("", SECRET, &web), 41002),
        (token(APP, "", &web), 41004),
        (token(APP, SECRET, ""), 41008),
        (token(APP, SECRET, &web).replace("authorization_code", "x"), 40002),
        (session(APP, &web), 40029),
        (token(MINI, "secret-of-wx7777777777777777", &js), 40029),
        (session(MINI, &web), 40029),
    ] {
        assert_eq!(json_of(&sim, &path).await["errcode"], errcode, "{path}");
    }
    assert_eq!(json_of(&sim, &token(APP, SECRET, &web)).await["errcode"], Value::Null, "still good");
}

#[tokio::test]
async fn a_mini_program_gets_a_session() {
    let sim = sim().await;
    let body = json!({"appid": MINI, "person": "alice"}).to_string();
    let (_, text) = sim.request(Method::POST, "/_sim/logins", "application/json", body).await.unwrap();
    let js = serde_json::from_str::<Value>(&text).unwrap()["js_code"].as_str().unwrap().to_owned();
    let said = json_of(&sim, &session(MINI, &js)).await;
    assert_eq!(said["openid"], sim.control.openid(MINI, "alice"));
    assert_ne!(said["openid"], sim.control.openid(APP, "alice"));
    assert_eq!(said["session_key"].as_str().unwrap().len(), 24);
    assert_eq!(json_of(&sim, &session(MINI, &js)).await["errcode"], 40163);
    let user = code(&sim, "snsapi_userinfo").await;
    let web = json_of(&sim, &token(APP, SECRET, &user)).await;
    assert_eq!(said["unionid"], web["unionid"], "one person");
    assert!(sim.control.login("wx1", "alice").is_err());
    let blocked_people = vec!["alice".to_owned()];
    sim.control.set_settings(Settings { blocked_people, ..Settings::default() }).unwrap();
    let js = sim.control.login(MINI, "alice").unwrap();
    assert_eq!(json_of(&sim, &session(MINI, &js)).await["errcode"], 40226);
}

#[tokio::test]
async fn exchanges_go_wrong_on_demand() {
    let sim = sim().await;
    let set = |openid| sim.control.set_faults(Faults { openid, ..Faults::default() }).unwrap();
    let first = code(&sim, "snsapi_base").await;
    set(CallFaults { system_error: 1.0, ..CallFaults::default() });
    assert_eq!(json_of(&sim, &token(APP, SECRET, &first)).await["errcode"], -1);
    set(CallFaults { frequency_limited: 1.0, ..CallFaults::default() });
    assert_eq!(json_of(&sim, &token(APP, SECRET, &first)).await["errcode"], 45011);
    let (refuse_code, refuse_text) = ("50002".to_owned(), "user limited".to_owned());
    set(CallFaults { refuse: 1.0, refuse_code, refuse_text, ..CallFaults::default() });
    assert_eq!(json_of(&sim, &token(APP, SECRET, &first)).await["errcode"], 50002);
    set(CallFaults { lost: 1.0, ..CallFaults::default() });
    assert!(sim.request(Method::GET, &token(APP, SECRET, &first), "", "").await.is_err());
    set(CallFaults { wrong_sign: 1.0, ..CallFaults::default() });
    let (_, text) = sim.request(Method::GET, &token(APP, SECRET, &first), "", "").await.unwrap();
    assert!(serde_json::from_str::<Value>(&text).is_err(), "{text}");
    set(CallFaults::default());
    assert_eq!(json_of(&sim, &token(APP, SECRET, &first)).await["errcode"], 40163, "it was done");
    assert_eq!(sim.control.stats().openids, 6);
}
