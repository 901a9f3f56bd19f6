//! Deliveries over a real store: signatures, isolation, crashes, take-over, and what people ask for.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod support;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use delivery::desk::Asked;
use delivery::machine::RESENT_AHEAD_MAX;
use delivery::{Begin, Deliveries, Desk, Endpoint, Kind, Wanted, WebhookSecret, WebhookSecrets};
use paybell_core::event::EventType;
use paybell_core::ports::{Cursor, EventFilter, EventLog, Ledger, LogRead, Notes, PortError};
use paybell_core::time::Millis;
use paybell_core::{Event, MchId, Timestamp};
use support::*;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A running process; dropping it is a crash.
struct Process {
    drain: CancellationToken,
    task: JoinHandle<()>,
}

impl Process {
    fn start(deliveries: Deliveries) -> Self {
        let drain = CancellationToken::new();
        let token = drain.clone();
        let task = tokio::spawn(async move { delivery::run(deliveries, token).await.unwrap() });
        Self { drain, task }
    }

    async fn drain(mut self) {
        self.drain.cancel();
        (&mut self.task).await.unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn desk(store: &Store, endpoints: &[Endpoint]) -> Desk {
    let ports = store.ports();
    Desk::new(endpoints, ports.notes, ports.log)
}

async fn now(store: &Store) -> Timestamp {
    store.engine.clock().await.unwrap().now
}

async fn append(store: &Store, numbers: std::ops::Range<usize>) -> Vec<Uuid> {
    let events: Vec<_> = numbers.map(paid).collect();
    store.engine.append(&events).await.unwrap();
    events.iter().map(|event| event.id).collect()
}

/// Until when the endpoint belongs to the process that serves it.
async fn lease_end(store: &Store, name: &str) -> Timestamp {
    let note = Notes::read(&store.engine, &format!("delivery/{name}")).await.unwrap().unwrap();
    let book: serde_json::Value = serde_json::from_str(&note.text).unwrap();
    Timestamp::from_millis(book["lease"]["until"].as_i64().unwrap())
}

fn ids(stage: &Stage, path: &str) -> HashSet<Uuid> {
    stage.to(path).iter().map(|(_, post)| event_of(post).id).collect()
}

#[tokio::test]
async fn a_webhook_verifies_with_the_standards_own_library_also_during_a_rotation() {
    let store = Store::open();
    let secrets = [OTHER_SECRET, SECRET].map(|text| WebhookSecret::parse(text).unwrap());
    let hook = endpoint("shop", "http://shop.test/hook", Kind::Webhook(secrets.to_vec().into()));
    let stage = Stage::new(|_| answer(204, ""));
    let event = paid(1);
    store.engine.append(std::slice::from_ref(&event)).await.unwrap();
    let process = Process::start(store.deliveries(&[hook], stage.clone()));
    until("the event comes", async || !stage.posts().is_empty()).await;
    process.drain().await;

    let (_, post) = &stage.posts()[0];
    assert_eq!(post.body, event.to_json().as_bytes(), "the event exactly as in the log");
    assert_eq!(header(post, "content-type"), Some("application/cloudevents+json; charset=utf-8"));
    assert_eq!(header(post, "webhook-id"), Some(event.id.to_string().as_str()));
    let mut headers = hyper::HeaderMap::new();
    for (name, value) in &post.headers {
        headers.insert(name.clone(), value.parse().unwrap());
    }
    for secret in [SECRET, OTHER_SECRET] {
        standardwebhooks::Webhook::new(secret).unwrap().verify(&post.body, &headers).unwrap();
    }
    let stranger = standardwebhooks::Webhook::new("whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
    stranger.verify(&post.body, &headers).unwrap_err();
    let mut changed = post.body.to_vec();
    changed[5] ^= 1;
    standardwebhooks::Webhook::new(SECRET).unwrap().verify(&changed, &headers).unwrap_err();
}

#[tokio::test]
async fn another_secret_signs_from_the_next_attempt_on() {
    let store = Store::open();
    let secrets = |text: &str| WebhookSecrets::from(vec![WebhookSecret::parse(text).unwrap()]);
    let running = secrets(SECRET);
    let hook = endpoint("shop", "http://shop.test/hook", Kind::Webhook(running.clone()));
    let stage = Stage::new(|_| answer(204, ""));
    let process = Process::start(store.deliveries(&[hook], stage.clone()));
    let verifies = |number: usize, secret: &str| {
        let (_, post) = &stage.posts()[number];
        let mut headers = hyper::HeaderMap::new();
        for (name, value) in &post.headers {
            headers.insert(name.clone(), value.parse().unwrap());
        }
        standardwebhooks::Webhook::new(secret).unwrap().verify(&post.body, &headers).is_ok()
    };
    store.engine.append(&[paid(1)]).await.unwrap();
    until("the first comes", async || stage.posts().len() == 1).await;
    running.adopt(&secrets(OTHER_SECRET));
    store.engine.append(&[paid(2)]).await.unwrap();
    until("the second comes", async || stage.posts().len() == 2).await;
    process.drain().await;
    assert!(verifies(0, SECRET) && !verifies(0, OTHER_SECRET));
    assert!(verifies(1, OTHER_SECRET) && !verifies(1, SECRET));
}

/// The endpoint `/hangs` holds each call for ever; the other one must not notice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_endpoint_that_hangs_slows_no_other() {
    const EVENTS: usize = 300;
    let store = Store::open();
    let stage = Stage::pausing(|post| match post.url.uri().path() {
        "/hangs" => Box::pin(std::future::pending()),
        _ => Box::pin(async { answer(200, "") }),
    });
    let endpoints = [webhook("hangs", "http://a.test/hangs"), webhook("well", "http://b.test/well")];
    let process = Process::start(store.deliveries(&endpoints, stage.clone()));
    let mut appended = Vec::new();
    for number in 0..EVENTS {
        appended.push((paid(number).id, Instant::now()));
        append(&store, number..number + 1).await;
    }
    until("all are delivered", async || stage.to("/well").len() == EVENTS).await;
    let posts = stage.to("/well");
    let mut waits: Vec<Duration> = appended
        .iter()
        .map(|(id, at)| {
            let (came, _) = posts.iter().find(|(_, post)| event_of(post).id == *id).unwrap();
            came.saturating_duration_since(*at)
        })
        .collect();
    waits.sort();
    let (p50, p99) = (waits[EVENTS / 2], waits[EVENTS * 99 / 100]);
    println!("beside a hanging endpoint: p50 {p50:?}, p99 {p99:?} of {EVENTS} events");
    let hanging = stage.to("/hangs").len();
    assert!((1..=8).contains(&hanging), "{hanging} calls hang");
    drop(process);
}

#[tokio::test]
async fn what_was_posted_and_not_written_down_comes_again_and_nothing_is_lost() {
    let store = Store::open();
    let hook = webhook("shop", "http://shop.test/hook");
    let sent = append(&store, 0..20).await;
    let stage = Stage::new(|_| answer(200, ""));
    let mut deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    // The book is never written after the lease was taken, which would be at a third of it at the latest.
    deliveries.timing.keep_gap = Duration::from_secs(3600);
    deliveries.timing.wishes_gap = Duration::from_secs(3600);
    deliveries.timing.lease = Duration::from_secs(3600);
    let first = Process::start(deliveries.clone());
    until("all are posted", async || stage.posts().len() >= 20).await;
    drop(first);
    assert_eq!(ids(&stage, "/hook"), HashSet::from_iter(sent.clone()));

    let again = Stage::new(|_| answer(200, ""));
    deliveries.transport = again.clone();
    // It waits for nobody's lease, and writes the book when it drains.
    deliveries.company = delivery::Company::Alone;
    let second = Process::start(deliveries);
    until("all come again", async || again.posts().len() >= 20).await;
    assert_eq!(ids(&again, "/hook"), HashSet::from_iter(sent));
    second.drain().await;
    assert_eq!(desk(&store, &[hook]).list(now(&store).await).await.unwrap()[0].delivered_total, 20);
}

#[tokio::test]
async fn a_second_process_waits_for_the_lease_and_goes_on_where_the_first_died() {
    let store = Store::open();
    let hook = webhook("shop", "http://shop.test/hook");
    let (first_stage, second_stage) = (Stage::new(|_| answer(200, "")), Stage::new(|_| answer(200, "")));
    let first = Process::start(store.deliveries(std::slice::from_ref(&hook), first_stage.clone()));
    append(&store, 0..10).await;
    let desk = desk(&store, std::slice::from_ref(&hook));
    let delivered = async || desk.list(now(&store).await).await.unwrap()[0].delivered_total;
    until("the first delivers and writes it down", async || delivered().await == 10).await;
    let second = Process::start(store.deliveries(std::slice::from_ref(&hook), second_stage.clone()));
    append(&store, 10..20).await;
    until("the first delivers more", async || delivered().await == 20).await;
    assert!(second_stage.posts().is_empty(), "one process at a time");

    drop(first);
    let lease_end = lease_end(&store, "shop").await;
    append(&store, 20..30).await;
    until("the second goes on", async || second_stage.posts().len() >= 10).await;
    let age = second_stage.posts()[0].0.elapsed();
    let began = now(&store).await - Millis(i64::try_from(age.as_millis()).unwrap());
    assert!(began >= lease_end, "it began at {began:?}, and the dead one's lease ends at {lease_end:?}");
    until("all are written down", async || delivered().await == 30).await;
    assert_eq!(second_stage.posts().len(), 10, "nothing that the first wrote down comes again");
    second.drain().await;
}

/// A lease of a clock that went wrong must not keep everybody away for years.
#[tokio::test]
async fn a_lease_from_the_far_future_is_not_believed() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(200, ""));
    let until_ms = now(&store).await.millis() + 86_400_000;
    let text = format!(
        r#"{{"format":1,"target":"","cursor":{{"position":0,"id":"{}"}},
        "lease":{{"token":"000000000000000000000000000000ff","until":{until_ms}}}}}"#,
        Uuid::nil()
    );
    assert!(store.engine.write("delivery/shop", None, &text).await.unwrap());
    append(&store, 0..1).await;
    let process =
        Process::start(store.deliveries(&[webhook("shop", "http://shop.test/hook")], stage.clone()));
    until("it is served", async || stage.posts().len() == 1).await;
    process.drain().await;
}

