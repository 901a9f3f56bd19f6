//! What subscribers of the exchange get, and that none of them can stop another, or us.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use lapin::ExchangeKind;
use lapin::options::{ExchangeDeclareOptions, ExchangeDeleteOptions};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use paybell_core::event::{Event, EventType};
use paybell_core::ports::EventFilter;
use testkit::servers::{Rabbit, shared_rabbit, unique_prefix};
use tokio::time::timeout;

use stand::{MCH_ID, Outsider, Process, append_at_last, config, distinct, event, paid, until};

/// So long a confirm of a subscriber's copy is waited for, a tenth of a second less.
const CONFIRM: Duration = Duration::from_millis(1_900);

/// So often a scene is played that a machine may disturb.
const ROUNDS: u32 = 5;

/// Plays a scene under a prefix of its own until the machine kept no append of it back: a confirm that comes after two
/// seconds counts as held back by a subscriber, whoever kept it. What is late by itself is late every time.
async fn in_time(scene: impl AsyncFn(String) -> Option<()>) {
    for _ in 0..ROUNDS {
        if scene(unique_prefix()).await.is_some() {
            return;
        }
    }
    panic!("an append was late in each of {ROUNDS} rounds");
}

/// Appends, and tells how long that took; nothing where it was kept back as long as a confirm is waited for.
async fn append(process: &Process, events: &[Event]) -> Option<Duration> {
    let begun = Instant::now();
    let appended = process.log.append(events).await;
    let took = begun.elapsed();
    if appended.is_err() || took >= CONFIRM {
        println!("{appended:?} after {took:?}");
        return None;
    }
    Some(took)
}

fn exchange(prefix: &str) -> String {
    format!("{prefix}.events")
}

#[tokio::test]
async fn an_event_reaches_subscribers_as_the_contract_says() {
    let url = shared_rabbit().await;
    in_time(async |prefix| {
        let process = Process::start(config(&url, &prefix)).await;
        let outsider = Outsider::at(&url).await;
        let (all_paid, of_merchant) = (format!("{prefix}.sub.paid"), format!("{prefix}.sub.merchant"));
        outsider.subscribe(&all_paid, &exchange(&prefix), "order.paid.#", &[]).await;
        outsider.subscribe(&of_merchant, &exchange(&prefix), &format!("*.*.{MCH_ID}"), &[]).await;
        let (paid, closed) = (event(1, EventType::Paid), event(2, EventType::Closed));
        append(&process, &[paid.clone(), closed.clone()]).await?;

        let delivery = outsider.get(&all_paid).await.expect("appending waits for subscribers");
        let properties = &delivery.properties;
        assert_eq!(delivery.exchange.as_str(), exchange(&prefix));
        assert_eq!(delivery.routing_key.as_str(), format!("order.paid.{MCH_ID}"));
        assert_eq!(
            properties.content_type().as_ref().map(ShortString::as_str),
            Some("application/cloudevents+json")
        );
        assert_eq!(properties.message_id().as_ref().unwrap().as_str(), paid.id.to_string());
        assert_eq!(properties.kind().as_ref().unwrap().as_str(), "order.paid");
        assert_eq!(*properties.delivery_mode(), Some(2));
        assert_eq!(String::from_utf8(delivery.data).unwrap(), paid.to_json());
        assert_eq!(outsider.get(&all_paid).await.map(|delivery| delivery.routing_key), None);
        assert_eq!(outsider.events(&of_merchant).await, [paid, closed]);
        assert_eq!(process.engine.fanout_refused(), 0);
        process.engine.close().await;
        Some(())
    })
    .await;
}

#[tokio::test]
async fn what_was_decided_in_shadow_is_kept_in_the_stream_and_told_to_no_subscriber() {
    let url = shared_rabbit().await;
    in_time(async |prefix| {
        let process = Process::start(config(&url, &prefix)).await;
        let outsider = Outsider::at(&url).await;
        let all = format!("{prefix}.sub.all");
        outsider.subscribe(&all, &exchange(&prefix), "#", &[]).await;
        let (told, mut withheld) = (event(1, EventType::Paid), event(2, EventType::Paid));
        withheld.order_mut().unwrap().shadow = true;
        let last = event(3, EventType::Closed);
        append(&process, &[withheld.clone(), told.clone()]).await?;
        append(&process, &[withheld.clone()]).await?;
        append(&process, std::slice::from_ref(&last)).await?;
        assert_eq!(outsider.events(&all).await, [told.clone(), last.clone()]);
        assert_eq!(
            process.rest(None, &EventFilter::default(), 10).await,
            [withheld.clone(), told, withheld, last]
        );
        process.engine.close().await;
        Some(())
    })
    .await;
}

