//! The promise under SIGKILL: the process dies at random moments under load, comes back on the same folder, and no
//! payment is lost, told under two ids or told twice.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    net::SocketAddr,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
pub use testkit::servers::free_address;

use crate::harness::{MCH, Settings, Shop, Simulator, is_full, wait_for, wait_within};

/// A lease that died with its owner ends after a minute; then its order is looked at again.
const RECOVERY: Duration = Duration::from_secs(150);

/// So many are sold whatever the machine makes of the time.
const ORDERS_MIN: usize = 200;

#[test]
fn no_acknowledged_payment_is_lost_or_told_twice_however_often_the_process_is_killed() {
    let is_full = is_full();
    let (kills, orders) = if is_full { (100, 4_000) } else { (20, 400) };
    let seed = seed();
    eprintln!("PAYBELL_KILL_SEED={seed}");
    let simulator = Simulator::start();
    simulator.misbehaves(&json!({
        "seed": seed, "attempt_lost": 0.2, "duplicate": 0.3, "duplicate_copies": 2, "simultaneous": 0.2,
        "tampered": 0.1, "unsigned": 0.1, "forged": 0.1, "query_slow": 0.3, "query_slow_ms": 100,
        "query_http_500": 0.05, "query_reset": 0.05, "query_system_error": 0.05,
    }));
    let ingress = free_address();
    let mut shop = Shop::open(&Settings {
        cadence: &["1s", "1s", "2s", "2s", "4s", "4s", "8s", "16s", "30s", "1h"],
        ingress: &ingress.to_string(),
        base_url: Some(format!("http://{}", simulator.address)),
        ..Settings::default()
    });
    let (is_over, mut registered) = (AtomicBool::new(false), HashSet::new());
    thread::scope(|scope| {
        let payer = scope.spawn(|| sell(&simulator, orders, ingress, &is_over));
        let mut random = Random(seed);
        for _ in 0..kills {
            // The moment is random on purpose: anything may be in hand.
            let until =
                Instant::now() + Duration::from_millis(random.below(if is_full { 1500 } else { 700 }));
            register_some(&shop, &simulator, random.below(4), &mut registered);
            wait_for("the moment to die", || (Instant::now() >= until).then_some(()));
            shop.service.process.kill();
            shop.start_again();
        }
        is_over.store(true, Ordering::SeqCst);
        payer.join().unwrap();
    });
    simulator.heal();
    register_some(&shop, &simulator, 0, &mut registered);
    let truth = simulator.truth();
    let paid: BTreeSet<String> = truth
        .iter()
        .filter(|order| order["trade_state"] == "SUCCESS")
        .map(|order| order["out_trade_no"].as_str().unwrap().to_owned())
        .collect();
    assert!(paid.len() >= ORDERS_MIN, "there was load: {} payments", paid.len());
    let begun = Instant::now();
    let told = wait_within(RECOVERY * 2, "every payment is told", || {
        let told = paid_in(&shop);
        let missing: Vec<_> = paid.iter().filter(|order| !told.contains_key(*order)).collect();
        let is_in_time = begun.elapsed() < RECOVERY;
        assert!(missing.is_empty() || is_in_time, "lost: {missing:?}; {:#?}", shop.record(missing[0]));
        missing.is_empty().then_some(told)
    });
    eprintln!("{} payments told {} s after the last kill", told.len(), begun.elapsed().as_secs());

    let log = shop.log();
    assert_eq!(told.keys().cloned().collect::<BTreeSet<_>>(), paid, "exactly the payments");
    for (order, ids) in &told {
        assert_eq!(ids.len(), 1, "{order} has one order.paid under one id: {ids:?}");
    }
    compare_amounts(&log, &truth);
    let ids: HashSet<&str> = log.iter().map(|row| row["event"]["id"].as_str().unwrap()).collect();
    if !crate::ENGINE.is_cluster() {
        assert_eq!(ids.len(), log.len(), "every row is a fact of its own");
    }
    let acknowledged = simulator.acknowledged();
    assert!(acknowledged.len() >= 50, "notifications got through: {}", acknowledged.len());
    assert!(acknowledged.is_subset(&paid), "nothing else was acknowledged");
    assert_eq!(simulator.stats()["forgeries_acknowledged"], 0);
    assert!(simulator.stats()["forgeries_sent"].as_i64() > Some(0));
    assert_eq!(shop.dead_letters(), Vec::<Value>::new());
    if !crate::ENGINE.is_cluster() {
        assert_eq!(integrity(&shop.folder.path().join("data")), "ok");
    }
}

