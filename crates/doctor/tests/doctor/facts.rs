//! What the facts of RabbitMQ and Redis mean. The facts themselves are asked of real servers where the probes live.

use std::time::Duration;

use doctor::{rabbit, redis};
use rabbitmq::Trouble;
use rabbitmq::probe::{self as amqp, Denied, Emitting, Load, Publishing, Queue, Unseen};
use rabbitmq::topology::{Finding as Difference, Kind};
use redis_ledger::probe as ledger;

use super::{brief, complete, one};

fn broker() -> amqp::Facts {
    amqp::Facts {
        host: "127.0.0.1".to_owned(),
        is_tls: false,
        user: "guest".to_owned(),
        version: Some("3.13.7".to_owned()),
        topology: Ok(Vec::new()),
        queues: Vec::new(),
        publishing: Publishing::Works,
        emitting: Emitting::Works,
    }
}

fn of_broker(change: impl FnOnce(&mut amqp::Facts), subscribers: &[&str]) -> Vec<doctor::Finding> {
    let mut facts = broker();
    change(&mut facts);
    let subscribers: Vec<String> = subscribers.iter().map(|name| (*name).to_owned()).collect();
    let findings = rabbit::judge(&Ok(facts), "paybell", &subscribers);
    complete(&findings);
    findings
}

fn queue(name: &str, load: Result<(u32, u32), Unseen>) -> Queue {
    Queue { name: name.to_owned(), load: load.map(|(messages, consumers)| Load { messages, consumers }) }
}

#[test]
fn a_good_broker_is_good() {
    let expected = [
        "ok rabbitmq-version-good",
        "ok rabbitmq-publishes",
        "ok rabbitmq-events-good",
        "ok rabbitmq-topology-good",
        "not-looked-at subscriber-queues-unseen",
    ];
    assert_eq!(brief(&of_broker(|_| {}, &[])), expected);
}

#[test]
fn versions_and_logins_are_judged() {
    let version = |text: Option<&str>| {
        let text = text.map(str::to_owned);
        of_broker(|facts| facts.version = text, &[])[0].code
    };
    assert_eq!(version(Some("3.9.13")), "rabbitmq-version-old");
    assert_eq!(version(Some("3.10.8")), "rabbitmq-version-aging");
    assert_eq!(version(Some("4.1.0")), "rabbitmq-version-good");
    assert_eq!(version(None), "rabbitmq-version-unknown");
    let findings = of_broker(|facts| facts.host = "mq.shop.example".to_owned(), &[]);
    one(&findings, "rabbitmq-guest");
    one(&findings, "rabbitmq-plain");
}

#[test]
fn a_broker_that_cannot_be_asked_says_why() {
    let code = |error| {
        let findings = rabbit::judge(&Err(error), "paybell", &[]);
        complete(&findings);
        findings[0].code
    };
    let away = |trouble| amqp::Unasked::Away { trouble, cause: "the broker's words".to_owned() };
    assert_eq!(code(away(Trouble::Port)), "rabbitmq-unreachable");
    assert_eq!(code(away(Trouble::Certificate)), "rabbitmq-unreachable");
    assert_eq!(code(away(Trouble::Login)), "rabbitmq-login-refused");
    assert_eq!(code(away(Trouble::VirtualHost)), "rabbitmq-vhost-refused");
}

#[test]
fn a_broker_that_takes_nothing_is_told() {
    let blocked = Publishing::Blocked("low on memory".to_owned());
    let findings = of_broker(|facts| facts.publishing = blocked, &[]);
    assert!(one(&findings, "rabbitmq-alarm").seen.en.contains("low on memory"));
    let failed = Publishing::Failed("no answer".to_owned());
    one(&of_broker(|facts| facts.publishing = failed, &[]), "rabbitmq-publish-failed");
}

