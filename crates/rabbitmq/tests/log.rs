//! The event log on a stream: the port's rules, old pages, other processes, and what else may lie in a stream.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

#[path = "log/faults.rs"]
mod faults;
mod stand;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use paybell_core::event::{Event, EventType};
use paybell_core::ports::{Cursor, EventFilter, EventPage, LogRead, PortError};
use paybell_core::time::Millis;
use rabbitmq::RabbitConfig;
use testkit::conformance::{Engines, Factory, Group, Subject, absent, run_groups};
use testkit::servers::{shared_rabbit, unique_prefix};
use tokio::task::JoinSet;
use tokio::time::timeout;

use stand::{
    Outsider, Process, append_at_last, config, distinct, end_at_last, event, paid, read_at_last, until,
};

struct OnStream {
    config: RabbitConfig,
    process: Mutex<Arc<Process>>,
}

impl OnStream {
    fn process(&self) -> Arc<Process> {
        self.process.lock().unwrap().clone()
    }
}

#[async_trait]
impl Subject for OnStream {
    async fn engines(&self) -> Engines {
        Engines { log: self.process().log.clone(), ..absent() }
    }

    async fn advance(&self, _: Millis) {}

    async fn reopen(&self) {
        self.process().engine.close().await;
        *self.process.lock().unwrap() = Arc::new(Process::start(self.config.clone()).await);
    }

    fn keeps_repeats_out(&self) -> bool {
        false
    }

    fn reads_replicas(&self) -> bool {
        true
    }
}

struct OnPrefixes(String);

