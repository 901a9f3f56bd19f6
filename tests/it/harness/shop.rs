//! A running service with a configuration in a folder of its own and a scripted WeChat behind it.

use std::{collections::HashSet, path::PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{APP, Answer, KEY, MCH, Notification, Request, Service, Wechat, get, post_xml, wait_for};

/// What a test wants otherwise than usual.
pub struct Settings<'s> {
    /// Gaps of the cadence. By default the first look comes after an hour: only notifications and people cause looks.
    pub cadence: &'s [&'s str],
    /// Lines of the one merchant beside its number, app and key.
    pub merchant: &'s str,
    /// In place of the one merchant.
    pub merchants: Option<&'s str>,
    /// Lines before every section, such as `events.openid = "include"`.
    pub top: &'s str,
    /// Where the ingress listens.
    pub ingress: &'s str,
    /// Arguments of `paybell run`.
    pub args: &'s [&'s str],
    /// In place of a folder beside the configuration.
    pub data_dir: Option<PathBuf>,
    /// In place of the scripted WeChat.
    pub base_url: Option<String>,
    /// In place of the Redis that all tests share.
    pub redis: Option<String>,
}

impl Default for Settings<'_> {
    fn default() -> Self {
        Self {
            cadence: &["1h"],
            merchant: "",
            merchants: None,
            top: "",
            ingress: "127.0.0.1:0",
            args: &[],
            data_dir: None,
            base_url: None,
            redis: None,
        }
    }
}

impl Settings<'_> {
    fn to_toml(&self, data_dir: &str, base_url: &str) -> String {
        let usual = format!(
            "[[merchant]]\nmch_id = \"{MCH}\"\napp_ids = [\"{APP}\"]\napi_key = \"{KEY}\"\n{}\n",
            self.merchant
        );
        format!(
            "{}\n{}ingress.listen = \"{}\"\nconsole.listen = \"127.0.0.1:0\"\n\
             admin.listen = \"127.0.0.1:0\"\nwechat.base_urls = [\"{base_url}\"]\nschedule.cadence = {:?}\n{}",
            self.top,
            crate::ENGINE.to_toml(data_dir, self.redis.as_deref()),
            self.ingress,
            self.cadence,
            self.merchants.unwrap_or(&usual)
        )
    }
}

/// The whole of it.
pub struct Shop {
    pub service: Service,
    pub wechat: Wechat,
    pub folder: TempDir,
    args: Vec<String>,
}

impl Shop {
    #[track_caller]
    pub fn open(settings: &Settings<'_>) -> Self {
        let (folder, wechat) = (TempDir::new().unwrap(), Wechat::start());
        let data_dir = settings.data_dir.clone().unwrap_or_else(|| folder.path().join("data"));
        let base_url = settings.base_url.clone().unwrap_or_else(|| format!("http://{}", wechat.address));
        let text = settings.to_toml(&data_dir.display().to_string(), &base_url);
        std::fs::write(folder.path().join("paybell.toml"), text).unwrap();
        let service = Service::start(&folder.path().join("paybell.toml"), settings.args);
        let args = settings.args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { service, wechat, folder, args }
    }

    pub fn config(&self) -> PathBuf {
        self.folder.path().join("paybell.toml")
    }

    /// Begins again on the same folder. The process before must have ended.
    #[track_caller]
    pub fn start_again(&mut self) {
        let args: Vec<&str> = self.args.iter().map(String::as_str).collect();
        self.service = Service::start(&self.config(), &args);
    }

    /// Notifies until the answer is not 503, as WeChat does.
    #[track_caller]
    pub fn notify(&self, body: impl Into<Vec<u8>>) -> Answer {
        Request::new("POST", "/notify/pay").xml(body).send_at_last(self.service.address("ingress"))
    }

    /// For whom 503 may be the right answer.
    #[track_caller]
    pub fn notify_once(&self, body: impl Into<Vec<u8>>) -> Answer {
        post_xml(self.service.address("ingress"), "/notify/pay", body)
    }

    /// WeChat took the money, and says so when asked and by itself.
    #[track_caller]
    pub fn pay_and_notify(&self, out_trade_no: &str, total_fee: i64) {
        self.wechat.says(out_trade_no, super::Say::paid(out_trade_no, total_fee));
        self.notify(Notification::of(out_trade_no, total_fee).signed()).expect(200);
    }

