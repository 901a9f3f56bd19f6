//! A changed configuration without a restart: keys, merchants, tokens and certificates are replaced while notifications
//! come, and what cannot be used changes nothing.

use std::{
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use wechat_pay::sign::Algorithm;

use crate::harness::{
    APP, KEY, MCH, Notification, Request, SUCCESS, Say, Settings, Shop, Simulator, eventually, get, wait_for,
};

const NEW_KEY: &str = "0123456789abcdef0123456789abcdef";
const OTHER_MCH: &str = "1900000222";
const APPLIED: &str = "paybell_reloads_total{result=\"applied\"}";
const UNCHANGED: &str = "paybell_reloads_total{result=\"unchanged\"}";
const REFUSED: &str = "paybell_reloads_total{result=\"refused\"}";

/// A folder that is laid out as Kubernetes mounts a secret: names are links through `..data`, which is switched whole.
struct Secrets {
    folder: TempDir,
    version: AtomicUsize,
}

impl Secrets {
    fn new(files: &[(&str, &str)]) -> Self {
        let secrets = Self { folder: TempDir::new().unwrap(), version: AtomicUsize::new(0) };
        for (name, _) in files {
            symlink(format!("..data/{name}"), secrets.path(name)).unwrap();
        }
        secrets.switch(files);
        secrets
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn switch(&self, files: &[(&str, &str)]) {
        let version = format!("..{}", self.version.fetch_add(1, Ordering::Relaxed));
        fs::create_dir(self.path(&version)).unwrap();
        for (name, text) in files {
            fs::write(self.path(&version).join(name), text).unwrap();
        }
        symlink(&version, self.path("..data_tmp")).unwrap();
        fs::rename(self.path("..data_tmp"), self.path("..data")).unwrap();
    }
}

fn merchant(mch_id: &str, key_lines: &str) -> String {
    format!("[[merchant]]\nmch_id = \"{mch_id}\"\napp_ids = [\"{APP}\"]\n{key_lines}\n")
}

fn rewrite(shop: &Shop, from: &str, to: &str) {
    let text = fs::read_to_string(shop.config()).unwrap();
    assert!(text.contains(from), "{from:?} in\n{text}");
    replace(&shop.config(), &text.replace(from, to));
}

/// As an editor writes: a copy, then its name.
fn replace(file: &Path, text: &str) {
    let copy = file.with_extension("new");
    fs::write(&copy, text).unwrap();
    fs::rename(copy, file).unwrap();
}

#[track_caller]
fn wait_for_count(shop: &Shop, sample: &str, count: f64) {
    wait_for(&format!("{sample} {count}"), || (shop.service.metric(sample) >= count).then_some(()));
}

fn key_used(shop: &Shop, key: &str) -> f64 {
    shop.service.metric(&format!("paybell_key_used_total{{mch_id=\"{MCH}\",key=\"{key}\"}}"))
}

/// Orders that are placed and paid at WeChat one after the other, until told to stop.
struct Load<'s> {
    simulator: &'s Simulator,
    notify_url: String,
    is_over: AtomicBool,
    placed: AtomicUsize,
}

impl Load<'_> {
    fn run(&self) {
        while !self.is_over.load(Ordering::Relaxed) {
            let order = format!("R{}", self.placed.fetch_add(1, Ordering::Relaxed));
            let placed = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": 1999,
                                 "notify_url": self.notify_url, "appid": APP });
            self.simulator.send("POST", "/_sim/orders", &placed).expect(201);
            let pay = format!("/_sim/orders/{MCH}/{order}/pay");
            self.simulator.send("POST", &pay, &json!({})).expect(200);
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// So many more have been placed since.
    #[track_caller]
    fn goes_on_for(&self, count: usize) {
        let from = self.placed.load(Ordering::Relaxed);
        eventually("the load goes on", || self.placed.load(Ordering::Relaxed) >= from + count);
    }
}

/// Says that it is over, also when the test falls: nobody would wait for a thread that goes on.
struct Over<'t>(&'t AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_event_of_each(shop: &Shop, simulator: &Simulator) -> bool {
    let log = shop.log();
    let paid: Vec<&str> = log
        .iter()
        .filter(|row| row["event"]["type"] == "order.paid")
        .map(|row| row["event"]["subject"].as_str().unwrap())
        .collect();
    simulator.truth().iter().all(|order| {
        let order = order["out_trade_no"].as_str().unwrap();
        paid.iter().filter(|subject| **subject == order).count() == 1
    })
}