#[test]
fn what_may_not_be_published_to_subscribers_is_told() {
    let of = |emitting| of_broker(|facts| facts.emitting = emitting, &[]);
    let cause = "ACCESS_REFUSED - access to topic".to_owned();
    let keys = vec!["refund.closed.1900000109".to_owned(), "bill.reconciled.1900000109".to_owned()];
    let some = of(Emitting::Denied { keys, cause: cause.clone() });
    let told = one(&some, "rabbitmq-events-denied");
    assert!(told.seen.en.contains("refund.closed.1900000109 bill.reconciled.1900000109 (ACCESS"), "{told:?}");
    let all = of(Emitting::Denied { keys: Vec::new(), cause });
    assert!(one(&all, "rabbitmq-events-denied").seen.en.contains("everything"));
    one(&of(Emitting::Failed("no answer".to_owned())), "rabbitmq-events-unseen");
    let missing = of(Emitting::Missing);
    assert!(missing.iter().all(|finding| !finding.code.starts_with("rabbitmq-events")), "{missing:?}");
}

#[test]
fn differences_of_the_topology_are_told() {
    let (name, kind) = ("paybell.checks.0".to_owned(), Kind::QuorumQueue);
    let missing = Difference::Missing { name: name.clone(), kind };
    let difference = "inequivalent arg 'x-max-age'".to_owned();
    let different = Difference::Different { name: name.clone(), kind, difference };
    let ignored = Difference::Ignored { name, kind, argument: "x-dead-letter-strategy" };
    let findings = of_broker(|facts| facts.topology = Ok(vec![missing, different, ignored]), &[]);
    for code in ["rabbitmq-topology-missing", "rabbitmq-topology-different", "rabbitmq-topology-ignored"] {
        one(&findings, code);
    }
    let stream = || ("paybell.events.log".to_owned(), Kind::Stream, "inequivalent arg".to_owned());
    let (name, kind, difference) = stream();
    let findings =
        of_broker(|facts| facts.topology = Ok(vec![Difference::Aged { name, kind, difference }]), &[]);
    assert!(one(&findings, "rabbitmq-log-age").remedy.en.contains("policy"));
    let (name, kind, difference) = stream();
    let different = Difference::Different { name, kind, difference };
    let findings = of_broker(|facts| facts.topology = Ok(vec![different]), &[]);
    assert!(
        one(&findings, "rabbitmq-topology-different").remedy.en.contains("republish"),
        "a log is never empty"
    );
    let denied = |is_permission| Denied { cause: "ACCESS_REFUSED".to_owned(), is_permission };
    let findings = of_broker(|facts| facts.topology = Err(denied(true)), &[]);
    assert!(one(&findings, "rabbitmq-permission").remedy.en.contains(r"USER '^paybell\.' "));
    one(&of_broker(|facts| facts.topology = Err(denied(false)), &[]), "rabbitmq-topology-unseen");
}

#[test]
fn a_user_who_may_not_declare_is_told_so_and_no_more_than_that() {
    let uncompared = |partition: u8| Difference::Uncompared {
        name: format!("paybell.checks.{partition}"),
        kind: Kind::QuorumQueue,
    };
    let findings = of_broker(|facts| facts.topology = Ok((0..4).map(uncompared).collect()), &[]);
    assert!(one(&findings, "rabbitmq-topology-uncompared").seen.en.starts_with("4 "));
    assert!(brief(&findings).contains(&"hint rabbitmq-topology-uncompared".to_owned()));
    let missing = Difference::Missing { name: "paybell.dead".to_owned(), kind: Kind::QuorumQueue };
    let findings = of_broker(|facts| facts.topology = Ok(vec![uncompared(0), missing]), &[]);
    assert!(one(&findings, "rabbitmq-topology-forbidden").remedy.en.contains("import_definitions"));
}

