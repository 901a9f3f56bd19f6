//! Faults while orders are placed and refunds are made: nothing can be paid that we do not know, no money goes back
//! twice or not at all, and each fact is told under one id.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::servers::{Rabbit, RabbitCluster, Redis, Sentinels, free_address, shared_rabbit, wait};

use crate::{
    broker::led_elsewhere,
    harness::{MCH, Simulator, get, is_full, skip, wait_for, wait_within},
    promise,
    rig::{Rig, Setup},
    trade::{self, REFUND_FEE, Trade},
};

/// Trade before and after the fault.
const CALM: Duration = Duration::from_secs(3);
/// Orders that were served whole before the fault begins.
const SERVED_BEFORE: usize = 10;
/// Until a refund asked for after the fault is told.
const RECOVERY_MAX: Duration = Duration::from_secs(90);

/// WeChat answers late, or does what it is asked and its answer is lost: at any moment much is under way.
fn bad_day() -> Value {
    json!({
        "attempt_lost": 0.3, "refund_attempt_lost": 0.3, "query_slow": 0.2, "query_slow_ms": 100,
        "unified_order": { "slow": 0.5, "slow_ms": 200, "answer_lost": 0.1, "system_error_after": 0.05 },
        "refund": { "slow": 0.5, "slow_ms": 300, "lost": 0.05, "answer_lost": 0.1, "system_error_after": 0.05 },
        "refund_query": { "slow": 0.2, "slow_ms": 100 },
    })
}

#[test]
fn placings_and_refunds_go_on_when_a_broker_a_redis_or_a_process_dies() {
    if !is_full() {
        skip("much trade, killed three times over: tests/run --full");
        return;
    }
    let (rabbit, redis) = (wait(Rabbit::start()), wait(Redis::start()));
    let mut shop = Shop::open(&rabbit.url(), &redis.url());
    shop.suffer("RabbitMQ killed and restarted", |_| {
        wait(rabbit.kill());
        wait(rabbit.start_again());
    });
    shop.suffer("Redis killed and restarted (AOF)", |_| {
        wait(redis.kill());
        wait(redis.start_again());
    });
    shop.suffer("SIGKILL of a worker", |rig| Rig::kill(&mut rig.workers));
}

#[test]
fn placings_and_refunds_go_on_through_a_failover_by_sentinels() {
    if !is_full() {
        skip("a failover takes its time: tests/run --full");
        return;
    }
    let master = wait(Redis::start());
    let replica = wait(Redis::replica_of(&master));
    let sentinels = wait(Sentinels::start(3, &master));
    let mut shop = Shop::open(&wait(shared_rabbit()), &sentinels.url());
    shop.suffer("Sentinel failover", |_| {
        wait(master.kill());
        wait_for("the replica is promoted", || {
            (wait(sentinels.master_port(0)) == replica.port()).then_some(())
        });
    });
}

#[test]
fn placings_and_refunds_go_on_when_the_leader_of_a_three_node_cluster_is_killed() {
    if !is_full() {
        skip("three brokers take half a minute to start: tests/run --full");
        return;
    }
    let (cluster, redis) = (wait(RabbitCluster::start(3)), wait(Redis::start()));
    let mut shop = Shop::open(&cluster.node(0).url(), &redis.url());
    let leader = led_elsewhere(&cluster, &shop.rig.prefix);
    shop.suffer("the leader of a three-node cluster killed", |_| wait(cluster.node(leader).kill()));
}

/// A rig whose merchant may refund, and whose notifications WeChat sends by itself.
struct Shop {
    rig: Rig,
    /// Orders so far.
    served: usize,
    _papers: TempDir,
}

/// What is true at WeChat and told by us of the orders of one fault.
struct Account {
    refunds: BTreeMap<String, Value>,
    told: BTreeMap<(String, String), Vec<Value>>,
}

impl Shop {
    #[track_caller]
    fn open(rabbitmq: &str, redis: &str) -> Self {
        let papers = TempDir::new().unwrap();
        let setup = Setup {
            merchant: certificate(&papers),
            front: Some(free_address()),
            ..Setup::of(rabbitmq, redis)
        };
        let rig = Rig::with(&setup, Simulator::start());
        Self { rig, served: 0, _papers: papers }
    }

    /// One fault amid trade, then everything is compared with what WeChat knows.
    #[track_caller]
    fn suffer(&mut self, fault: &str, strike: impl FnOnce(&mut Rig)) {
        self.rig.simulator.misbehaves(&bad_day());
        let first = self.served;
        let trade = Trade::start(&self.rig, first);
        wait_for("the trade runs", || {
            (self.account(first).refunded_and_told() >= SERVED_BEFORE).then_some(())
        });
        strike(&mut self.rig);
        let (ended, fresh) = (Instant::now(), trade.next());
        wait_within(RECOVERY_MAX, &format!("{fault}: a refund asked for after the fault is told"), || {
            (self.account(fresh).refunded_and_told() > 0).then_some(())
        });
        let (recovered, calm) = (Instant::now(), Instant::now());
        wait_for("some more trade", || (calm.elapsed() >= CALM).then_some(()));
        let heard = trade.heard();
        self.served = trade.stop();
        self.rig.simulator.heal();
        let told = self.balances(first, fault);
        eprintln!(
            "FAULT {fault}, amid placings and refunds: {} orders; recovered {:.1} s after its end, all told after \
             {:.1} s; shops asked again after {heard:?}",
            self.served - first,
            recovered.duration_since(ended).as_secs_f64(),
            told.duration_since(ended).as_secs_f64(),
        );
    }