#[test]
fn a_key_is_rotated_under_load_and_no_notification_is_refused() {
    let secrets = Secrets::new(&[("key", KEY), ("previous", "")]);
    let simulator = Simulator::start();
    let only = format!("api_key_file = \"{}\"", secrets.path("key").display());
    let both = format!("{only}\nprevious_api_key_file = \"{}\"", secrets.path("previous").display());
    let shop = Shop::open(&Settings {
        merchants: Some(&merchant(MCH, &only)),
        base_url: Some(format!("http://{}", simulator.address)),
        cadence: &["5s", "5s", "1h"],
        ..Settings::default()
    });
    let notify_url = format!("http://{}/notify/pay", shop.service.address("ingress"));
    let load = Load { simulator: &simulator, notify_url, is_over: AtomicBool::new(false), placed: 0.into() };
    thread::scope(|scope| {
        let running = scope.spawn(|| load.run());
        let over = Over(&load.is_over);
        load.goes_on_for(10);
        // The new key comes first here, beside the old one.
        secrets.switch(&[("key", NEW_KEY), ("previous", KEY)]);
        rewrite(&shop, &only, &both);
        wait_for_count(&shop, APPLIED, 1.0);
        assert_eq!(shop.service.metric(REFUSED), 0.0, "the two files were never seen apart");
        load.goes_on_for(10);
        assert!(key_used(&shop, "previous") > 0.0, "WeChat still has the old one");
        // Then it is changed at WeChat, at once for everything.
        let keys = json!({ "api_key": NEW_KEY, "previous_api_key": null });
        simulator.send("PUT", &format!("/_sim/merchants/{MCH}/keys"), &keys).expect(204);
        let before = key_used(&shop, "current");
        load.goes_on_for(10);
        eventually("the new key verifies", || key_used(&shop, "current") > before + 10.0);
        drop(over);
        running.join().unwrap();
    });
    eventually("every payment is one event", || is_event_of_each(&shop, &simulator));
    let posts = get(simulator.address, "/_sim/notifications?limit=1000").expect(200).json();
    let posts = posts["notifications"].as_array().unwrap();
    assert!(posts.len() >= 30, "{posts:?}");
    // A 503 is no refusal: a machine that is busy answers so, and WeChat comes again.
    let is_refused = |post: &&Value| post["outcome"] == "refused" && post["detail"] != "HTTP 503";
    let refused: Vec<&Value> = posts.iter().filter(is_refused).collect();
    assert_eq!(refused, Vec::<&Value>::new(), "of {} notifications", posts.len());
    let taken = posts.iter().filter(|post| post["outcome"] == "acknowledged").count();
    assert!(taken >= 30, "{taken} of {}", posts.len());
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
    let verified = |document: &str| {
        let labels = format!("mch_id=\"{MCH}\",key=\"previous\",document=\"{document}\"");
        shop.service.metric(&format!("paybell_key_verified_total{{{labels}}}"))
    };
    assert!(verified("notification") > 0.0 && verified("answer") > 0.0);
    assert_eq!(verified("notification") + verified("answer"), key_used(&shop, "previous"));
    shop.service.process.says(&["the previous API key of merchant 1900000109 is still in use"]);
    // At last the old one goes.
    rewrite(&shop, &both, &only);
    wait_for_count(&shop, APPLIED, 2.0);
    let old = Notification::of("OLD", 1999).signed();
    shop.notify(old).expect(401);
    shop.notify(Notification::of("NEW", 1999).signed_by(NEW_KEY, Algorithm::Md5)).expect(200);
    assert!(!shop.service.process.log().contains(NEW_KEY) && !shop.service.process.log().contains(KEY));
}

#[test]
fn a_mended_key_takes_effect_at_once_although_its_merchant_backs_off() {
    // A service that waits never needs less; a busy machine may once need more for the whole.
    assert!((0..3).any(|_| mend_a_key() < Duration::from_secs(6)), "it waited three times");
}