    /// A request to the private API with a JSON body, repeated where its engine was kept back.
    #[track_caller]
    pub fn api(&self, method: &str, path: &str, body: &Value) -> Answer {
        Request::new(method, path).json(body).send_at_last(self.service.address("console"))
    }

    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        Request::new("GET", path).send_at_last(self.service.address("console"))
    }

    /// For whom 503 may be the right answer.
    #[track_caller]
    pub fn get_once(&self, path: &str) -> Answer {
        get(self.service.address("console"), path)
    }

    #[track_caller]
    pub fn register(&self, out_trade_no: &str, registration: &Value) -> Answer {
        self.api("PUT", &format!("/v1/orders/{MCH}/{out_trade_no}"), registration)
    }

    #[track_caller]
    pub fn register_fee(&self, out_trade_no: &str, total_fee: i64) {
        self.register(out_trade_no, &json!({ "total_fee": total_fee })).expect(201);
    }

    /// What is behind an order: `check?wait=5s`, `accept`, `reject`.
    #[track_caller]
    pub fn order_verb(&self, out_trade_no: &str, verb: &str, body: &Value) -> Answer {
        self.api("POST", &format!("/v1/orders/{MCH}/{out_trade_no}/{verb}"), body)
    }

    /// Asks WeChat now, and waits until what it said is told.
    #[track_caller]
    pub fn look(&self, out_trade_no: &str) -> Value {
        // A look less than a second ago would answer in place of a new one.
        let looked = wait_for("a look of its own", || {
            let before = self.wechat.asked(out_trade_no).len();
            let answer = self.order_verb(out_trade_no, "check?wait=10s", &json!({}));
            let is_new = self.wechat.asked(out_trade_no).len() > before;
            (is_new && matches!(answer.status, 200 | 404)).then(|| answer.json())
        });
        self.is_told(out_trade_no);
        looked
    }

    /// Waits until what was decided about an order is told: a look ends with the commit, its events follow.
    #[track_caller]
    pub fn is_told(&self, out_trade_no: &str) {
        wait_for(&format!("{out_trade_no} is told"), || {
            self.record(out_trade_no).is_none_or(|record| record["outgoing"] == 0).then_some(())
        });
    }

    /// The record, if there is one.
    #[track_caller]
    pub fn record(&self, out_trade_no: &str) -> Option<Value> {
        let answer = self.get(&format!("/v1/orders/{MCH}/{out_trade_no}"));
        (answer.status == 200).then(|| answer.json())
    }

    #[track_caller]
    pub fn wait_for_state(&self, out_trade_no: &str, state: &str) -> Value {
        wait_for(&format!("{out_trade_no} is {state}"), || {
            self.record(out_trade_no).filter(|record| record["state"] == state)
        })
    }

    /// The whole log, oldest first, each with its `cursor`. The cluster engine may repeat an event under its id, where
    /// its confirm comes too late: the first one stands for all.
    #[track_caller]
    pub fn log(&self) -> Vec<Value> {
        let (mut rows, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.get(&format!("/v1/events?limit=1000{after}")).expect(200).json();
            rows.extend(page["events"].as_array().unwrap().iter().cloned());
            if page["has_more"] == false {
                break;
            }
            after = format!("&after={}", page["next"].as_str().unwrap());
        }
        without_repeats(rows)
    }

    /// The rows of a page of events without the repeats, whose first ones may lie before it.
    #[track_caller]
    pub fn rows(&self, page: &Value) -> Vec<Value> {
        let firsts: HashSet<String> = self.log().iter().map(|row| row["cursor"].to_string()).collect();
        let mut rows = page["events"].as_array().unwrap().clone();
        rows.retain(|row| firsts.contains(&row["cursor"].to_string()));
        rows
    }

    /// All events of an order.
    #[track_caller]
    pub fn events_of(&self, out_trade_no: &str) -> Vec<Value> {
        let mine = |row: Value| (row["event"]["subject"] == out_trade_no).then(|| row["event"].clone());
        self.log().into_iter().filter_map(mine).collect()
    }

    /// The types of all events of an order.
    #[track_caller]
    pub fn types_of(&self, out_trade_no: &str) -> Vec<String> {
        let events = self.events_of(out_trade_no);
        events.iter().map(|event| event["type"].as_str().unwrap().to_owned()).collect()
    }

    /// Waits for an event.
    #[track_caller]
    pub fn event(&self, out_trade_no: &str, kind: &str) -> Value {
        wait_for(&format!("{kind} of {out_trade_no}"), || {
            self.events_of(out_trade_no).into_iter().find(|event| event["type"] == kind)
        })
    }

    #[track_caller]
    pub fn dead_letters(&self) -> Vec<Value> {
        self.get("/v1/dead").expect(200).json()["dead_letters"].as_array().unwrap().clone()
    }
}

/// The first of each event. One file repeats none, and what it has is left as it is.
pub fn without_repeats(mut rows: Vec<Value>) -> Vec<Value> {
    if crate::ENGINE.is_cluster() {
        let mut seen = HashSet::new();
        rows.retain(|row| seen.insert(row["event"]["id"].to_string()));
    }
    rows
}
