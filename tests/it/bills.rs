//! The third net: the bill of the next morning, against a simulator that makes it. Payments that nobody told and no poll
//! found come out once; what is not ours never does.

use std::{fs, path::PathBuf, time::Duration};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    harness::{MCH, Ran, Settings, Shop, Simulator, eventually, now_ms, run, wait_for, wait_within},
    life::assert_valid,
};

/// A lease that died with its owner ends after a minute; then its day is looked at again.
const RECOVERY: Duration = Duration::from_secs(150);
/// Bills may be had as soon as their day is over, whatever the time of day this is run at.
const AT_MIDNIGHT: &str = "reconcile.after = \"00:00\"";

/// Midnight in Beijing, so many days ago: `2026-11-19 00:00:00`.
fn midnight(days_ago: i64) -> String {
    const DAY_MS: i64 = 86_400_000;
    const EIGHT_HOURS_MS: i64 = 8 * 3_600_000;
    let today = (now_ms() + EIGHT_HOURS_MS).div_euclid(DAY_MS) * DAY_MS - EIGHT_HOURS_MS;
    wechat_pay::beijing::format_spaced(today - days_ago * DAY_MS).unwrap()
}

fn day(days_ago: i64) -> String {
    midnight(days_ago)[..10].to_owned()
}

fn yesterday() -> String {
    day(1)
}

/// Since the day before yesterday, all of it is ours.
pub fn ours() -> String {
    format!("active_since = \"{}T00:00:00+08:00\"\nquery_rate = \"1000/s\"\n", day(2))
}

/// WeChat, which was paid yesterday and told nobody.
pub fn wechat_of_yesterday(orders: usize) -> Simulator {
    let simulator = Simulator::start();
    simulator.send("PUT", "/_sim/settings", &json!({ "bill_ready_s": 0 })).expect(200);
    for number in 0..orders {
        pay(&simulator, &order(number), 1999);
    }
    simulator
}

fn pay(simulator: &Simulator, order: &str, fee: u64) {
    let noon = format!("{}120000", yesterday().replace('-', ""));
    let notify_url = "http://127.0.0.1:1/nowhere";
    let placed = json!({ "mch_id": MCH, "out_trade_no": order, "total_fee": fee, "notify_url": notify_url });
    simulator.send("POST", "/_sim/orders", &placed).expect(201);
    let paid = json!({ "silent": true, "time_end": noon });
    simulator.send("POST", &format!("/_sim/orders/{MCH}/{order}/pay"), &paid).expect(200);
}

pub fn order(number: usize) -> String {
    format!("Y{number:05}")
}

/// A shop with a folder of bills of its own.
struct Desk {
    shop: Shop,
    folder: TempDir,
}

impl std::ops::Deref for Desk {
    type Target = Shop;
    fn deref(&self) -> &Shop {
        &self.shop
    }
}

impl std::ops::DerefMut for Desk {
    fn deref_mut(&mut self) -> &mut Shop {
        &mut self.shop
    }
}

fn open(simulator: &Simulator, top: &str, merchant: &str) -> Desk {
    let folder = TempDir::new().unwrap();
    let shop = Shop::open(&Settings {
        top: &format!("{top}\nreconcile.folder = \"{}\"", folder.path().display()),
        merchant,
        base_url: Some(format!("http://{}", simulator.address)),
        ..Settings::default()
    });
    Desk { shop, folder }
}

/// `paybell reconcile` on the machine of the service.
pub fn reconcile(shop: &Shop, more: &[&str]) -> Ran {
    let (config, api) =
        (shop.config().display().to_string(), format!("http://{}", shop.service.address("console")));
    let day = yesterday();
    let usual = ["reconcile", "--config", &config, "--api", &api, "--lang", "en", "--date", &day];
    run(&[&usual, more].concat())
}

fn bill(shop: &Shop) -> Option<Value> {
    let answer = shop.get(&format!("/v1/bills/{MCH}/{}", yesterday()));
    (answer.status == 200).then(|| answer.json())
}

fn bill_in(shop: &Shop, state: &str) -> Value {
    wait_within(RECOVERY, &format!("the bill is {state}"), || {
        bill(shop).filter(|bill| bill["state"] == state)
    })
}

fn told(shop: &Shop, kind: &str) -> Vec<Value> {
    let rows = shop.log().into_iter().map(|row| row["event"].clone());
    rows.filter(|event| event["type"] == kind).collect()
}

