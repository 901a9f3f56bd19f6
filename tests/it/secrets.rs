//! What operators see, and what nobody may see: metrics by their names, and no key, token or payer anywhere.

use std::path::PathBuf;

use serde_json::json;
use tempfile::TempDir;

use crate::harness::{
    KEY, MCH, Notification, Request, Say, Settings, Shop, eventually, run, wait_for, wechat::OPENID,
};

const TOKEN: &str = "tok-3f9a1c77e2d5";

/// Every name of the contract, each with the labels that it must have after a day like this one.
const METRICS: &[&str] = &[
    "paybell_notifications_total{mch_id=\"1900000109\",result=\"accepted\"} ",
    "paybell_notifications_total{mch_id=\"unknown\",result=\"unknown_merchant\"} ",
    "paybell_ack_seconds_bucket{le=\"",
    "paybell_checks_total{reason=\"notified\",outcome=\"paid\"} ",
    "paybell_checks_total{reason=\"manual\",outcome=\"",
    "paybell_query_seconds_bucket{le=\"",
    "paybell_queries_total{mch_id=\"1900000109\",result=\"answered\"} ",
    "paybell_events_total{type=\"order.paid\",learned_by=\"notification\"} ",
    "paybell_events_total{type=\"order.mismatch\",learned_by=\"",
    "paybell_paid_to_emitted_seconds_count ",
    "paybell_orders{state=\"paid\"} ",
    "paybell_orders{state=\"mismatch\"} ",
    "paybell_unconfirmed_fen{mch_id=\"1900000109\"} ",
    "paybell_due_lag_seconds ",
    "paybell_dead_letters ",
    "paybell_engine_up{part=\"ledger\"} 1",
    "paybell_engine_up{part=\"queue\"} 1",
    "paybell_engine_up{part=\"log\"} 1",
    "paybell_key_used_total{mch_id=\"1900000109\",key=\"current\"} ",
];

#[test]
fn after_a_busy_day_every_metric_is_there_and_no_secret_is_anywhere() {
    let folder = TempDir::new().unwrap();
    let token_file = folder.path().join("token");
    std::fs::write(&token_file, format!("{TOKEN}\n")).unwrap();
    let top = format!("console.token_file = \"{}\"", token_file.display());
    let mut shop = Shop::open(&Settings { top: &top, args: &["--log", "trace"], ..Settings::default() });
    let console = shop.service.address("console");
    let ask = |method: &str, path: &str| {
        Request::new(method, path).token(TOKEN).json(&json!({})).send_at_last(console)
    };
    // A payment, a mismatch, a dead letter, refusals of every kind, and answers that cannot be used.
    let register = |order: &str, fee: i64| {
        let path = format!("/v1/orders/{MCH}/{order}");
        let registration = json!({ "total_fee": fee });
        Request::new("PUT", &path).token(TOKEN).json(&registration).send_at_last(console).expect(201);
    };
    register("PAID", 1999);
    shop.pay_and_notify("PAID", 1999);
    register("OTHER", 2000);
    shop.pay_and_notify("OTHER", 1999);
    register("DEAD", 1999);
    shop.wechat.says("DEAD", Say::paid("SOMEBODY", 1999));
    ask("POST", &format!("/v1/orders/{MCH}/DEAD/check"));
    register("BUSY", 1999);
    shop.wechat.says("BUSY", Say::error("SYSTEMERROR"));
    ask("POST", &format!("/v1/orders/{MCH}/BUSY/check"));
    be_refused(&shop);
    Request::new("GET", "/v1/events").token("wrong-token-9b1d").send(console).expect(401);
    eventually("two events and a dead letter", || {
        let events = ask("GET", "/v1/events").json()["events"].as_array().unwrap().len();
        events == 2 && !ask("GET", "/v1/dead").json()["dead_letters"].as_array().unwrap().is_empty()
    });
    let metrics = wait_for("the gauges are read again", || {
        let metrics = shop.service.metrics();
        METRICS.iter().all(|name| metrics.contains(name)).then_some(metrics)
    });
    let mut seen = vec![("metrics", metrics)];
    for path in [
        "/v1/events".to_owned(),
        "/v1/orders".to_owned(),
        format!("/v1/orders/{MCH}/PAID"),
        "/v1/dead".to_owned(),
        "/openapi.json".to_owned(),
        "/".to_owned(),
    ] {
        seen.push(("private API", ask("GET", &path).expect(200).body));
    }
    let config = shop.config().display().to_string();
    for command in ["show", "check"] {
        let ran = run(&["config", command, "--config", &config]);
        seen.push(("config", ran.stdout + &ran.stderr));
    }
    shop.service.process.signal("TERM");
    let (status, log) = shop.service.process.ended();
    assert_eq!(status.code(), Some(0));
    assert!(log.contains("\"TRACE\"") || log.contains("\"DEBUG\""), "it logged everything:\n{log}");
    seen.push(("log", log));
    no_secret_is_in(&seen);
    if !crate::ENGINE.is_cluster() {
        no_secret_lies_in(shop.folder.path().join("data"));
    }
}

/// Notifications of every kind that nobody believes.
#[track_caller]
fn be_refused(shop: &Shop) {
    shop.notify(Notification::of("PAID", 1999).signed_by(&"f".repeat(32), wechat_pay::sign::Algorithm::Md5))
        .expect(401);
    shop.notify(Notification::of("PAID", 1999).with("mch_id", "1900000001").signed()).expect(401);
    shop.notify(Notification::of("PAID", 1999).unsigned()).expect(401);
    shop.notify("{}").expect(400);
}

#[track_caller]
fn no_secret_is_in(seen: &[(&str, String)]) {
    for (place, text) in seen {
        for secret in [KEY, TOKEN, OPENID, "wrong-token-9b1d", "&key="] {
            assert!(!text.contains(secret), "{secret} in {place}:\n{text}");
        }
    }
}

/// Nor on the disk: what is not to be told is not kept.
fn no_secret_lies_in(folder: PathBuf) {
    let mut folders = vec![folder];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let bytes = std::fs::read(path).unwrap();
            let holds = |secret: &str| bytes.windows(secret.len()).any(|window| window == secret.as_bytes());
            assert!(!holds(KEY) && !holds(TOKEN) && !holds(OPENID));
        }
    }
}

#[test]
fn the_payer_is_in_events_only_where_it_is_asked_for() {
    let shop = Shop::open(&Settings { top: "events.openid = \"include\"", ..Settings::default() });
    shop.pay_and_notify("T1", 1999);
    assert_eq!(shop.event("T1", "order.paid")["data"]["openid"], OPENID);
    assert!(!shop.service.process.log().contains(OPENID));
    assert!(!shop.service.metrics().contains(OPENID));
    crate::life::assert_valid(&shop);
}

#[test]
fn metric_labels_are_bounded_whatever_strangers_send() {
    let shop = Shop::open(&Settings::default());
    for number in 0..50 {
        let stranger = format!("19000{number:05}");
        let body = Notification::of("T1", 1).with("mch_id", &stranger).signed();
        shop.notify(body).expect(401);
    }
    let metrics = shop.service.metrics();
    let rows = metrics.lines().filter(|line| line.contains("unknown_merchant")).count();
    assert!((1..=2).contains(&rows), "one row for all strangers: {rows}");
    let unknown = "paybell_notifications_total{mch_id=\"unknown\",result=\"unknown_merchant\"}";
    assert_eq!(shop.service.metric(unknown), 50.0);
}