#[tokio::test]
async fn a_process_that_drains_hands_over_at_once() {
    let store = Store::open();
    let hook = webhook("shop", "http://shop.test/hook");
    let stage = Stage::new(|_| answer(200, ""));
    let mut deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    deliveries.timing.lease = Duration::from_secs(600);
    let first = Process::start(deliveries.clone());
    append(&store, 0..5).await;
    until("five are posted", async || stage.posts().len() == 5).await;
    first.drain().await;
    let second = Process::start(deliveries);
    append(&store, 5..10).await;
    until("the others come", async || stage.posts().len() == 10).await;
    second.drain().await;
    assert_eq!(stage.posts().len(), 10, "a clean end repeats nothing");
}

#[tokio::test]
async fn a_task_that_falls_begins_again_and_takes_no_other_with_it() {
    let store = Store::open();
    let has_fallen = Arc::new(AtomicBool::new(false));
    let stage = {
        let has_fallen = has_fallen.clone();
        Stage::new(move |post| {
            let falls = post.url.uri().path() == "/bad" && !has_fallen.swap(true, Ordering::SeqCst);
            if falls { panic!("a fault of ours") } else { answer(200, "") }
        })
    };
    let endpoints = [webhook("bad", "http://shop.test/bad"), webhook("good", "http://shop.test/good")];
    append(&store, 0..1).await;
    let process = Process::start(store.deliveries(&endpoints, stage.clone()));
    until("the other gets it", async || stage.to("/good").len() == 1).await;
    append(&store, 1..3).await;
    until("the other gets what follows", async || stage.to("/good").len() == 3).await;
    until("the one that fell gets everything", async || ids(&stage, "/bad").len() == 3).await;
    let (bad, good) = (stage.to("/bad"), stage.to("/good"));
    assert!(good[2].0 < bad[1].0, "the other did not wait until the one that fell began again");
    process.drain().await;
}