#[test]
fn queues_that_nobody_reads_are_told() {
    let queues = vec![
        queue("paybell.checks.0", Ok((3, 0))),
        queue("paybell.checks.1", Ok((3, 1))),
        queue("paybell.due.0", Ok((0, 0))),
        queue("paybell.dead", Ok((2, 0))),
    ];
    let findings = of_broker(|facts| facts.queues = queues, &[]);
    assert_eq!(one(&findings, "rabbitmq-no-consumer").about.en, "paybell.checks.0");
    one(&findings, "rabbitmq-dead-checks");
    for (load, expected) in [
        (Ok((5_000, 0)), "warning subscriber-queue-unread"),
        (Ok((5, 0)), "hint subscriber-queue-unread"),
        (Ok((5, 1)), "ok subscriber-queue-good"),
    ] {
        let findings = of_broker(|facts| facts.queues = vec![queue("shop", load)], &["shop"]);
        assert_eq!(brief(&findings).last().unwrap(), expected);
    }
}

#[test]
fn a_subscribers_queue_that_does_not_tell_says_why() {
    let cause = || "as the broker said it".to_owned();
    for (unseen, expected) in [
        (Unseen::Missing, "error subscriber-queue-missing"),
        (Unseen::Unserved(cause()), "error subscriber-queue-down"),
        (Unseen::Denied(cause()), "not-looked-at subscriber-queue-denied"),
        (Unseen::Exclusive(cause()), "warning subscriber-queue-exclusive"),
        (Unseen::Late(cause()), "not-looked-at subscriber-queue-unseen"),
        (Unseen::Failed(cause()), "not-looked-at subscriber-queue-unseen"),
    ] {
        let is_missing = unseen == Unseen::Missing;
        let findings = of_broker(|facts| facts.queues = vec![queue("shop", Err(unseen))], &["shop"]);
        let last = findings.last().unwrap();
        assert_eq!(brief(&findings).last().unwrap(), expected);
        assert!(!last.remedy.en.is_empty() && last.about.en == "shop");
        for seen in [&last.seen.en, &last.seen.zh] {
            assert_eq!(seen.contains(&cause()), !is_missing, "{last:?}");
        }
    }
}

#[test]
fn queues_of_ours_that_do_not_tell_are_told_once() {
    let down = || Unseen::Unserved("home node is down".to_owned());
    let queues = vec![
        queue("paybell.checks.0", Err(down())),
        queue("paybell.checks.1", Err(down())),
        queue("paybell.due.0", Err(Unseen::Late("no answer".to_owned()))),
        queue("paybell.due.1", Err(Unseen::Denied("refused".to_owned()))),
        queue("paybell.orders", Err(Unseen::Missing)),
    ];
    let findings = of_broker(|facts| facts.queues = queues, &[]);
    let told = one(&findings, "rabbitmq-queue-down");
    assert_eq!(told.about.en, "paybell.checks.0");
    assert!(told.seen.en.starts_with("2 queues") && told.seen.en.ends_with("home node is down"), "{told:?}");
    let told = one(&findings, "rabbitmq-queues-unseen");
    assert!(told.seen.en.starts_with("2 queues") && told.seen.en.ends_with("no answer"), "{told:?}");
    assert_eq!(brief(&findings)[0], "ok rabbitmq-version-good");
    assert!(
        findings.iter().all(|finding| finding.about.en != "paybell.orders"),
        "the topology tells what is missing"
    );
}

#[test]
fn the_remedy_for_a_missing_permission_names_the_prefix() {
    let denied = Denied { cause: "ACCESS_REFUSED".to_owned(), is_permission: true };
    let facts = amqp::Facts { topology: Err(denied), ..broker() };
    let findings = rabbit::judge(&Ok(facts), "shop.pay", &[]);
    let remedy = &one(&findings, "rabbitmq-permission").remedy;
    for text in [&remedy.en, &remedy.zh] {
        let command = r"USER '^shop\.pay\.' '^(shop\.pay\..*|amq\.default)$' '^shop\.pay\.'";
        assert!(text.contains(command) && !text.contains("paybell"), "{text}");
    }
}

fn redis_facts() -> ledger::Facts {
    ledger::Facts {
        server: "127.0.0.1:6379".to_owned(),
        version: Some("7.0.15".to_owned()),
        is_master: true,
        is_cluster: false,
        eviction: Some("noeviction".to_owned()),
        memory_bytes_max: Some(1_000_000_000),
        memory_bytes_used: Some(10_000_000),
        has_append_only_file: true,
        fsync: Some("always".to_owned()),
        snapshots: Some("3600 1".to_owned()),
        is_disk_failing: false,
        replicas: 1,
        min_replicas: Some(1),
        skew_ms: Some(3),
        round_trip: Duration::from_millis(1),
    }
}

