//! The examples that consume from RabbitMQ take the rehearsal there, and mistakes are found there too. Each has a queue of
//! its own on the broker that the tests share, and its webhook program answers the check URL over the same database.

use serde_json::Value;
use testkit::servers::{shared_rabbit, unique_prefix};

use crate::harness::wait_for;
use crate::language::{Language, Subscriber};
use crate::mistakes::broken;
use crate::rehearsal::{Ended, SMALL, rehearse};

const AMQP_SCENES: usize = 18;

fn broker() -> String {
    tokio::runtime::Runtime::new().unwrap().block_on(shared_rabbit())
}

/// Rehearses the consumer; `check` answers for its database.
fn rehearse_consumer(consumer: &[String], check: &[String], more: &[&str]) -> Ended {
    let (url, queue) = (broker(), format!("{}.shop", unique_prefix()));
    let asked = Subscriber::start(check, &[]);
    let base = asked.base();
    let variables = [("AMQP_URL", url.as_str()), ("AMQP_QUEUE", &queue), ("AMQP_EXCHANGE", "amq.topic")];
    let consumer = Subscriber::start_in(asked.folder(), consumer, &variables);
    wait_for("the consumer listens", || {
        consumer.log().contains(&format!("listening on {queue}")).then_some(())
    });
    let check = format!("{base}/shipped/{{out_trade_no}}");
    let args = [url.as_str(), "--queue", &queue, "--check-url", &check, "--json"];
    let ended = rehearse(&[&args[..], &SMALL[..], more].concat());
    drop(consumer);
    delete(&url, &queue);
    ended
}

fn delete(url: &str, queue: &str) {
    on_channel(url, async |channel| {
        channel.queue_delete(queue.into(), Default::default()).await.unwrap();
    });
}

/// Does something to the broker.
fn on_channel(url: &str, work: impl AsyncFnOnce(lapin::Channel)) {
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let connection = lapin::Connection::connect(url, Default::default()).await.unwrap();
        work(connection.create_channel().await.unwrap()).await;
    });
}

#[track_caller]
fn passes(language: Language) {
    if !language.is_here() {
        return;
    }
    let ended = rehearse_consumer(&language.command("consumer"), &language.command("webhook"), &[]);
    let passed = ended.scenes("passed");
    assert_eq!(
        (ended.code, passed.len()),
        (Some(0), AMQP_SCENES),
        "{language:?}: {} {}",
        ended.stdout,
        ended.stderr
    );
}

#[test]
fn python_takes_the_awkward_day_from_a_queue() {
    passes(Language::Python);
}

#[test]
fn node_takes_the_awkward_day_from_a_queue() {
    passes(Language::Node);
}

#[test]
fn go_takes_the_awkward_day_from_a_queue() {
    passes(Language::Go);
}

#[test]
fn java_takes_the_awkward_day_from_a_queue() {
    passes(Language::Java);
}

/// Without a name: an exchange of the rehearsal's own, to which the consumer binds its queue when it is there. It does
/// not bind to all types, and need not.
#[test]
fn a_rehearsal_has_an_exchange_of_its_own() {
    if !Language::Python.is_here() {
        return;
    }
    let (url, queue) = (broker(), format!("{}.shop", unique_prefix()));
    let asked = Subscriber::start(&Language::Python.command("webhook"), &[]);
    let check = format!("{}/shipped/{{out_trade_no}}", asked.base());
    let variables =
        [("AMQP_URL", url.as_str()), ("AMQP_QUEUE", &queue), ("AMQP_EXCHANGE", "paybell-rehearsal.events")];
    let consumer = Subscriber::start_in(asked.folder(), &Language::Python.command("consumer"), &variables);
    let ended = rehearse(&[&[url.as_str(), "--check-url", &check, "--json"], &SMALL[..]].concat());
    drop(consumer);
    delete(&url, &queue);
    assert_eq!((ended.code, ended.scenes("passed").len()), (Some(0), AMQP_SCENES), "{ended:?}");
    let report = ended.json();
    let unwanted = |scene: &Value| scene["unwanted"].as_u64().filter(|count| *count > 0);
    let unwanted: Vec<u64> = report["scenes"].as_array().unwrap().iter().filter_map(unwanted).collect();
    assert_eq!(unwanted, [1], "the bill: {report:#}");
}

#[test]
fn an_exchange_that_nobody_listens_to_is_named() {
    let (url, exchange) = (broker(), format!("{}.events", unique_prefix()));
    on_channel(&url, async |channel| {
        let options = lapin::options::ExchangeDeclareOptions { auto_delete: true, ..Default::default() };
        channel
            .exchange_declare(
                exchange.as_str().into(),
                lapin::ExchangeKind::Topic,
                options,
                Default::default(),
            )
            .await
            .unwrap();
        let ended = rehearse(&[&url, "--exchange", &exchange, "--patience", "300ms"]);
        ended.expect(1, &[&format!("no queue takes what is published to exchange {exchange}")]);
        channel.exchange_delete(exchange.as_str().into(), Default::default()).await.unwrap();
    });
}

/// There are no answers in a queue.
#[test]
fn without_a_check_url_nothing_is_judged_in_a_queue() {
    if !Language::Python.is_here() {
        return;
    }
    let (url, queue) = (broker(), format!("{}.shop", unique_prefix()));
    let variables = [("AMQP_URL", url.as_str()), ("AMQP_QUEUE", &queue), ("AMQP_EXCHANGE", "amq.topic")];
    let consumer = Subscriber::start(&Language::Python.command("consumer"), &variables);
    wait_for("the consumer listens", || {
        consumer.log().contains(&format!("listening on {queue}")).then_some(())
    });
    let ended = rehearse(&[url.as_str(), "--queue", &queue, "--only", "paid,mismatch", "--json"]);
    drop(consumer);
    delete(&url, &queue);
    assert_eq!((ended.code, ended.scenes("not_judged").len()), (Some(0), 2), "{ended:?}");
}

#[test]
fn mistakes_are_found_in_a_queue_too() {
    if !Language::Python.is_here() {
        return;
    }
    for (mistake, found) in [("duplicate", vec!["at-once", "duplicate"]), ("mismatch", vec!["mismatch"])] {
        let consumer = [broken(mistake), vec!["--amqp".to_owned()]].concat();
        let ended = rehearse_consumer(&consumer, &broken("none"), &[]);
        assert_eq!(ended.scenes("failed").into_iter().collect::<Vec<_>>(), found, "{mistake}: {ended:?}");
    }
}

/// It crashes on a message, which comes back for ever: what comes behind it is not judged as if it had been read.
#[test]
fn a_consumer_that_is_stuck_fails_however_little_it_ships() {
    if !Language::Python.is_here() {
        return;
    }
    let consumer = [broken("denied"), vec!["--amqp".to_owned()]].concat();
    let more = ["--only", "denied,mismatch", "--patience", "3s"];
    let ended = rehearse_consumer(&consumer, &broken("none"), &more);
    assert_eq!((ended.code, ended.json()["stuck"].as_bool()), (Some(1), Some(true)), "{ended:?}");
    assert!(ended.stderr.contains("the last message was never shipped"), "{ended:?}");
}