#[tokio::test]
async fn a_process_that_is_alone_waits_for_no_lease_of_a_dead_one() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(200, ""));
    let mut deliveries = store.deliveries(&[webhook("shop", "http://shop.test/hook")], stage.clone());
    deliveries.timing.lease = Duration::from_secs(600);
    let killed = Process::start(deliveries.clone());
    append(&store, 0..1).await;
    until("it is served", async || stage.posts().len() == 1).await;
    drop(killed);
    let next = append(&store, 1..2).await;
    deliveries.company = delivery::Company::Alone;
    let process = Process::start(deliveries);
    until("the next comes", async || ids(&stage, "/hook").contains(&next[0])).await;
    process.drain().await;
}

#[tokio::test]
async fn a_410_is_visible_until_somebody_enables_the_endpoint_or_moves_it() {
    let store = Store::open();
    let is_gone = Arc::new(AtomicBool::new(true));
    let stage = {
        let is_gone = is_gone.clone();
        Stage::new(move |_| if is_gone.load(Ordering::SeqCst) { answer(410, "") } else { answer(200, "") })
    };
    let hook = webhook("shop", "http://shop.test/hook");
    append(&store, 0..3).await;
    let process = Process::start(store.deliveries(std::slice::from_ref(&hook), stage.clone()));
    let desk = desk(&store, std::slice::from_ref(&hook));
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    until("it is disabled", async || view().await.state == "disabled").await;
    assert!(view().await.disabled_at.is_some() && view().await.waiting == 3);
    let posts = stage.posts().len();
    append(&store, 3..4).await;
    is_gone.store(false, Ordering::SeqCst);
    assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
    until("all four are delivered", async || view().await.delivered_total == 4).await;
    assert!(posts <= 3);

    is_gone.store(true, Ordering::SeqCst);
    append(&store, 4..5).await;
    until("it is disabled again", async || view().await.state == "disabled").await;
    process.drain().await;
    is_gone.store(false, Ordering::SeqCst);
    let moved = webhook("shop", "http://shop.test/moved");
    let process = Process::start(store.deliveries(&[moved], stage.clone()));
    until("the new address gets it", async || stage.to("/moved").len() == 1).await;
    process.drain().await;
}