#[test]
fn what_no_notification_and_no_poll_brought_the_next_bill_brings_once() {
    let simulator = wechat_of_yesterday(5);
    let shop = open(&simulator, "reconcile.automatic = false", &ours());
    // Two were registered, at another price the one.
    shop.register_fee(&order(0), 1999);
    shop.register_fee(&order(1), 500);
    let day = yesterday();
    reconcile(&shop, &[])
        .expect(1, &["payment only in the bill", "paid by the bill", &order(4), "asked about 5"]);
    for number in [0, 2, 3, 4] {
        let event = shop.event(&order(number), "order.paid");
        assert_eq!(
            (&event["data"]["learned_by"], &event["data"]["total_fee"]),
            (&json!("bill"), &json!(1999))
        );
        assert_eq!(event["data"]["registered"], number == 0);
    }
    assert_eq!(
        shop.event(&order(1), "order.mismatch")["data"]["mismatch"],
        "amount",
        "a bill proves no price"
    );
    let first = told(&shop, "bill.reconciled");
    assert_eq!((first.len(), &first[0]["subject"]), (1, &json!(day)));
    let data = &first[0]["data"];
    assert_eq!((&data["billed"], &data["rows"], &data["totals_agree"]), (&json!(5), &json!(5), &json!(true)));
    let sums = &data["sums"][0];
    assert_eq!((&sums["gross"], &sums["refunds"]), (&json!(9995), &json!(0)));
    assert_eq!(sums["net"].as_i64().unwrap() + sums["fees"].as_i64().unwrap(), 9995);
    let metric = |name: &str| shop.service.metric(&format!("{name}{{mch_id=\"{MCH}\"}}"));
    if !crate::ENGINE.is_cluster() {
        assert_eq!((metric("paybell_billed_total"), metric("paybell_bills_overdue")), (5.0, 0.0));
    }
    let again = reconcile(&shop, &["--json"]);
    again.expect(1, &[]);
    let document: Value = serde_json::from_str(&again.stdout).unwrap();
    let result = &document["bills"][0]["result"];
    assert_eq!((&result["agreed"], &result["counts"]), (&json!(4), &json!({ "payment_held_here": 1 })));
    shop.order_verb(&order(1), "accept", &json!({})).expect(202);
    shop.event(&order(1), "order.paid");
    reconcile(&shop, &[]).expect(0, &["5 rows agree", "0 differences"]);
    let told_of = |number: usize| shop.types_of(&order(number));
    assert!([0, 2, 3, 4].into_iter().all(|number| told_of(number) == ["order.paid"]));
    assert_eq!(told(&shop, "bill.reconciled").len(), 3, "each result is an event of its own");
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
    assert_valid(&shop);
}

#[test]
fn by_itself_it_looks_for_every_bill_since_it_is_responsible() {
    let simulator = wechat_of_yesterday(3);
    let shop = open(&simulator, AT_MIDNIGHT, &ours());
    let done = bill_in(&shop, "done");
    assert_eq!((&done["result"]["checks"], &done["asked"]), (&json!(3), &Value::Null), "nobody asked");
    (0..3).for_each(|number| drop(shop.event(&order(number), "order.paid")));
    let page = shop.get(&format!("/v1/bills?mch_id={MCH}")).expect(200).json();
    let days: Vec<(&str, bool)> = page["bills"]
        .as_array()
        .unwrap()
        .iter()
        .map(|day| (day["state"].as_str().unwrap(), day["may_be_empty"].as_bool().unwrap()))
        .collect();
    assert_eq!(days, [("done", false), ("waiting", true)], "on the day before nothing happened");
    let metric = shop.service.metric(&format!("paybell_bills_overdue{{mch_id=\"{MCH}\"}}"));
    assert_eq!(metric, 0.0, "a day without business alarms nobody");
}

#[test]
fn the_bill_of_a_day_before_the_installation_brings_out_nothing() {
    let simulator = wechat_of_yesterday(4);
    let shop = open(&simulator, AT_MIDNIGHT, "");
    reconcile(&shop, &[]).expect(1, &["4 payments are reported only: paid before active_since"]);
    assert_eq!(told(&shop, "bill.reconciled")[0]["data"]["billed"], 0);
    assert_eq!((told(&shop, "order.paid").len(), told(&shop, "order.mismatch").len()), (0, 0));
    assert!((0..4).all(|number| shop.record(&order(number)).is_none()), "not even looked at");
    let queries = simulator.truth().iter().map(|order| order["queries"].as_u64().unwrap()).sum::<u64>();
    assert_eq!(queries, 0);
}