/// Amounts are the true ones, and a registration outlives every kill.
fn compare_amounts(log: &[Value], truth: &[Value]) {
    let fees: HashMap<&str, &Value> =
        truth.iter().map(|order| (order["out_trade_no"].as_str().unwrap(), &order["total_fee"])).collect();
    for row in log {
        let data = &row["event"]["data"];
        let order = data["out_trade_no"].as_str().unwrap();
        assert_eq!(&&data["total_fee"], fees.get(order).unwrap(), "{order}");
        assert!(data["registered"] == true || !order.starts_with("SILENT"), "{order} keeps its registration");
    }
}

/// A crash between append and clear may put an event into the log again; the same id makes it one event.
fn paid_in(shop: &Shop) -> BTreeMap<String, BTreeSet<String>> {
    let mut told: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for row in shop.log() {
        let event = &row["event"];
        assert_eq!(event["type"], "order.paid", "{event}");
        let (order, id) = (event["subject"].as_str().unwrap(), event["id"].as_str().unwrap());
        told.entry(order.to_owned()).or_default().insert(id.to_owned());
    }
    told
}

/// Registers all orders that are paid in silence, or nobody could know of them, and a quarter of the others; some are
/// told before they are registered.
fn register_some(shop: &Shop, simulator: &Simulator, quarter: u64, registered: &mut HashSet<String>) {
    for order in simulator.truth() {
        let number = order["out_trade_no"].as_str().unwrap();
        let is_mine = order["total_fee"].as_u64().unwrap() % 4 == quarter;
        if (number.starts_with("SILENT") || is_mine) && registered.insert(number.to_owned()) {
            shop.register(number, &json!({ "total_fee": order["total_fee"] })).expect(201);
        }
    }
}

/// What SQLite says of its file, read beside the running process.
fn integrity(data_dir: &Path) -> String {
    let file = rusqlite::Connection::open(data_dir.join("paybell.db")).unwrap();
    file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap()
}

/// Places and pays orders until there are all, or enough and it is over. One in four is paid in silence.
fn sell(simulator: &Simulator, orders: usize, ingress: SocketAddr, is_over: &AtomicBool) {
    for number in 0..orders {
        if number >= ORDERS_MIN && is_over.load(Ordering::SeqCst) {
            return;
        }
        let is_silent = number % 4 == 0;
        let order = format!("{}{number:05}", if is_silent { "SILENT" } else { "T" });
        let new = json!({
            "mch_id": MCH, "out_trade_no": order, "total_fee": 100 + number,
            "notify_url": format!("http://{ingress}/notify/pay"),
        });
        simulator.send("POST", "/_sim/orders", &new).expect(201);
        let path = format!("/_sim/orders/{MCH}/{order}/pay");
        simulator.send("POST", &path, &json!({ "silent": is_silent })).expect(200);
        let next = Instant::now() + Duration::from_millis(15);
        wait_for("the next customer", || (Instant::now() >= next).then_some(()));
    }
}

pub fn seed() -> u64 {
    match std::env::var("PAYBELL_KILL_SEED") {
        Ok(text) => text.parse().unwrap(),
        Err(_) => u64::try_from(crate::harness::now_ms()).unwrap(),
    }
}

/// splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (bits ^ (bits >> 31)) % bound
    }
}