/// How long after the key was mended the order is paid, where its merchant backs off for 8 s and more.
fn mend_a_key() -> Duration {
    let shop = Shop::open(&Settings::default());
    shop.wechat.has_keys(&[NEW_KEY]);
    shop.register_fee("T1", 1999);
    shop.wechat.says("T1", Say::paid("T1", 1999));
    let alarms =
        || shop.service.process.log().matches("every API key of merchant 1900000109 was refused").count();
    eventually("the merchant backs off for 8 s and more", || {
        shop.order_verb("T1", "check?wait=100ms", &json!({}));
        alarms() >= 5
    });
    rewrite(&shop, KEY, NEW_KEY);
    shop.service.process.signal("HUP");
    wait_for_count(&shop, APPLIED, 1.0);
    let mended = Instant::now();
    eventually("the order is paid", || {
        let answer = shop.order_verb("T1", "check?wait=2s", &json!({}));
        answer.status == 200 && answer.json()["state"] == "paid"
    });
    let took = mended.elapsed();
    shop.service.process.says(&["the API key of merchant 1900000109 was replaced"]);
    took
}

#[test]
fn a_removed_merchant_is_refused_and_its_orders_come_back_with_it() {
    let (ours, other) = (
        merchant(MCH, &format!("api_key = \"{KEY}\"")),
        merchant(OTHER_MCH, &format!("api_key = \"{KEY}\"")),
    );
    let shop = Shop::open(&Settings {
        merchants: Some(&format!("{ours}{other}")),
        cadence: &["8s", "1h"],
        ..Settings::default()
    });
    let order = format!("/v1/orders/{OTHER_MCH}/T1");
    shop.wechat.says("T1", Say::paid("T1", 1999));
    // A look that a busy machine has before the merchant is gone learns nothing.
    shop.wechat.holds();
    shop.api("PUT", &order, &json!({ "total_fee": 1999 })).expect(201);
    rewrite(&shop, &other, "");
    shop.service.process.signal("HUP");
    wait_for_count(&shop, APPLIED, 1.0);
    let notification = Notification::of("T1", 1999).with("mch_id", OTHER_MCH).signed();
    shop.notify(notification.clone()).expect(401);
    shop.api("PUT", &format!("/v1/orders/{OTHER_MCH}/T2"), &json!({ "total_fee": 1 })).expect(404);
    let letters = wait_for("its order is put aside by name", || {
        let letters = shop.dead_letters();
        (!letters.is_empty()).then_some(letters)
    });
    assert_eq!(
        (letters[0]["reason"].as_str(), letters[0]["mch_id"].as_str()),
        (Some("unknown_merchant"), Some(OTHER_MCH))
    );
    assert!(letters[0]["detail"].as_str().unwrap().contains(OTHER_MCH));
    assert_eq!(
        shop.service.metric("paybell_notifications_total{mch_id=\"unknown\",result=\"unknown_merchant\"}"),
        1.0
    );
    assert_eq!(shop.log(), Vec::<Value>::new());
    // The other merchant never noticed.
    shop.wechat.lets_go();
    shop.pay_and_notify("OURS", 1999);
    shop.event("OURS", "order.paid");
    // It comes back: its orders are looked at again without a replay, and nothing is left to do.
    let text = fs::read_to_string(shop.config()).unwrap();
    replace(&shop.config(), &format!("{text}{other}"));
    wait_for_count(&shop, APPLIED, 2.0);
    shop.event("T1", "order.paid");
    eventually("the letter is gone", || shop.dead_letters().is_empty());
    shop.notify(notification).expect(200);
    let accepted = format!("paybell_notifications_total{{mch_id=\"{OTHER_MCH}\",result=\"accepted\"}}");
    wait_for_count(&shop, &accepted, 1.0);
}