/// What was given up is asked for first, event by event, and only then the endpoint is enabled.
#[tokio::test]
async fn who_enables_an_endpoint_waits_behind_no_wish_that_has_no_room() {
    let store = Store::open();
    let is_gone = Arc::new(AtomicBool::new(true));
    let stage = {
        let is_gone = is_gone.clone();
        Stage::new(move |_| if is_gone.load(Ordering::SeqCst) { answer(410, "") } else { answer(200, "") })
    };
    let hook = webhook("shop", "http://shop.test/hook");
    let sent = append(&store, 0..1).await;
    let process = Process::start(store.deliveries(std::slice::from_ref(&hook), stage.clone()));
    let desk = desk(&store, std::slice::from_ref(&hook));
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    until("it is disabled", async || view().await.state == "disabled").await;
    while desk.resend("shop", sent[0]).await.unwrap() == Asked::Stored {}
    for posts in [2, 3] {
        assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
        until("it is tried", async || stage.posts().len() == posts).await;
        until("it is disabled again", async || view().await.state == "disabled").await;
        tokio::time::sleep(10 * QUICK.wishes_gap).await;
        assert_eq!(stage.posts().len(), posts, "once for each time that somebody enables it");
        while desk.resend("shop", sent[0]).await.unwrap() == Asked::Stored {}
    }
    is_gone.store(false, Ordering::SeqCst);
    assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
    until("it is delivered", async || view().await.delivered_total > 0).await;
    until("there is room again", async || desk.resend("shop", sent[0]).await.unwrap() == Asked::Stored).await;
    process.drain().await;
}

#[tokio::test]
async fn an_endpoint_whose_place_the_log_does_not_know_sends_nothing_again_and_waits_for_a_person() {
    let (store, other) = (Store::open(), Store::open());
    let is_away = Arc::new(AtomicBool::new(false));
    let stage = {
        let is_away = is_away.clone();
        Stage::new(move |_| if is_away.load(Ordering::SeqCst) { answer(500, "") } else { answer(200, "") })
    };
    let hook = webhook("shop", "http://shop.test/hook");
    let deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    append(&store, 0..9).await;
    let process = Process::start(deliveries.clone());
    until("nine are posted", async || stage.posts().len() == 9).await;
    is_away.store(true, Ordering::SeqCst);
    let refused = append(&store, 9..10).await;
    until("one is refused", async || stage.posts().len() == 10).await;
    process.drain().await;

    // As after the stream was lost and filled again from the ledger: shorter, and with other places.
    append(&other, 5..10).await;
    is_away.store(false, Ordering::SeqCst);
    let ports = delivery::Ports { log: other.ports().log, ..store.ports() };
    let lost = Deliveries { ports: ports.clone(), ..deliveries.clone() };
    let desk = Desk::new(std::slice::from_ref(&hook), ports.notes, ports.log);
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    let process = Process::start(lost);
    until("it is stranded", async || view().await.state == "stranded").await;
    append(&other, 10..11).await;
    assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
    until("it serves again, and what waited is delivered", async || {
        view().await.state == "serving" && view().await.waiting == 0
    })
    .await;
    let next = append(&other, 11..12).await;
    until("the next event comes", async || stage.posts().len() == 12).await;
    let told: Vec<Uuid> = stage.posts()[10..].iter().map(|(_, post)| event_of(post).id).collect();
    assert_eq!(told, [refused[0], next[0]], "what waited and what is new, and nothing a second time");
    process.drain().await;
}

#[tokio::test]
async fn an_emptied_ledger_beside_an_older_log_is_told_until_a_person_looked() {
    let (store, emptied) = (Store::open(), Store::open());
    let stage = Stage::new(|_| answer(200, ""));
    let from_now =
        |name: &str| Endpoint { begin: Begin::Now, ..webhook(name, &format!("http://{name}.test/hook")) };
    let hook = from_now("shop");
    let both = [hook.clone(), from_now("erp")];
    let began_anew = async |store: &Store, name: &str| {
        let shown = self::desk(store, &both).show(name, now(store).await).await.unwrap().unwrap();
        (shown.state != "new").then_some(shown.began_anew_at.is_some())
    };
    let deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    let process = Process::start(deliveries.clone());
    until("a first start is none", async || began_anew(&store, "shop").await == Some(false)).await;
    append(&store, 0..3).await;
    until("three are posted", async || stage.posts().len() == 3).await;
    process.drain().await;
    append(&store, 3..5).await;

    // The log is the same, the ledger is empty.
    let ports = delivery::Ports { log: store.ports().log, ..emptied.ports() };
    let after = |endpoints: &[Endpoint]| Deliveries {
        endpoints: endpoints.to_vec(),
        ports: ports.clone(),
        ..deliveries.clone()
    };
    let process = Process::start(after(std::slice::from_ref(&hook)));
    until("it is told", async || began_anew(&emptied, "shop").await == Some(true)).await;
    process.drain().await;
    let process = Process::start(after(&both));
    until("a new endpoint is only new", async || began_anew(&emptied, "erp").await == Some(false)).await;
    assert_eq!(began_anew(&emptied, "shop").await, Some(true), "until somebody looks");
    assert_eq!(stage.posts().len(), 3, "nothing is sent by itself");
    let desk = Desk::new(&both, ports.notes.clone(), ports.log.clone());
    assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
    until("a person looked", async || began_anew(&emptied, "shop").await == Some(false)).await;
    process.drain().await;
}