#[tokio::test]
async fn a_subscriber_that_refuses_everything_stops_nobody() {
    let url = shared_rabbit().await;
    in_time(async |prefix| {
        let process = Process::start(config(&url, &prefix)).await;
        let outsider = Outsider::at(&url).await;
        let (healthy, full) = (format!("{prefix}.sub.healthy"), format!("{prefix}.sub.full"));
        outsider.subscribe(&healthy, &exchange(&prefix), "#", &[]).await;
        let refuses = [
            ("x-max-length", AMQPValue::LongInt(1)),
            ("x-overflow", AMQPValue::LongString("reject-publish".into())),
        ];
        outsider.subscribe(&full, &exchange(&prefix), "#", &refuses).await;
        let events = paid(0..200);
        for event in &events {
            // None is late: a refusal delays nobody.
            append(&process, std::slice::from_ref(event)).await?;
        }
        assert_eq!(outsider.events(&healthy).await, events);
        assert_eq!(outsider.events(&full).await, events[..1]);
        assert_eq!(process.engine.fanout_refused(), 199);
        let mut in_log = process.rest(None, &Default::default(), 1000).await;
        in_log.sort_by_key(|event| event.subject.clone());
        assert_eq!(in_log, events, "nothing is repeated, nothing is missing");
        process.engine.close().await;
        Some(())
    })
    .await;
}

/// Stops or lets go on the process of a queue at the broker: it takes messages and confirms none.
async fn at_queue(rabbit: &Rabbit, what: &str, queue: &str) {
    let name = format!("rabbit_misc:r(<<\"/\">>, queue, <<\"{queue}\">>)");
    rabbit
        .ctl(&[
            "eval",
            &format!("{{ok, Q}} = rabbit_amqqueue:lookup({name}), sys:{what}(amqqueue:get_pid(Q))."),
        ])
        .await;
}

#[tokio::test]
async fn a_confirm_that_is_held_back_delays_one_append_by_two_seconds() {
    let rabbit = Rabbit::start().await;
    in_time(async |prefix| {
        let process = Process::start(config(&rabbit.url(), &prefix)).await;
        let outsider = Outsider::at(&rabbit.url()).await;
        let (healthy, stuck) = (format!("{prefix}.sub.healthy"), format!("{prefix}.sub.stuck"));
        outsider.subscribe(&healthy, &exchange(&prefix), "#", &[]).await;
        outsider.subscribe(&stuck, &exchange(&prefix), "#", &[]).await;
        at_queue(&rabbit, "suspend", &stuck).await;

        let events = paid(0..101);
        let begun = Instant::now();
        let delayed = process.log.append(&events[..1]).await;
        let first = begun.elapsed();
        assert!(first > CONFIRM, "{first:?}");
        // An append ends with an error after little more, where the machine adds to it.
        if delayed.is_err() || first > CONFIRM * 2 {
            println!("{delayed:?} after {first:?}");
            return None;
        }
        let mut slowest = Duration::ZERO;
        for event in &events[1..] {
            // None is late: nobody waits a second time.
            slowest = slowest.max(append(&process, std::slice::from_ref(event)).await?);
        }
        println!("first append {first:?}, the slowest of the next hundred {slowest:?}");
        until("every held-back confirm is counted", async || process.engine.fanout_refused() == 101).await;
        assert_eq!(outsider.events(&healthy).await, events);
        at_queue(&rabbit, "resume", &stuck).await;
        assert_eq!(outsider.events(&stuck).await, events);
        assert_eq!(process.engine.fanout_refused(), 101, "each is counted once");
        process.engine.close().await;
        Some(())
    })
    .await;
}

