//! The mode of a cluster: it belongs to the ledger. A process that was left in shadow, or started in it by mistake, beside
//! live ones withholds nothing; the take-over and the way back are one command, and tell nothing twice.

use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::servers::{Proxy, Redis, wait};

use crate::harness::{
    Ran, Say, Service, Settings, Shop, eventually, process::Running, run, shop::without_repeats, wait_for,
};

const SHADOW: &str = "mode = \"shadow\"\n";
const LIVE: &str = "mode = \"live\"\n";

/// Long enough after a registration for everybody to wait for it.
const CADENCE: &[&str] = &["1s", "1h"];

/// What a process logs that Redis does not answer in time: it starts, and follows Redis' word when that comes.
const UNDECIDED: &str = "does not say yet in which mode the installation is";
const TRIES_MAX: usize = 5;

/// So many orders that no worker of two is left out by chance.
const ORDERS: usize = 24;

/// The shop's configuration with another line, beside it.
fn copy(shop: &Shop, name: &str, from: &str, to: &str) -> PathBuf {
    let text = std::fs::read_to_string(shop.config()).unwrap();
    assert!(text.contains(from), "{from} in {text}");
    let path = shop.folder.path().join(name);
    std::fs::write(&path, text.replace(from, to)).unwrap();
    path
}

/// Payments that nobody notifies: only polls find them.
#[track_caller]
fn sell(shop: &Shop, name: &str) -> Vec<String> {
    let orders: Vec<String> = (0..ORDERS).map(|number| format!("{name}{number}")).collect();
    for order in &orders {
        shop.wechat.says(order, Say::paid(order, 1999));
        shop.register_fee(order, 1999);
    }
    orders
}

/// Each of them was told, once, and nothing of them was withheld.
#[track_caller]
fn are_told_once(shop: &Shop, orders: &[String]) {
    for order in orders {
        assert_eq!(shop.event(order, "order.paid")["data"]["learned_by"], "poll");
        assert_eq!(shop.types_of(order), ["order.paid"]);
    }
    let withheld = withheld(shop);
    assert!(orders.iter().all(|order| !withheld.contains(order)), "{withheld:?}");
}

#[track_caller]
fn withheld(shop: &Shop) -> Vec<String> {
    let page = shop.get("/v1/events?shadow=only&limit=1000").expect(200).json();
    let subject = |row: &Value| row["event"]["subject"].as_str().unwrap().to_owned();
    without_repeats(page["events"].as_array().unwrap().clone()).iter().map(subject).collect()
}

fn mode(shop: &Shop, more: &[&str]) -> Ran {
    run(&[&["mode", "--config", &shop.config().display().to_string()], more].concat())
}

#[track_caller]
fn is_in_mode(shop: &Shop, mode_wanted: &str) -> bool {
    let ran = mode(shop, &["--json"]);
    ran.expect(0, &[]);
    serde_json::from_str::<Value>(&ran.stdout).unwrap()["mode"] == mode_wanted
}

#[track_caller]
fn ends(process: &mut Running) {
    process.signal("TERM");
    assert_eq!(process.ended().0.code(), Some(0));
}

/// This process does not start, and says so. A busy machine may keep Redis' answer back: then it starts, and is asked for
/// once more.
#[track_caller]
fn is_refused(args: &[&str], words: &[&str]) {
    for _ in 0..TRIES_MAX {
        let mut process = Running::start(args);
        eventually("it gave up", || !process.is_running() || process.log().contains(UNDECIDED));
        if !process.is_running() {
            let (status, log) = process.ended();
            assert_eq!(status.code(), Some(2), "{log}");
            for word in words {
                assert!(log.contains(word), "{word:?} in {log}");
            }
            return;
        }
    }
    panic!("Redis answered none of {TRIES_MAX} in time");
}

fn is_at(service: &Service, sample: &str, value: f64) -> bool {
    (service.metric(sample) - value).abs() < 0.1
}

#[test]
fn a_worker_that_is_started_in_shadow_beside_live_ones_withholds_nothing() {
    let shop = Shop::open(&Settings { top: LIVE, cadence: CADENCE, ..Settings::default() });
    let config = copy(&shop, "shadow.toml", LIVE, SHADOW).display().to_string();
    let mut stray = Running::start(&["run", "worker", "--config", &config]);
    eventually("it works, or gave up", || {
        !stray.is_running() || stray.log().contains("everything is decided and nothing is told")
    });
    let orders = sell(&shop, "POLLED");
    are_told_once(&shop, &orders);
    drop(stray);
    // It gives up, and so does every other role that touches the ledger.
    for role in ["worker", "scheduler", "console"] {
        is_refused(
            &["run", role, "--config", &config],
            &[
                "shadow.toml: mode:",
                "is live since",
                "Set mode = \"live\"",
                "run: paybell mode shadow --config",
            ],
        );
    }
}