#[tokio::test]
async fn a_stranded_endpoint_goes_on_by_itself_where_its_place_is_known_again() {
    let (store, lagging) = (Store::open(), Store::open());
    let stage = Stage::new(|_| answer(200, ""));
    let hook = webhook("shop", "http://shop.test/hook");
    let deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    append(&store, 0..10).await;
    append(&lagging, 0..4).await;
    let process = Process::start(deliveries.clone());
    until("ten are posted", async || stage.posts().len() == 10).await;
    process.drain().await;

    let ports = delivery::Ports { log: lagging.ports().log, ..store.ports() };
    let process = Process::start(Deliveries { ports, ..deliveries });
    let desk = desk(&store, std::slice::from_ref(&hook));
    let state = async || desk.show("shop", now(&store).await).await.unwrap().unwrap().state;
    until("it is stranded", async || state().await == "stranded").await;
    append(&lagging, 4..11).await;
    until("the new one comes", async || stage.posts().len() == 11).await;
    assert_eq!(event_of(&stage.posts()[10].1).id, paid(10).id);
    until("it serves", async || state().await == "serving").await;
    process.drain().await;
}

#[tokio::test]
async fn one_event_or_a_range_is_sent_again_on_request() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(200, ""));
    let hook = webhook("shop", "http://shop.test/hook");
    let sent = append(&store, 0..10).await;
    let process = Process::start(store.deliveries(std::slice::from_ref(&hook), stage.clone()));
    until("ten are posted", async || stage.posts().len() == 10).await;
    let desk = desk(&store, std::slice::from_ref(&hook));
    for (number, place) in [(0, 1), (4, 2), (9, 3)] {
        assert_eq!(desk.resend("shop", sent[number]).await.unwrap(), Asked::Stored);
        until("it comes again", async || stage.posts().len() == 10 + place).await;
        assert_eq!(event_of(&stage.posts()[9 + place].1).id, sent[number]);
    }
    assert_eq!(desk.resend("shop", Uuid::from_u128(1)).await.unwrap(), Asked::NoEvent);
    assert_eq!(desk.resend("other", sent[0]).await.unwrap(), Asked::NoEndpoint);
    let wanted = Wanted { types: vec![EventType::Refunded], ..Wanted::default() };
    let picky = self::desk(&store, &[Endpoint { wanted, ..hook.clone() }]);
    assert_eq!(picky.resend("shop", sent[0]).await.unwrap(), Asked::Unwanted);

    let page = store.ports().log.read(None, &Default::default(), 10).await.unwrap();
    let paybell_core::ports::LogRead::Page(page) = page else { panic!("{page:?}") };
    let place = |number: usize| Some(page.events[number].0);
    assert_eq!(desk.resend_range("shop", place(2), place(5)).await.unwrap(), Asked::Stored);
    until("three come again", async || stage.posts().len() == 16).await;
    let again: HashSet<Uuid> = stage.posts()[13..].iter().map(|(_, post)| event_of(post).id).collect();
    assert_eq!(again, HashSet::from_iter(sent[3..6].iter().copied()));
    assert_eq!(desk.resend_range("shop", None, None).await.unwrap(), Asked::Stored);
    until("all come again", async || stage.posts().len() == 26).await;
    process.drain().await;
    assert_eq!(stage.posts().len(), 26);
}

/// A log to which an event comes while it is read.
struct Growing {
    log: Arc<dyn EventLog>,
    reads: AtomicUsize,
}

const GROWS_AT: usize = 20;

#[async_trait]
impl EventLog for Growing {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.log.append(events).await
    }

    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError> {
        if self.reads.fetch_add(1, Ordering::SeqCst) == GROWS_AT {
            self.append(&[paid(9000)]).await?;
        }
        self.log.read(after, filter, limit).await
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        self.log.end().await
    }

    async fn grown(&self, past: Cursor) -> Result<(), PortError> {
        self.log.grown(past).await
    }
}