#[tokio::test]
async fn appends_under_way_when_a_confirm_is_held_back_are_all_let_go() {
    let rabbit = Rabbit::start().await;
    in_time(async |prefix| {
        let process = Process::start(config(&rabbit.url(), &prefix)).await;
        let outsider = Outsider::at(&rabbit.url()).await;
        let stuck = format!("{prefix}.sub.stuck");
        outsider.subscribe(&stuck, &exchange(&prefix), "#", &[]).await;
        at_queue(&rabbit, "suspend", &stuck).await;
        let mut appends = tokio::task::JoinSet::new();
        for event in paid(0..400) {
            let log = process.log.clone();
            appends.spawn(async move { (log.append(&[event]).await, Instant::now()) });
        }
        let (appended, ended): (Vec<_>, Vec<_>) = appends.join_all().await.into_iter().unzip();
        // However slow the machine is: who waits a second time ends two seconds after those who waited once.
        let apart = *ended.iter().max().unwrap() - *ended.iter().min().unwrap();
        let failed = appended.iter().filter(|appended| appended.is_err()).count();
        println!("{failed} failed, the last ended {apart:?} after the first");
        at_queue(&rabbit, "resume", &stuck).await;
        process.engine.close().await;
        (failed == 0 && apart < CONFIRM).then_some(())
    })
    .await;
}

/// What was logged, as text.
#[derive(Clone, Default)]
struct Logged(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Logged {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Logged {
    fn count(&self, words: &str) -> usize {
        String::from_utf8_lossy(&self.0.lock().unwrap()).matches(words).count()
    }
}

/// What this process logs, for all tests together: what one thread hears, another one's silence may end.
fn logged() -> &'static Logged {
    static LOGGED: OnceLock<Logged> = OnceLock::new();
    LOGGED.get_or_init(|| {
        let logged = Logged::default();
        let writer = logged.clone();
        tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).init();
        logged
    })
}

#[tokio::test]
async fn a_connection_given_up_for_a_stuck_subscriber_is_told_once_with_what_to_do() {
    let logged = logged();
    let (rabbit, prefix) = (Rabbit::start().await, unique_prefix());
    let process = Process::start(config(&rabbit.url(), &prefix)).await;
    let outsider = Outsider::at(&rabbit.url()).await;
    let stuck = format!("{prefix}.sub.stuck");
    outsider.subscribe(&stuck, &exchange(&prefix), "#", &[]).await;
    at_queue(&rabbit, "suspend", &stuck).await;
    let events = paid(0..500);
    let given_up = "away for fanout: too many events without a confirm";
    let appending = async {
        while logged.count(given_up) < 2 {
            // While there is no connection it fails, and is repeated.
            drop(process.log.append(&events).await);
        }
    };
    timeout(Duration::from_secs(400), appending).await.expect("the connection is given up twice");
    assert_eq!(
        logged.count("Look for the queue with `rabbitmqctl list_queues"),
        1,
        "said once while it lasts"
    );
    at_queue(&rabbit, "resume", &stuck).await;
    process.engine.close().await;
}

#[tokio::test]
async fn an_exchange_deleted_under_us_is_declared_again_and_the_event_published() {
    let url = shared_rabbit().await;
    in_time(async |prefix| {
        let process = Process::start(config(&url, &prefix)).await;
        let outsider = Outsider::at(&url).await;
        let queue = format!("{prefix}.sub");
        append(&process, &paid(0..1)).await?;
        for round in 0..5 {
            let (options, name) = (ExchangeDeleteOptions::default(), exchange(&prefix));
            outsider.channel.exchange_delete(name.as_str().into(), options).await.unwrap();
            append(&process, &paid(round..round + 1)).await?;
            let options = ExchangeDeclareOptions { durable: true, passive: true, ..Default::default() };
            let declared = outsider.channel.exchange_declare(
                name.as_str().into(),
                ExchangeKind::Topic,
                options,
                FieldTable::default(),
            );
            declared.await.expect("it is there again");
            outsider.subscribe(&queue, &name, "#", &[]).await;
            let next: Vec<Event> = paid(10 + round..11 + round);
            append(&process, &next).await?;
            assert_eq!(outsider.events(&queue).await, next);
        }
        assert_eq!(process.engine.fanout_refused(), 0);
        process.engine.close().await;
        Some(())
    })
    .await;
}

/// A broker with a user who may do everything.
async fn with_user() -> (Rabbit, String) {
    let rabbit = Rabbit::start().await;
    rabbit.ctl(&["add_user", "ours", "secret"]).await;
    rabbit.ctl(&["set_permissions", "-p", "/", "ours", ".*", ".*", ".*"]).await;
    let url = rabbit.url().replace("guest:guest", "ours:secret");
    (rabbit, url)
}