    /// Every promise about the orders from `first` on. Gives the moment when all was told.
    #[track_caller]
    fn balances(&self, first: usize, fault: &str) -> Instant {
        self.all_are_known(fault);
        let numbers = first..self.served;
        assert!(numbers.len() >= 20, "{fault}: there was trade: {numbers:?}");
        let mut account = self.account(first);
        let begun = Instant::now();
        let told = wait_within(promise::TOLD_WITHIN + Duration::from_secs(30), fault, || {
            account = self.account(first);
            let missing: Vec<_> = numbers.clone().filter(|number| !account.has_all_of(*number)).collect();
            if begun.elapsed() > promise::TOLD_WITHIN {
                let one = missing.first().map(|number| self.rig.record(&trade::order(*number)));
                assert!(missing.is_empty(), "{fault}: {} orders lack something: {one:#?}", missing.len());
            }
            missing.is_empty().then(Instant::now)
        });
        for number in numbers {
            account.is_right(number, fault);
        }
        assert_eq!(account.refunds.len(), self.served - first, "{fault}: one refund for each wish");
        assert_eq!(self.rig.dead_letters(), json!([]), "{fault}");
        told
    }

    /// Nothing can be paid that we do not know, and not for another amount.
    #[track_caller]
    fn all_are_known(&self, fault: &str) {
        for truth in self.rig.simulator.truth() {
            let order = truth["out_trade_no"].as_str().unwrap();
            let record = wait_for(&format!("{fault}: {order} can be asked for"), || {
                let answer = self.rig.api("GET", &format!("/v1/orders/{MCH}/{order}"), None)?;
                (answer.status < 500).then_some(answer)
            });
            let record = record.expect(200).json();
            assert_eq!(record["registration"]["total_fee"], truth["total_fee"], "{fault}: {record}");
        }
    }

    fn account(&self, first: usize) -> Account {
        // What was told is read before the truth: a refund that ends in between is no contradiction.
        let mut told = BTreeMap::<_, Vec<Value>>::new();
        for event in promise::log(&self.rig, "").unwrap_or_default() {
            let kind = event["type"].as_str().unwrap().to_owned();
            let order = event["subject"].as_str().unwrap().to_owned();
            told.entry((order, kind)).or_default().push(event);
        }
        let mut refunds = BTreeMap::new();
        let mut after = "0".to_owned();
        loop {
            let path = format!("/_sim/refunds?limit=1000&after={after}");
            let page = get(self.rig.simulator.address, &path).expect(200).json();
            for refund in page["refunds"].as_array().unwrap() {
                let number = refund["out_refund_no"].as_str().unwrap().to_owned();
                if number >= trade::refund(first) {
                    assert!(refunds.insert(number, refund.clone()).is_none(), "made twice: {refund}");
                }
            }
            if page["has_more"] != true {
                break;
            }
            after = page["next"].as_str().unwrap().to_owned();
        }
        Account { refunds, told }
    }
}

/// What is told of an order that was paid and of which a part went back.
const KINDS: [&str; 3] = ["order.paid", "refund.succeeded", "order.refunded"];

impl Account {
    fn told(&self, number: usize, kind: &str) -> &[Value] {
        self.told.get(&(trade::order(number), kind.to_owned())).map_or(&[], Vec::as_slice)
    }

    fn has_all_of(&self, number: usize) -> bool {
        KINDS.iter().all(|kind| !self.told(number, kind).is_empty())
    }

    /// Refunds from this account's beginning on that WeChat made and we told.
    fn refunded_and_told(&self) -> usize {
        let is_told = |number: &&String| {
            let number: usize = number.trim_start_matches('R').parse().unwrap();
            self.has_all_of(number)
        };
        self.refunds.keys().filter(is_told).count()
    }

    #[track_caller]
    fn is_right(&self, number: usize, fault: &str) {
        let refund = self.refunds.get(&trade::refund(number));
        let refund = refund.unwrap_or_else(|| panic!("{fault}: WeChat knows no refund of {number}"));
        assert_eq!(refund["refund_fee"], REFUND_FEE, "{fault}: {refund}");
        assert_eq!(refund["out_trade_no"], trade::order(number), "{fault}: {refund}");
        assert_eq!(refund["refund_status"], "SUCCESS", "{fault}: {refund}");
        for kind in KINDS {
            let events = self.told(number, kind);
            let ids: BTreeSet<&str> = events.iter().map(|event| event["id"].as_str().unwrap()).collect();
            assert_eq!(ids.len(), 1, "{fault}: {kind} under several ids: {events:#?}");
            for event in events {
                assert_eq!(event["data"]["total_fee"], trade::fee(number), "{fault}: {event}");
            }
        }
        let mine = |event: &Value| event["data"]["out_refund_no"] == trade::refund(number);
        assert!(self.told(number, "refund.succeeded").iter().all(mine), "{fault}: {number}");
        let order = trade::order(number);
        let kinds = self.told.keys().filter(|(told, _)| *told == order).count();
        assert_eq!(kinds, KINDS.len(), "{fault}: {order} is told nothing else");
    }
}

/// As the merchant platform gives it: it names the merchant.
fn certificate(papers: &TempDir) -> String {
    let mut params = rcgen::CertificateParams::new([]).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, MCH);
    let key = rcgen::KeyPair::generate().unwrap();
    let [cert_file, key_file] = ["cert.pem", "key.pem"].map(|name| papers.path().join(name));
    std::fs::write(&cert_file, params.self_signed(&key).unwrap().pem()).unwrap();
    std::fs::write(&key_file, key.serialize_pem()).unwrap();
    let (cert_file, key_file) = (cert_file.display(), key_file.display());
    format!("client_cert_file = \"{cert_file}\"\nclient_key_file = \"{key_file}\"\n")
}