/// After Redis was emptied, for example: the log of a month is sent again to an endpoint that wants little of it.
#[tokio::test]
async fn what_is_new_waits_for_no_end_of_a_long_part_that_is_sent_again() {
    let store = Store::open();
    let unwanted: Vec<Event> =
        (0..3000).map(|number| event("1900000109", number, EventType::Closed)).collect();
    store.engine.append(&unwanted).await.unwrap();
    let log = Arc::new(Growing { log: store.ports().log, reads: AtomicUsize::new(0) });
    let posted_at = Arc::new(AtomicUsize::new(0));
    let stage = {
        let (log, posted_at) = (log.clone(), posted_at.clone());
        Stage::new(move |_| {
            posted_at.store(log.reads.load(Ordering::SeqCst), Ordering::SeqCst);
            answer(200, "")
        })
    };
    let wanted = Wanted { types: vec![EventType::Paid, EventType::Refunded], ..Wanted::default() };
    let hook = Endpoint { wanted, begin: Begin::Now, ..webhook("shop", "http://shop.test/hook") };
    let ports = delivery::Ports { log: log.clone(), ..store.ports() };
    let deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    let desk = desk(&store, std::slice::from_ref(&hook));
    assert_eq!(desk.resend_range("shop", None, None).await.unwrap(), Asked::Stored);
    let process = Process::start(Deliveries { ports, ..deliveries });
    until("all is read again", async || log.reads.load(Ordering::SeqCst) > 3000 / RESENT_AHEAD_MAX).await;
    until("the new one comes", async || stage.posts().len() == 1).await;
    process.drain().await;
    let posted_at = posted_at.load(Ordering::SeqCst);
    assert!((GROWS_AT..GROWS_AT + 5).contains(&posted_at), "after {posted_at} reads");
}

#[tokio::test]
async fn a_part_that_cannot_be_read_on_holds_up_nothing_new_until_it_is_passed_over() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(200, ""));
    let hook = webhook("shop", "http://shop.test/hook");
    let sent = append(&store, 0..5).await;
    let log = Lagging::new(store.ports().log);
    let ports = delivery::Ports { log: log.clone(), ..store.ports() };
    let mut registry = prometheus_client::registry::Registry::default();
    let metrics = delivery::DeliveryMetrics::register(&mut registry, [&hook.name]);
    let deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    let process = Process::start(Deliveries { ports, metrics, ..deliveries });
    let is_held_up = |value: u8| {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        text.contains(&format!("paybell_webhook_held_up{{endpoint=\"shop\"}} {value}\n"))
    };
    until("five are posted", async || stage.posts().len() == 5).await;
    log.unread.store(3, Ordering::SeqCst);
    let desk = desk(&store, std::slice::from_ref(&hook));
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    assert_eq!((view().await.resends, view().await.resend_held_up_at), (0, None));
    assert_eq!(desk.resend_range("shop", None, None).await.unwrap(), Asked::Stored);
    until("two come again", async || stage.posts().len() == 7).await;
    until("that is told", async || is_held_up(1)).await;
    // The book is written a little later.
    until("that is shown", async || view().await.resend_held_up_at.is_some()).await;
    let shown = view().await;
    assert_eq!((shown.state, shown.held_up_at, shown.resends), ("serving", None, 1), "{shown:?}");
    append(&store, 5..7).await;
    until("what is new comes", async || stage.posts().len() == 9).await;
    assert!(is_held_up(1), "it waits all the same");
    assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
    until("the rest comes again", async || stage.posts().len() == 11).await;
    let again: HashSet<Uuid> = stage.posts()[9..].iter().map(|(_, post)| event_of(post).id).collect();
    assert_eq!(again, HashSet::from_iter(sent[3..].iter().copied()));
    until("that is told", async || is_held_up(0)).await;
    until("that is shown", async || view().await.resends == 0).await;
    assert_eq!(view().await.resend_held_up_at, None);
    process.drain().await;
}

#[tokio::test]
async fn attempts_are_visible_with_what_the_endpoint_said_and_without_secrets() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(500, "Fatal error:\n  mysqli_connect()"));
    let hook = webhook("shop", "http://shop.test/hook?token=hunter2");
    let sent = append(&store, 0..1).await;
    let process = Process::start(store.deliveries(std::slice::from_ref(&hook), stage.clone()));
    let desk = desk(&store, std::slice::from_ref(&hook));
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    until("an attempt is seen", async || !view().await.attempts.is_empty()).await;
    let shown = view().await;
    let attempt = &shown.attempts[0];
    assert_eq!((attempt.event, attempt.status, attempt.result.as_str()), (sent[0], Some(500), "refused"));
    assert_eq!(attempt.words, "500: Fatal error: mysqli_connect()");
    assert_eq!((shown.waiting, shown.state, shown.failed_total >= 1), (1, "serving", true));
    let text = serde_json::to_string(&shown).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "{text}");
    process.drain().await;
    for name in store.engine.list("").await.unwrap() {
        let note = store.ports().notes.read(&name).await.unwrap().unwrap().text;
        assert!(!note.contains("hunter2") && !note.contains("MfKQ9r8GKYqr"), "{name}: {note}");
    }
}