#[tokio::test]
async fn an_exchange_that_may_not_be_written_to_stops_no_event_and_is_told_once() {
    let logged = logged();
    let ((rabbit, url), prefix) = (with_user().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    let outsider = Outsider::at(&rabbit.url()).await;
    let queue = format!("{prefix}.sub");
    outsider.subscribe(&queue, &exchange(&prefix), "#", &[]).await;
    let all_but_it = format!("^(?!{}$)", exchange(&prefix).replace('.', "\\."));
    rabbit.ctl(&["set_permissions", "-p", "/", "ours", ".*", &all_but_it, ".*"]).await;
    // The broker remembers for a channel what was permitted on it.
    rabbit.ctl(&["close_all_user_connections", "ours", "other permissions"]).await;
    until("the log is open again", async || process.state().is_ok()).await;
    let events = paid(0..50);
    for event in &events {
        process.append(std::slice::from_ref(event)).await;
    }
    let mut in_log = process.rest(None, &EventFilter::default(), 1000).await;
    in_log.dedup();
    assert_eq!(in_log, events, "emitted, and but for the connection's end once");
    assert_eq!(process.engine.fanout_refused(), 50);
    assert_eq!(outsider.events(&queue).await, []);
    let begun =
        format!("everything may not be published to {}: rabbitmq.url: the user may not", exchange(&prefix));
    let over = format!("{} takes everything again", exchange(&prefix));
    assert_eq!((logged.count(&begun), logged.count(&over)), (1, 0), "told once");

    rabbit.ctl(&["set_permissions", "-p", "/", "ours", ".*", ".*", ".*"]).await;
    let next = event(99, EventType::Paid);
    until("subscribers get events again", async || {
        process.append(std::slice::from_ref(&next)).await;
        outsider.events(&queue).await.contains(&next)
    })
    .await;
    until("a confirm says so", async || {
        process.append(std::slice::from_ref(&next)).await;
        logged.count(&over) > 0
    })
    .await;
    assert_eq!((logged.count(&begun), logged.count(&over)), (1, 1));
    process.engine.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_topic_that_may_not_be_written_stops_no_other() {
    logged();
    let ((rabbit, url), prefix) = (with_user().await, unique_prefix());
    let topics = ["set_topic_permissions", "-p", "/", "ours", &exchange(&prefix), "^order\\.paid\\.", ".*"];
    rabbit.ctl(&topics).await;
    let process = Process::start(config(&url, &prefix)).await;
    let outsider = Outsider::at(&rabbit.url()).await;
    let queue = format!("{prefix}.sub");
    outsider.subscribe(&queue, &exchange(&prefix), "#", &[]).await;
    let mut appends = tokio::task::JoinSet::new();
    for number in 0..300 {
        let kind = [EventType::Paid, EventType::Closed, EventType::Paid, EventType::Failed][number % 4];
        let (log, event) = (process.log.clone(), event(number, kind));
        appends.spawn(async move {
            append_at_last(&*log, std::slice::from_ref(&event)).await;
            event
        });
    }
    let mut events = timeout(Duration::from_secs(60), appends.join_all()).await.expect("all are emitted");
    let refused = events.iter().filter(|event| event.kind != EventType::Paid).count();
    events.retain(|event| event.kind == EventType::Paid);
    // A confirm that the machine keeps back for two seconds ends the waiting: copies are under way still then.
    let mut told = Vec::new();
    let enough = async {
        while distinct(&told).len() < events.len() {
            told.extend(outsider.events(&queue).await);
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    drop(timeout(Duration::from_secs(60), enough).await);
    told.extend(outsider.events(&queue).await);
    for events in [&mut events, &mut told] {
        events.sort_by_key(|event| event.subject.clone());
        events.dedup();
    }
    assert_eq!(told, events);
    let begun = format!(
        "what has the routing key order.closed.{MCH_ID} may not be published to {}",
        exchange(&prefix)
    );
    assert_eq!(logged().count(&begun), 1, "each topic is told once");
    until("each of the others is counted", async || process.engine.fanout_refused() >= refused as u64).await;
    process.engine.close().await;
}