#[test]
fn what_does_not_pass_the_check_changes_nothing_and_is_told() {
    let shop = Shop::open(&Settings::default());
    let differs = |cause: &str| shop.service.metric(&format!("paybell_config_differs{{cause=\"{cause}\"}}"));
    let loaded_at = shop.service.metric("paybell_config_loaded_timestamp_seconds");
    let sound = fs::read_to_string(shop.config()).unwrap();
    replace(
        &shop.config(),
        &sound.replace("[[merchant]]", "[[merchant]]\napi_kee = \"x\"\nquery_rate = \"fast\""),
    );
    wait_for_count(&shop, REFUSED, 1.0);
    shop.service.process.says(&["api_kee", "query_rate"]);
    assert_eq!((differs("refused"), differs("restart")), (1.0, 0.0));
    let ready = get(shop.service.address("admin"), "/readyz").expect(200);
    assert!(ready.body.starts_with("ready\n") && ready.body.contains("refused"), "{ready:?}");
    assert_eq!(shop.service.metric("paybell_config_loaded_timestamp_seconds"), loaded_at);
    shop.pay_and_notify("T1", 1999);
    shop.event("T1", "order.paid");
    // No TOML at all, then no file at all.
    replace(&shop.config(), "[[merchant");
    wait_for_count(&shop, REFUSED, 2.0);
    fs::remove_file(shop.config()).unwrap();
    wait_for_count(&shop, REFUSED, 3.0);
    shop.pay_and_notify("T2", 1999);
    shop.event("T2", "order.paid");
    assert_eq!(shop.service.metric(REFUSED), 3.0, "one fault is told once");
    replace(&shop.config(), &sound);
    wait_for_count(&shop, UNCHANGED, 1.0);
    assert_eq!(differs("refused"), 0.0);
    assert_eq!(get(shop.service.address("admin"), "/readyz").body, "ready\n");
}

#[test]
fn what_needs_a_restart_is_named_and_the_rest_takes_effect() {
    let shop = Shop::open(&Settings::default());
    let text = fs::read_to_string(shop.config()).unwrap();
    let text = text
        .replace("[\"1h\"]", "[\"2h\"]")
        .replace("[[merchant]]", "[retention]\norders = \"50d\"\n[[merchant]]");
    replace(&shop.config(), &format!("{text}{}", merchant(OTHER_MCH, &format!("api_key = \"{KEY}\""))));
    shop.service.process.signal("HUP");
    wait_for_count(&shop, APPLIED, 1.0);
    shop.service.process.says(&["needs a restart to take effect: retention.orders, schedule.cadence"]);
    assert_eq!(shop.service.metric("paybell_config_differs{cause=\"restart\"}"), 1.0);
    assert!(get(shop.service.address("admin"), "/readyz").expect(200).body.contains("retention.orders"));
    shop.notify(Notification::of("T1", 1999).with("mch_id", OTHER_MCH).signed()).expect(200);
}

#[test]
fn tokens_are_replaced_and_a_storm_of_signals_stops_nothing() {
    let folder = TempDir::new().unwrap();
    let token_file = folder.path().join("token");
    fs::write(&token_file, "first-token\n").unwrap();
    let top = format!("console.token_file = \"{}\"", token_file.display());
    let mut shop = Shop::open(&Settings { top: &top, ..Settings::default() });
    let (console, ingress) = (shop.service.address("console"), shop.service.address("ingress"));
    let status = |token: &str| Request::new("GET", "/v1/events").token(token).send_at_last(console).status;
    assert_eq!((status("first-token"), status("second-token")), (200, 401));
    let (is_over, answered) = (AtomicBool::new(false), AtomicUsize::new(0));
    thread::scope(|scope| {
        let notifying = scope.spawn(|| {
            for number in 0.. {
                let body = Notification::of(&format!("S{number}"), 1999).signed();
                let answer = Request::new("POST", "/notify/pay").xml(body).send_at_last(ingress);
                assert_eq!((answer.status, answer.body.as_str()), (200, SUCCESS), "{answer:?}");
                answered.store(number, Ordering::Relaxed);
                if is_over.load(Ordering::Relaxed) {
                    return;
                }
            }
        });
        let over = Over(&is_over);
        for _ in 0..200 {
            shop.service.process.signal("HUP");
        }
        // The storm goes on while a busy machine answers too few.
        eventually("notifications are answered meanwhile", || {
            shop.service.process.signal("HUP");
            answered.load(Ordering::Relaxed) > 10
        });
        replace(&token_file, "second-token\n");
        shop.service.process.signal("HUP");
        eventually("the new token opens", || status("second-token") == 200);
        assert_eq!(status("first-token"), 401);
        drop(over);
        notifying.join().unwrap();
    });
    let log = shop.service.process.log();
    assert!(!log.contains("first-token") && !log.contains("second-token"));
    shop.service.process.signal("TERM");
    let (ended, log) = shop.service.process.ended();
    assert_eq!(ended.code(), Some(0), "{log}");
}