#[tokio::test]
async fn a_new_endpoint_begins_with_the_next_event_unless_told_otherwise() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(200, ""));
    append(&store, 0..5).await;
    let from_now = Endpoint { begin: Begin::Now, ..webhook("now", "http://shop.test/now") };
    let wanted = Wanted { types: vec![EventType::Paid], mch_ids: vec![] };
    let from_oldest = Endpoint { wanted, ..webhook("oldest", "http://shop.test/oldest") };
    let endpoints = [from_now, from_oldest];
    let process = Process::start(store.deliveries(&endpoints, stage.clone()));
    let desk = desk(&store, &endpoints);
    let is_served = async || {
        let views = desk.list(now(&store).await).await.unwrap();
        views.iter().all(|view| view.state == "serving")
    };
    until("both are served", is_served).await;
    append(&store, 5..6).await;
    store.engine.append(&[event("1900000109", 6, EventType::Closed)]).await.unwrap();
    append(&store, 7..8).await;
    until("what is wanted comes", async || stage.to("/now").len() == 3 && stage.to("/oldest").len() == 7)
        .await;
    process.drain().await;
    assert_eq!(stage.posts().len(), 10);
}

/// A repeat is read again from the log: its place must be right among events that nobody wants.
#[tokio::test]
async fn what_failed_is_found_again_among_unwanted_events() {
    let store = Store::open();
    let failed = Arc::new(Mutex::new(HashSet::new()));
    let stage = {
        let failed = failed.clone();
        Stage::new(move |post| {
            let is_first = failed.lock().unwrap().insert(event_of(post).id);
            if is_first { answer(404, "") } else { answer(200, "") }
        })
    };
    for number in 0..12 {
        let kind = [EventType::Closed, EventType::Paid, EventType::Refunded][number % 3];
        let mch_id = ["1900000109", "1900000110"][number % 2];
        store.engine.append(&[event(mch_id, number, kind)]).await.unwrap();
    }
    let (kinds, mch_id) = (vec![EventType::Paid], MchId::new("1900000109").unwrap());
    let both = vec![EventType::Paid, EventType::Refunded];
    let wanted =
        |types: &[EventType], mch_ids: &[MchId]| Wanted { types: types.into(), mch_ids: mch_ids.into() };
    let endpoints = [
        Endpoint { wanted: wanted(&kinds, &[]), ..webhook("a", "http://shop.test/a") },
        Endpoint {
            wanted: wanted(&kinds, std::slice::from_ref(&mch_id)),
            ..webhook("b", "http://shop.test/b")
        },
        Endpoint { wanted: wanted(&both, &[mch_id]), ..webhook("c", "http://shop.test/c") },
    ];
    let process = Process::start(store.deliveries(&endpoints, stage.clone()));
    let desk = desk(&store, &endpoints);
    // Whoever came first failed; everything comes again within five seconds.
    let delivered = async || {
        let views = desk.list(now(&store).await).await.unwrap();
        views.iter().map(|view| view.delivered_total).collect::<Vec<_>>()
    };
    until("everything is delivered", async || delivered().await == [4, 2, 4]).await;
    process.drain().await;
    let views = desk.list(now(&store).await).await.unwrap();
    assert!(views.iter().all(|view| view.given_up_total == 0 && view.waiting == 0), "{views:?}");
    assert!(views.iter().map(|view| view.failed_total).sum::<u64>() >= 6);
}

/// After a change of the node that is read, for example.
#[tokio::test]
async fn what_failed_waits_for_a_copy_of_the_log_that_is_behind() {
    let store = Store::open();
    let is_away = Arc::new(AtomicBool::new(true));
    let stage = {
        let is_away = is_away.clone();
        Stage::new(move |_| if is_away.load(Ordering::SeqCst) { answer(404, "") } else { answer(200, "") })
    };
    let hook = webhook("shop", "http://shop.test/hook");
    let sent = append(&store, 0..2).await;
    let log = Lagging::new(store.ports().log);
    let ports = delivery::Ports { log: log.clone(), ..store.ports() };
    let deliveries = store.deliveries(std::slice::from_ref(&hook), stage.clone());
    let process = Process::start(Deliveries { ports, ..deliveries });
    until("both failed", async || ids(&stage, "/hook").len() == 2).await;
    log.ends_at.store(1, Ordering::SeqCst);
    is_away.store(false, Ordering::SeqCst);
    until("the second is looked for where it is not", async || log.short_reads.load(Ordering::SeqCst) > 0)
        .await;
    let desk = desk(&store, std::slice::from_ref(&hook));
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    until("the first is delivered", async || view().await.delivered_total == 1).await;
    log.ends_at.store(u64::MAX, Ordering::SeqCst);
    until("nothing waits", async || view().await.waiting == 0).await;
    assert_eq!(event_of(&stage.posts().last().unwrap().1).id, sent[1]);
    let view = view().await;
    assert_eq!((view.delivered_total, view.given_up_total), (2, 0), "{view:?}");
    process.drain().await;
}