#[test]
fn one_command_takes_over_and_back_and_a_process_that_nobody_restarts_follows() {
    let roles = &["ingress", "scheduler", "console"];
    let settings = Settings { top: SHADOW, cadence: CADENCE, args: roles, ..Settings::default() };
    let mut shop = Shop::open(&settings);
    mode(&shop, &[]).expect(0, &["shadow since", "as its first process was configured"]);
    let left = copy(&shop, "left.toml", SHADOW, SHADOW);
    // The only worker, all the time: it decides everything, and its configuration never changes.
    let worker = Service::start_role(&left, "worker");
    let before = sell(&shop, "BEFORE");
    eventually("the shadow period is withheld", || withheld(&shop).len() == ORDERS);

    // A process that is ahead of the others does not tell what their handler tells.
    let ahead = copy(&shop, "ahead.toml", SHADOW, LIVE).display().to_string();
    is_refused(&["run", "worker", "--config", &ahead], &["ahead.toml: mode:", "run: paybell mode live"]);

    mode(&shop, &["live", "--reason", "everybody is told"]).expect(0, &["live since", "everybody is told"]);
    eventually("the worker follows", || is_at(&worker, "paybell_mode_differs", 1.0));
    assert!(is_at(&worker, "paybell_shadow", 0.0), "{}", worker.metrics());
    worker.process.says(&["its configuration says mode =", "change it before the next start"]);
    let during = sell(&shop, "DURING");
    are_told_once(&shop, &during);
    shop.wechat.says("NOTIFIED", Say::paid("NOTIFIED", 1999));
    eventually("the ingress beside other roles follows too", || {
        shop.notify_once(crate::harness::Notification::of("NOTIFIED", 1999).signed()).status == 200
    });

    // The others are restarted, one forgotten.
    ends(&mut shop.service.process);
    std::fs::copy(&ahead, shop.config()).unwrap();
    shop.start_again();
    let after = sell(&shop, "AFTER");
    are_told_once(&shop, &after);
    assert_eq!(shop.types_of("NOTIFIED"), ["order.paid"]);
    for order in &before {
        assert_eq!(shop.types_of(order), [""; 0], "the shadow period is not told");
    }
    let acts = shop.get("/v1/audit?action=mode.change").expect(200).json();
    assert_eq!(
        [&acts["acts"][0]["object"], &acts["acts"][0]["reason"], &acts["acts"][0]["outcome"]],
        ["mode/live", "everybody is told", "done"],
        "{acts}"
    );

    // Back, with everything running: nothing is told any more, nothing of before is told again.
    mode(&shop, &["shadow"]).expect(0, &["shadow since"]);
    mode(&shop, &["shadow"]).expect(0, &["it was shadow before"]);
    eventually("everybody follows", || {
        is_at(&worker, "paybell_shadow", 1.0) && is_at(&shop.service, "paybell_shadow", 1.0)
    });
    let back = sell(&shop, "BACK");
    eventually("they are withheld", || withheld(&shop).len() == 2 * ORDERS);
    for order in &back {
        assert_eq!(shop.types_of(order), [""; 0]);
    }
}

#[test]
fn a_redis_that_was_away_or_lost_everything_hears_the_mode_from_who_knows_it() {
    let redis = wait(Redis::start());
    let settings = Settings { top: LIVE, cadence: CADENCE, redis: Some(redis.url()), ..Settings::default() };
    let shop = Shop::open(&settings);
    let proxy = Proxy::start(redis.port());
    let shadow = copy(&shop, "shadow.toml", LIVE, SHADOW);
    let text = std::fs::read_to_string(&shadow).unwrap();
    std::fs::write(&shadow, text.replace(&redis.url(), &proxy.through(&redis.url()))).unwrap();

    // It starts, because Redis may come any moment; then Redis' word holds.
    proxy.refuse();
    let stray = Service::start_role(&shadow, "worker");
    stray.process.says(&[UNDECIDED]);
    proxy.speak();
    eventually("it follows", || is_at(&stray, "paybell_mode_differs", 1.0));
    let orders = sell(&shop, "STRAY");
    are_told_once(&shop, &orders);

    wait(redis.cli(&["FLUSHALL"]));
    eventually("the installation is what it was", || is_in_mode(&shop, "live"));
    let orders = sell(&shop, "EMPTIED");
    are_told_once(&shop, &orders);
    assert!(is_at(&stray, "paybell_shadow", 0.0), "{}", stray.metrics());
    let config = shadow.display().to_string();
    is_refused(&["run", "worker", "--config", &config], &["shadow.toml: mode:"]);
    // A later change is known to all of them, whatever Redis forgets.
    mode(&shop, &["shadow"]).expect(0, &[]);
    eventually("everybody follows", || {
        is_at(&stray, "paybell_shadow", 1.0) && is_at(&shop.service, "paybell_shadow", 1.0)
    });
    wait(redis.cli(&["FLUSHALL"]));
    eventually("the change is remembered", || is_in_mode(&shop, "shadow"));
    let answer = wait_for("who changed it is remembered too", || {
        let page = mode(&shop, &["--json"]);
        Some(serde_json::from_str::<Value>(&page.stdout).unwrap()).filter(|page| page["by"].is_string())
    });
    assert_eq!((&answer["configured"], &answer["mode"]), (&json!("live"), &json!("shadow")));
}