fn of_redis(change: impl FnOnce(&mut ledger::Facts)) -> Vec<doctor::Finding> {
    let mut facts = redis_facts();
    change(&mut facts);
    let findings = redis::judge(&Ok(facts));
    complete(&findings);
    findings
}

#[test]
fn a_good_redis_is_good() {
    let expected = [
        "ok redis-version-good",
        "ok redis-persistence-good",
        "ok redis-eviction-good",
        "ok redis-memory-good",
        "ok redis-replicas-good",
        "ok clock-good",
    ];
    assert_eq!(brief(&of_redis(|_| {})), expected);
}

#[test]
fn a_redis_that_forgets_is_told() {
    let code = |change: fn(&mut ledger::Facts), code: &str| {
        let findings = of_redis(change);
        one(&findings, code).severity.as_str()
    };
    assert_eq!(code(|facts| facts.is_disk_failing = true, "redis-disk-failing"), "error");
    assert_eq!(code(|facts| facts.has_append_only_file = false, "redis-no-aof"), "warning");
    let nothing = |facts: &mut ledger::Facts| {
        (facts.has_append_only_file, facts.snapshots) = (false, Some(String::new()));
    };
    assert_eq!(code(nothing, "redis-keeps-nothing"), "error");
    assert_eq!(code(|facts| facts.fsync = Some("no".to_owned()), "redis-fsync-never"), "warning");
    let alone = |facts: &mut ledger::Facts| {
        (facts.fsync, facts.replicas, facts.min_replicas) = (Some("everysec".to_owned()), 0, Some(0));
    };
    assert_eq!(code(alone, "redis-fsync-second"), "hint");
    assert_eq!(code(|facts| facts.eviction = Some("allkeys-lru".to_owned()), "redis-evicts"), "error");
    assert_eq!(code(|facts| facts.eviction = None, "redis-eviction-unknown"), "not-looked-at");
}

#[test]
fn a_redis_without_room_replicas_or_the_right_role_is_told() {
    let code = |change: fn(&mut ledger::Facts), code: &str| {
        let findings = of_redis(change);
        one(&findings, code).severity.as_str()
    };
    assert_eq!(code(|facts| facts.memory_bytes_max = Some(0), "redis-memory-unbounded"), "hint");
    assert_eq!(code(|facts| facts.memory_bytes_used = Some(850_000_000), "redis-memory-full"), "warning");
    assert_eq!(code(|facts| facts.memory_bytes_used = Some(990_000_000), "redis-memory-full"), "error");
    assert_eq!(code(|facts| facts.memory_bytes_max = None, "redis-memory-unknown"), "not-looked-at");
    assert_eq!(code(|facts| facts.min_replicas = Some(0), "redis-min-replicas"), "hint");
    assert_eq!(code(|facts| facts.replicas = 0, "redis-min-replicas"), "error");
    assert_eq!(code(|facts| facts.is_master = false, "redis-is-replica"), "error");
    assert_eq!(code(|facts| facts.is_cluster = true, "redis-cluster"), "error");
    assert_eq!(code(|facts| facts.version = Some("6.0.16".to_owned()), "redis-version-old"), "error");
    assert_eq!(code(|facts| facts.skew_ms = Some(-9_000), "clock-wrong"), "error");
    assert_eq!(code(|facts| facts.skew_ms = None, "clock-unknown"), "not-looked-at");
}

#[test]
fn a_redis_that_cannot_be_asked_says_why() {
    let code = |error| {
        let findings = redis::judge(&Err(error));
        complete(&findings);
        findings[0].code
    };
    assert_eq!(code(ledger::Unasked::Away("connection refused".to_owned())), "redis-unreachable");
    assert_eq!(code(ledger::Unasked::Denied("WRONGPASS".to_owned())), "redis-denied");
}