#[async_trait]
impl Factory for OnPrefixes {
    async fn fresh(&self) -> Arc<dyn Subject> {
        let config = config(&self.0, &unique_prefix());
        let process = Mutex::new(Arc::new(Process::start(config.clone()).await));
        Arc::new(OnStream { config, process })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_rule_of_the_log_holds() {
    run_groups(Arc::new(OnPrefixes(shared_rabbit().await)), &[Group::Log]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_events_are_paged_from_the_old_part() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let writer = Process::start(config(&url, &prefix)).await;
    let events: Vec<Event> = (0..5_000)
        .map(|number| event(number, if number % 50 == 7 { EventType::Closed } else { EventType::Paid }))
        .collect();
    let (begun, mut late) = (Instant::now(), 0);
    for part in events.chunks(500) {
        late += writer.append(part).await;
    }
    println!("5,000 events appended in {:?}, {late} times in vain", begun.elapsed());
    // A process that comes now knows of the end only.
    let reader = Process::start(config(&url, &prefix)).await;
    let begun = Instant::now();
    let stored = reader.rest(None, &EventFilter::default(), 137).await;
    println!("5,000 events in pages of 137: {:?}", begun.elapsed());
    assert_same(&distinct(&stored), &events);
    assert!(
        late > 0 || stored.len() == events.len(),
        "who is not late stores nothing twice: {}",
        stored.len()
    );
    let begun = Instant::now();
    assert_same(&reader.rest(None, &EventFilter::default(), 1_000).await, &stored);
    println!("5,000 events in pages of 1,000: {:?}", begun.elapsed());
    let closed = EventFilter { kind: Some(EventType::Closed), mch_id: None };
    let wanted: Vec<_> = stored.iter().filter(|event| event.kind == EventType::Closed).cloned().collect();
    assert_same(&reader.rest(None, &closed, 3).await, &wanted);
    // Many at once take turns. On a slow machine the last ones are told to come again, and then have theirs.
    let mut readers = JoinSet::new();
    for limit in 100..150 {
        let log = reader.log.clone();
        readers.spawn(async move { read_at_last(&*log, None, &EventFilter::default(), limit).await });
    }
    for read in readers.join_all().await {
        let LogRead::Page(page) = read else { panic!("{read:?}") };
        assert!((100..150).contains(&page.events.len()));
        assert_eq!(page.events[99].1, stored[99]);
    }
    for process in [writer, reader] {
        process.engine.close().await;
    }
}

/// The events of a page, each once.
fn told(page: &EventPage) -> Vec<Event> {
    distinct(&page.events.iter().map(|(_, event)| event.clone()).collect::<Vec<_>>())
}

/// Equal, and short to tell if not.
fn assert_same(read: &[Event], written: &[Event]) {
    let differs = read.iter().zip(written).position(|(one, other)| one != other);
    let subject = |events: &[Event], at: usize| events.get(at).map(|event| event.subject.clone());
    let there = differs.map(|at| (at, subject(read, at), subject(written, at)));
    assert_eq!((there, read.len()), (None, written.len()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_is_asked_all_the_time_misses_nothing() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let (writer, reader) =
        (Process::start(config(&url, &prefix)).await, Process::start(config(&url, &prefix)).await);
    let events = paid(0..4_000);
    writer.append(&events[..1]).await;
    let first = reader.end().await;
    let (log, written) = (writer.log.clone(), events.clone());
    let writing = tokio::spawn(async move {
        for part in written[1..].chunks(31) {
            append_at_last(&*log, part).await;
        }
    });
    let mut askers = JoinSet::new();
    for _ in 0..4 {
        let (log, last) = (reader.log.clone(), events[3_999].id);
        askers.spawn(async move { while end_at_last(&*log).await.id != last {} });
    }
    writing.await.unwrap();
    timeout(Duration::from_secs(60), askers.join_all()).await.expect("the end comes in sight");
    let seen = reader.rest(Some(first), &EventFilter::default(), 1_000).await;
    assert_same(&distinct(&seen), &events[1..]);
    for process in [writer, reader] {
        process.engine.close().await;
    }
}

#[tokio::test]
async fn what_another_process_appends_wakes_us_and_is_there() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let (here, there) =
        (Process::start(config(&url, &prefix)).await, Process::start(config(&url, &prefix)).await);
    let mut place = here.end().await;
    for event in paid(0..20) {
        let (log, grown) = (here.log.clone(), place);
        let waiting = tokio::spawn(async move { timeout(Duration::from_secs(60), log.grown(grown)).await });
        there.append(std::slice::from_ref(&event)).await;
        let page = here.page(Some(place), 10).await;
        assert_eq!(told(&page), [event], "confirmed is readable");
        waiting.await.unwrap().expect("somebody wakes us").unwrap();
        place = page.next;
        assert_eq!(here.end().await, place);
    }
    for process in [here, there] {
        process.engine.close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_log_is_known_to_be_empty_and_its_first_event_escapes_nobody() {
    let (url, first) = (shared_rabbit().await, event(1, EventType::Paid));
    for delay in (0..200).step_by(10) {
        let config = config(&url, &unique_prefix());
        let writer = Process::begin(config.clone());
        until("it is connected", async || writer.state().is_ok()).await;
        // Looks for the end of the log when asked, and so about when the first event comes.
        let reader = Process::seldom_reader(config);
        until("it is connected", async || reader.state().is_ok()).await;
        let appending = async {
            tokio::time::sleep(Duration::from_millis(delay)).await;
            writer.append(std::slice::from_ref(&first)).await;
        };
        let (early, ()) = tokio::join!(reader.page(None, 10), appending);
        assert!(told(&early).len() <= 1 && !early.has_more, "{early:?}");
        let read = async || told(&reader.page(None, 10).await);
        until("it is read", async || read().await == std::slice::from_ref(&first)).await;
        assert_eq!((reader.engine.foreign_messages(), writer.engine.foreign_messages()), (0, 0));
        for process in [writer, reader] {
            process.engine.close().await;
        }
    }
}

#[tokio::test]
async fn what_is_no_event_is_passed_over_and_counted() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    let outsider = Outsider::at(&url).await;
    let stream = format!("{prefix}.events.log");
    let intrude = async |body: &[u8]| {
        let (options, none) = (BasicPublishOptions::default(), BasicProperties::default());
        outsider.channel.basic_publish("".into(), stream.as_str().into(), options, body, none).await.unwrap();
    };
    let events = paid(0..2);
    intrude(b"not JSON").await;
    process.append(&events[..1]).await;
    intrude(b"{\"specversion\":\"1.0\"}").await;
    intrude(b"").await;
    process.append(&events[1..]).await;
    intrude(b"the last one").await;
    until("all of them are counted", async || {
        process.end().await;
        process.engine.foreign_messages() == 4
    })
    .await;
    let fresh = Process::start(config(&url, &prefix)).await;
    for reader in [&process, &fresh] {
        for limit in [1, 10] {
            assert_eq!(distinct(&reader.rest(None, &EventFilter::default(), limit).await), events);
        }
        let end = reader.end().await;
        assert_eq!((reader.page(None, 10).await.next, reader.page(Some(end), 10).await.next), (end, end));
    }
    for process in [process, fresh] {
        process.engine.close().await;
    }
}

/// As during a rolling upgrade: nobody's place moves past what this version cannot tell of.
#[tokio::test]
async fn reading_ends_before_an_event_of_a_newer_version() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    let events = paid(0..3);
    process.append(&events[..1]).await;
    let before = process.end().await;
    let newer = events[1].to_json().replace("order.paid", "order.teleported");
    let outsider = Outsider::at(&url).await;
    let (stream, options) = (format!("{prefix}.events.log"), BasicPublishOptions::default());
    let published = outsider.channel.basic_publish(
        "".into(),
        stream.as_str().into(),
        options,
        newer.as_bytes(),
        BasicProperties::default().with_content_type("application/cloudevents+json".into()),
    );
    published.await.unwrap();
    until("it is stored", async || process.end().await != before).await;
    let past = process.end().await;
    process.append(&events[2..]).await;
    assert_eq!(
        (past.id, process.engine.foreign_messages()),
        (events[1].id, 1),
        "the place has one id in all versions"
    );

    let all = EventFilter::default();
    let paid_only = EventFilter { kind: Some(EventType::Paid), mch_id: None };
    let fresh = Process::start(config(&url, &prefix)).await;
    for reader in [&process, &fresh] {
        let first = reader.page(None, 10).await;
        assert_eq!((told(&first).len(), first.next, first.has_more), (1, before, true));
        until("reading ends before it", async || match reader.log.read(Some(before), &all, 10).await {
            Err(PortError::Unavailable { .. }) => false,
            Err(PortError::Corrupt { cause, .. }) if cause.contains("order.teleported") => true,
            read => panic!("{read:?}"),
        })
        .await;
        assert_eq!(reader.past_unread(before).await, Some(past));
        assert_eq!(reader.past_unread(past).await, None);
        assert_eq!(distinct(&reader.rest(Some(past), &all, 10).await), events[2..], "who is past it goes on");
        let wanted = [events[0].clone(), events[2].clone()];
        let told = distinct(&reader.rest(None, &paid_only, 10).await);
        assert_eq!(told, wanted, "who does not want its type misses nothing");
    }
    for process in [process, fresh] {
        process.engine.close().await;
    }
}

#[tokio::test]
async fn a_cursor_that_the_broker_pruned_is_gone() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    // The smallest stream there is: segments of 4 kB that live for a second.
    let config =
        RabbitConfig { events_age: Duration::from_secs(1), segment_bytes: 4_000, ..config(&url, &prefix) };
    let process = Process::start(config.clone()).await;
    process.append(&paid(0..10)).await;
    let early = process.page(None, 5).await;
    let (first, fifth) = (early.events[0].0, early.events[4].0);
    let number = std::sync::atomic::AtomicUsize::new(100);
    until("the broker forgets the beginning", async || {
        let number = number.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
        process.append(&paid(number..number + 10)).await;
        let oldest = process.page(None, 1).await;
        oldest.events[0].0.position > fifth.position
    })
    .await;
    // The writer still knows these events; who comes now has to ask the broker.
    let fresh = Process::start(config).await;
    for cursor in [first, fifth, Cursor::START] {
        let LogRead::Gone { oldest } = fresh.read(Some(cursor), 10).await else {
            panic!("{cursor:?} is there")
        };
        let (from_oldest, all) = (fresh.page(Some(oldest), 1_000).await, fresh.page(None, 1_000).await);
        assert_eq!(from_oldest, all);
        assert!(all.events.len() >= 10 && !all.has_more);
    }
    for process in [process, fresh] {
        process.engine.close().await;
    }
}

#[tokio::test]
async fn a_reader_that_only_reads_opens_no_other_connection() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    process.append(&paid(0..1)).await;
    let reader = Process::reader(config(&url, &prefix));
    until("it reads", async || reader.log.end().await.is_ok()).await;
    assert_eq!(told(&reader.page(None, 10).await), paid(0..1));
    assert!(reader.log.append(&paid(1..2)).await.is_err());
    assert_eq!(told(&process.page(None, 10).await), paid(0..1));
    for process in [process, reader] {
        process.engine.close().await;
    }
}

/// A stream whose arguments differ is not touched, and reading says why.
#[tokio::test]
async fn a_stream_that_is_none_is_told() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let outsider = Outsider::at(&url).await;
    let stream = format!("{prefix}.events.log");
    let mut arguments = FieldTable::default();
    arguments.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let options = QueueDeclareOptions::durable();
    outsider.channel.queue_declare(stream.as_str().into(), options, arguments).await.unwrap();
    let process = Process::begin(config(&url, &prefix));
    until("the difference is told", async || {
        let told = process.log.end().await;
        matches!(told, Err(PortError::Unavailable { part: "log", cause }) if cause.contains(&stream) && cause.contains("x-"))
    })
    .await;
    process.engine.close().await;
}