/// As in an old process during a rolling upgrade.
#[tokio::test]
async fn what_this_version_cannot_read_is_waited_for_or_passed_over_by_a_person() {
    let store = Store::open();
    let is_away = Arc::new(AtomicBool::new(true));
    let stage = {
        let is_away = is_away.clone();
        Stage::new(move |_| if is_away.load(Ordering::SeqCst) { answer(404, "") } else { answer(200, "") })
    };
    let hook = webhook("shop", "http://shop.test/hook");
    let sent = append(&store, 0..5).await;
    let log = Lagging::new(store.ports().log);
    log.unread.store(3, Ordering::SeqCst);
    let ports = delivery::Ports { log: log.clone(), ..store.ports() };
    let deliveries =
        Deliveries { ports: ports.clone(), ..store.deliveries(std::slice::from_ref(&hook), stage.clone()) };
    let process = Process::start(deliveries.clone());
    until("two failed", async || ids(&stage, "/hook").len() == 2).await;
    is_away.store(false, Ordering::SeqCst);
    let desk = desk(&store, std::slice::from_ref(&hook));
    let view = async || desk.show("shop", now(&store).await).await.unwrap().unwrap();
    until("they are delivered all the same", async || view().await.delivered_total == 2).await;
    assert_eq!(ids(&stage, "/hook"), HashSet::from_iter(sent[..2].iter().copied()), "nothing beyond it");
    until("that is shown", async || view().await.state == "held_up").await;
    let held_up_at = view().await.held_up_at;
    assert!(held_up_at.is_some() && view().await.resend_held_up_at.is_none());
    process.drain().await;
    let process = Process::start(deliveries.clone());
    until("it is held up again", async || view().await.state == "held_up").await;
    assert_eq!(view().await.held_up_at, held_up_at, "since then, whoever serves it");
    process.drain().await;

    log.unread.store(u64::MAX, Ordering::SeqCst);
    let newer = Process::start(deliveries.clone());
    until("a process that can read it goes on", async || view().await.delivered_total == 5).await;
    until("it is held up no more", async || view().await.held_up_at.is_none()).await;
    newer.drain().await;

    let sent = append(&store, 5..8).await;
    log.unread.store(6, Ordering::SeqCst);
    let process = Process::start(deliveries);
    until("it is held up", async || view().await.state == "held_up").await;
    assert_eq!(desk.enable("shop").await.unwrap(), Asked::Stored);
    until("what follows comes", async || view().await.delivered_total == 7).await;
    until("it serves", async || view().await.state == "serving" && view().await.held_up_at.is_none()).await;
    assert!(!ids(&stage, "/hook").contains(&sent[0]));
    process.drain().await;
}

#[tokio::test]
async fn two_endpoints_of_one_name_are_refused() {
    let store = Store::open();
    let endpoints = [webhook("shop", "http://a.test/"), webhook("shop", "http://b.test/")];
    let deliveries = store.deliveries(&endpoints, Stage::new(|_| answer(200, "")));
    let error = delivery::run(deliveries, CancellationToken::new()).await.unwrap_err().to_string();
    assert!(error.contains("shop"), "{error}");
}

/// A book that a newer version wrote is left alone, and told.
#[tokio::test]
async fn a_book_of_a_newer_version_is_not_overwritten() {
    let store = Store::open();
    let stage = Stage::new(|_| answer(200, ""));
    let text =
        r#"{"format":99,"target":"","cursor":{"position":0,"id":"00000000-0000-0000-0000-000000000000"}}"#;
    assert!(store.engine.write("delivery/shop", None, text).await.unwrap());
    append(&store, 0..1).await;
    let endpoints = [webhook("shop", "http://shop.test/hook"), webhook("well", "http://shop.test/well")];
    let process = Process::start(store.deliveries(&endpoints, stage.clone()));
    until("the other is served", async || stage.to("/well").len() == 1).await;
    process.drain().await;
    assert_eq!(store.ports().notes.read("delivery/shop").await.unwrap().unwrap().text, text);
    assert!(stage.to("/hook").is_empty());
    let shown = desk(&store, &endpoints).list(now(&store).await).await.unwrap();
    assert_eq!((shown[0].state, shown[1].delivered_total), ("unreadable", 1));
    assert!(shown[0].trouble.as_ref().unwrap().contains("newer"), "{shown:?}");
}