#[test]
fn a_bill_that_is_not_made_yet_or_comes_in_half_proves_nothing() {
    let simulator = wechat_of_yesterday(2);
    let shop = open(&simulator, "reconcile.automatic = false", &ours());
    simulator.send("PUT", "/_sim/settings", &json!({ "bill_ready_s": 86_400 })).expect(200);
    reconcile(&shop, &[]).expect(1, &["is not reconciled", "after 10:00"]);
    simulator.send("PUT", "/_sim/settings", &json!({ "bill_ready_s": 0 })).expect(200);
    for (fault, outcome) in [("wrong_sign", "not_whole"), ("answer_lost", "not_"), ("html", "not_reached")] {
        simulator.misbehaves(&json!({ "download_bill": { fault: 1.0 } }));
        reconcile(&shop, &[]).expect(1, &["is not reconciled", outcome]);
    }
    assert_eq!((told(&shop, "bill.reconciled").len(), told(&shop, "order.paid").len()), (0, 0));
    assert!(bill(&shop).unwrap().get("result").is_none(), "never half a verdict");
    simulator.heal();
    reconcile(&shop, &[]).expect(1, &["2 differences"]);
    (0..2).for_each(|number| drop(shop.event(&order(number), "order.paid")));
}

#[test]
fn a_process_that_is_killed_while_it_reconciles_leaves_nothing_out_and_tells_nothing_twice() {
    const ORDERS: usize = 600;
    let simulator = wechat_of_yesterday(ORDERS);
    simulator.misbehaves(&json!({ "download_bill": { "slow": 1.0, "slow_ms": 60_000 } }));
    let mut shop = open(&simulator, AT_MIDNIGHT, &ours());
    wait_for("it asks for the bill", || {
        bill(&shop).filter(|bill| bill["progress"]["stage"] == "downloading")
    });
    shop.service.process.kill();
    simulator.heal();
    shop.start_again();
    for share in [1, 3] {
        wait_within(RECOVERY, "some are told", || {
            (told(&shop, "order.paid").len() >= ORDERS * share / 8).then_some(())
        });
        shop.service.process.kill();
        shop.start_again();
    }
    bill_in(&shop, "done");
    let all: Vec<Value> = wait_within(RECOVERY, "all are told", || {
        Some(told(&shop, "order.paid")).filter(|told| {
            let orders: std::collections::BTreeSet<&str> =
                told.iter().map(|event| event["subject"].as_str().unwrap()).collect();
            orders.len() == ORDERS
        })
    });
    let ids = |events: &[Value]| -> std::collections::BTreeSet<String> {
        events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(ids(&all).len(), ORDERS, "each under one id");
    assert!(all.iter().all(|event| event["data"]["learned_by"] == "bill"));
    let reconciled = told(&shop, "bill.reconciled");
    assert_eq!(ids(&reconciled).len(), 1, "one result, one event: {reconciled:?}");
    assert_eq!(reconciled[0]["data"]["billed"], ORDERS);
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
}

#[test]
fn a_person_brings_a_bill_while_the_service_runs_and_while_it_does_not() {
    let simulator = wechat_of_yesterday(2);
    let mut shop = open(&simulator, "reconcile.automatic = false", &ours());
    reconcile(&shop, &[]).expect(1, &["2 differences"]);
    (0..2).for_each(|number| drop(shop.event(&order(number), "order.paid")));
    let mine = kept(&shop);
    let mine = mine.to_str().unwrap();
    reconcile(&shop, &["--file", mine]).expect(0, &["2 rows agree"]);
    eventually("the log settles", || told(&shop, "bill.reconciled").len() == 2);
    let half = shop.shop.folder.path().join("half.csv.gz");
    let whole = fs::read(mine).unwrap();
    fs::write(&half, &whole[..whole.len() / 2]).unwrap();
    reconcile(&shop, &["--file", half.to_str().unwrap()]).expect(1, &["not_whole"]);
    reconcile(&shop, &["--file", "/nowhere/bill.csv"]).expect(1, &["/nowhere/bill.csv"]);
    reconcile(&shop, &["--mch-id", "1900000222"]).expect(2, &["not in the configuration"]);
    shop.service.process.kill();
    let config = shop.config().display().to_string();
    let date = yesterday();
    let alone = ["reconcile", "--config", &config, "--date", &date, "--lang", "zh", "--file", mine];
    run(&alone).expect(0, &["2 行一致", "0 处差异"]);
    let today = day(0);
    run(&["reconcile", "--config", &config, "--date", &today]).expect(2, &["is not over"]);
    shop.start_again();
    assert_eq!(told(&shop, "bill.reconciled").len(), 2, "the same result is the same event");
}

/// The bill that the last download left, copied to where a person has it.
fn kept(desk: &Desk) -> PathBuf {
    let file = bill(desk).unwrap()["file"].as_str().unwrap().to_owned();
    let mine = desk.shop.folder.path().join("mine.csv.gz");
    fs::copy(desk.folder.path().join(file), &mine).unwrap();
    mine
}
