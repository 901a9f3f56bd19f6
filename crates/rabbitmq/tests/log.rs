//! The event log on a stream: the port's rules, old pages, other processes, and what can happen to a stream.
#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod stand;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use lapin::BasicProperties;
use lapin::options::{BasicPublishOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use paybell_core::check::Check;
use paybell_core::event::{Event, EventType};
use paybell_core::ids::OrderKey;
use paybell_core::ports::{Cursor, EventFilter, EventPage, LogRead, PortError};
use paybell_core::time::Millis;
use rabbitmq::RabbitConfig;
use rabbitmq::topology::{Unasked, apply, check};
use testkit::conformance::{Engines, Factory, Group, Subject, absent, run_groups};
use testkit::servers::{Proxy, Rabbit, shared_rabbit, unique_prefix};
use tokio::task::JoinSet;
use tokio::time::timeout;

use stand::{Outsider, Process, config, event, paid, read_at_last, until};

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
    let begun = Instant::now();
    for part in events.chunks(500) {
        writer.log.append(part).await.unwrap();
    }
    println!("5,000 events appended in {:?}", begun.elapsed());
    // A process that comes now knows of the end only.
    let reader = Process::start(config(&url, &prefix)).await;
    for limit in [137, 1_000] {
        let begun = Instant::now();
        assert_same(&reader.rest(None, &EventFilter::default(), limit).await, &events);
        println!("5,000 events in pages of {limit}: {:?}", begun.elapsed());
    }
    let closed = EventFilter { kind: Some(EventType::Closed), mch_id: None };
    let wanted: Vec<_> = events.iter().filter(|event| event.kind == EventType::Closed).cloned().collect();
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
        assert_eq!(page.events[99].1, events[99]);
    }
    for process in [writer, reader] {
        process.engine.close().await;
    }
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
    writer.log.append(&events[..1]).await.unwrap();
    let first = reader.page(None, 1).await.next;
    let (log, written) = (writer.log.clone(), events.clone());
    let writing = tokio::spawn(async move {
        for part in written[1..].chunks(31) {
            log.append(part).await.unwrap();
        }
    });
    let mut askers = JoinSet::new();
    for _ in 0..4 {
        let (log, last) = (reader.log.clone(), events[3_999].id);
        askers.spawn(async move { while log.end().await.unwrap().id != last {} });
    }
    writing.await.unwrap();
    timeout(Duration::from_secs(60), askers.join_all()).await.expect("the end comes in sight");
    assert_same(&reader.rest(Some(first), &EventFilter::default(), 1_000).await, &events[1..]);
    for process in [writer, reader] {
        process.engine.close().await;
    }
}

#[tokio::test]
async fn what_another_process_appends_wakes_us_and_is_there() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let (here, there) =
        (Process::start(config(&url, &prefix)).await, Process::start(config(&url, &prefix)).await);
    let mut place = here.log.end().await.unwrap();
    for event in paid(0..20) {
        let (log, grown) = (here.log.clone(), place);
        let waiting = tokio::spawn(async move { timeout(Duration::from_secs(60), log.grown(grown)).await });
        there.log.append(std::slice::from_ref(&event)).await.unwrap();
        let page = here.page(Some(place), 10).await;
        assert_eq!(
            page.events.iter().map(|(_, event)| event).collect::<Vec<_>>(),
            [&event],
            "confirmed is readable"
        );
        waiting.await.unwrap().expect("somebody wakes us").unwrap();
        place = page.next;
        assert_eq!(here.log.end().await.unwrap(), place);
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
            append_at_last(&writer, &first).await;
        };
        let (early, ()) = tokio::join!(reader.page(None, 10), appending);
        assert!(early.events.len() <= 1 && !early.has_more, "{early:?}");
        let event = |page: EventPage| page.events.into_iter().map(|(_, event)| event).next();
        until("it is read", async || event(reader.page(None, 10).await).as_ref() == Some(&first)).await;
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
    process.log.append(&events[..1]).await.unwrap();
    intrude(b"{\"specversion\":\"1.0\"}").await;
    intrude(b"").await;
    process.log.append(&events[1..]).await.unwrap();
    intrude(b"the last one").await;
    until("all of them are counted", async || {
        process.log.end().await.unwrap();
        process.engine.foreign_messages() == 4
    })
    .await;
    let fresh = Process::start(config(&url, &prefix)).await;
    for reader in [&process, &fresh] {
        for limit in [1, 10] {
            assert_eq!(reader.rest(None, &EventFilter::default(), limit).await, events);
        }
        let end = reader.log.end().await.unwrap();
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
    process.log.append(&events[..1]).await.unwrap();
    let before = process.log.end().await.unwrap();
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
    until("it is stored", async || process.log.end().await.unwrap() != before).await;
    let past = process.log.end().await.unwrap();
    process.log.append(&events[2..]).await.unwrap();
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
        assert_eq!((first.events.len(), first.next, first.has_more), (1, before, true));
        let error = reader.log.read(Some(before), &all, 10).await.unwrap_err();
        assert!(
            matches!(error, PortError::Corrupt { .. }) && error.to_string().contains("order.teleported"),
            "{error}"
        );
        assert_eq!(reader.log.past_unread(before, &all).await.unwrap(), Some(past));
        assert_eq!(reader.log.past_unread(past, &all).await.unwrap(), None);
        assert_eq!(reader.rest(Some(past), &all, 10).await, events[2..], "who is past it goes on");
        let wanted = [events[0].clone(), events[2].clone()];
        assert_eq!(
            reader.rest(None, &paid_only, 10).await,
            wanted,
            "who does not want its type misses nothing"
        );
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
    process.log.append(&paid(0..10)).await.unwrap();
    let early = process.page(None, 5).await;
    let (first, fifth) = (early.events[0].0, early.events[4].0);
    let number = std::sync::atomic::AtomicUsize::new(100);
    until("the broker forgets the beginning", async || {
        let number = number.fetch_add(10, std::sync::atomic::Ordering::Relaxed);
        process.log.append(&paid(number..number + 10)).await.unwrap();
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
async fn a_log_that_lost_its_tail_is_noticed_by_who_followed_it() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    process.log.append(&paid(0..10)).await.unwrap();
    let before = process.page(None, 10).await;
    // As after a power failure: the same stream, shorter, and then other events at the same places.
    let outsider = Outsider::at(&url).await;
    let stream = format!("{prefix}.events.log");
    outsider.channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let events = paid(50..55);
    until("it is there again", async || process.log.append(&events[..1]).await.is_ok()).await;
    process.log.append(&events[1..]).await.unwrap();
    until("the follower stands at its end", async || {
        process.log.end().await.is_ok_and(|end| end.id == events[4].id)
    })
    .await;
    // Either log may begin with a mark.
    for (cursor, _) in &before.events[..4] {
        let read = process.read(Some(*cursor), 10).await;
        assert!(
            matches!(read, LogRead::Gone { oldest: Cursor::START }),
            "another event lies there: {read:?}"
        );
    }
    // What is not there at all might be on another node: a mark in the log tells.
    let beyond = before.events[9].0;
    let mut waited = 0;
    let begun = Instant::now();
    let oldest = loop {
        match process.log.read(Some(beyond), &EventFilter::default(), 10).await {
            Ok(LogRead::Gone { oldest }) => break oldest,
            Err(PortError::Unavailable { .. }) if begun.elapsed() < Duration::from_secs(60) => waited += 1,
            read => panic!("{read:?}"),
        }
    };
    println!("known to be gone after {:?}", begun.elapsed());
    assert!(waited >= 1, "it might have been on its way: {waited}");
    assert_eq!(oldest, Cursor::START);
    assert_eq!(process.engine.foreign_messages(), 0, "a mark is ours");
    assert_eq!(process.rest(None, &EventFilter::default(), 2).await, events);
    process.engine.close().await;
}

#[tokio::test]
async fn a_log_that_was_replaced_while_we_were_away_is_noticed() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let proxy = Proxy::start(port_of(&url));
    let (writer, reader) = (
        Process::start(config(&url, &prefix)).await,
        Process::start(config(&proxy.through(&url), &prefix)).await,
    );
    writer.log.append(&paid(0..10)).await.unwrap();
    let before = reader.page(None, 10).await;
    proxy.refuse();
    let outsider = Outsider::at(&url).await;
    let stream = format!("{prefix}.events.log");
    outsider.channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    // It is longer than the old one: every old place has an event again, another one.
    let events = paid(50..65);
    append_at_last(&writer, &events[0]).await;
    writer.log.append(&events[1..]).await.unwrap();
    proxy.speak();
    until("the reader stands at the new end", async || {
        reader.log.end().await.is_ok_and(|end| end.id == events[14].id)
    })
    .await;
    for (cursor, _) in &before.events {
        let read = reader.read(Some(*cursor), 10).await;
        assert!(matches!(read, LogRead::Gone { oldest: Cursor::START }), "{read:?}");
    }
    assert_eq!(reader.rest(None, &EventFilter::default(), 4).await, events);
    for process in [writer, reader] {
        process.engine.close().await;
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap()
}

/// Appends until it is done, as a worker does.
async fn append_at_last(process: &Process, event: &Event) {
    until("the event is appended", async || process.log.append(std::slice::from_ref(event)).await.is_ok())
        .await;
}

/// A broker that has had its first stream for a moment only would lose it at a SIGKILL (see the test after the next).
/// This has it write to disk at once what it writes half a second later.
async fn remember_the_first_stream(rabbit: &Rabbit) {
    rabbit.ctl(&["eval", "[dets:sync(Table) || Table <- dets:all()]."]).await;
}

#[tokio::test]
async fn a_broker_that_is_killed_is_found_again_without_gaps() {
    let (rabbit, prefix) = (Rabbit::start().await, unique_prefix());
    let process = Process::start(config(&rabbit.url(), &prefix)).await;
    remember_the_first_stream(&rabbit).await;
    let events = paid(0..40);
    process.log.append(&events[..10]).await.unwrap();
    let place = process.page(None, 100).await.next;

    rabbit.ctl(&["close_all_connections", "test"]).await;
    for event in &events[10..20] {
        append_at_last(&process, event).await;
    }
    until("we follow again", async || process.log.end().await.is_ok()).await;
    let seen = process.rest(Some(place), &EventFilter::default(), 100).await;
    assert_eq!(distinct(&seen), events[10..20]);
    let end = process.log.end().await.unwrap();

    rabbit.kill().await;
    until("the outage is told", async || process.state().is_err()).await;
    let begun = Instant::now();
    let told = process.log.append(&events[20..21]).await;
    assert!(matches!(told, Err(PortError::Unavailable { part: "log", .. })), "{told:?}");
    let told = process.log.read(None, &EventFilter::default(), 10).await;
    assert!(matches!(told, Err(PortError::Unavailable { part: "log", .. })), "{told:?}");
    let told = process.log.end().await;
    assert!(matches!(told, Err(PortError::Unavailable { part: "log", .. })), "{told:?}");
    assert!(begun.elapsed() < Duration::from_secs(20), "three answers within {:?}", begun.elapsed());
    let log = process.log.clone();
    let waiting = tokio::spawn(async move { log.grown(end).await });
    rabbit.start_again().await;
    let begun = Instant::now();
    for event in &events[20..] {
        append_at_last(&process, event).await;
    }
    println!("events are appended {:?} after the broker is back", begun.elapsed());
    timeout(Duration::from_secs(60), waiting).await.expect("the follower is back").unwrap().unwrap();
    let all = process.rest(None, &EventFilter::default(), 100).await;
    assert_eq!(distinct(&all), events, "nothing that was confirmed is lost, nothing is out of order");
    let fresh = Process::start(config(&rabbit.url(), &prefix)).await;
    assert_eq!(fresh.rest(None, &EventFilter::default(), 100).await, all, "what we kept is what is there");
    for process in [process, fresh] {
        process.engine.close().await;
    }
}

/// What RabbitMQ 3.10 does with its first stream when it is killed within a second after declaring it: the coordinator
/// of all streams is not in the list of what to start, and the stream is never served again. The checks go on, the log
/// says what is wrong, and the remedy of docs/operations.md brings it back while we run.
#[tokio::test]
async fn a_stream_that_the_broker_lost_stops_no_check_and_comes_back_by_the_remedy_in_the_guide() {
    let (rabbit, prefix) = (Rabbit::start().await, unique_prefix());
    let config = config(&rabbit.url(), &prefix);
    apply(&config).await.unwrap();
    rabbit.kill().await;
    rabbit.start_again().await;

    let process = Process::begin(config.clone());
    let queue = process.engine.queue();
    let order = OrderKey::new("1900000109", "T2026112000000001").unwrap();
    until("checks are taken", async || queue.publish(&[Check::manual(order.clone())]).await.is_ok()).await;
    let told = || process.state().err().map(|error| error.to_string());
    until("the log works, or says why it does not", async || {
        told().is_none_or(|told| told.contains("A stream that does not come back"))
    })
    .await;
    if told().is_none() {
        println!("this broker had written its first stream down in time: there is nothing to mend");
        return;
    }
    let stream = format!("{prefix}.events.log");
    let name = |error: Unasked| error.to_string();
    let checked = check(&config).await.map_err(name).unwrap_err();
    assert!(checked.contains(&stream) && checked.contains("does not come back"), "{checked}");
    assert!(process.log.append(&paid(0..1)).await.is_err());

    let guide = std::fs::read_to_string("../../docs/operations.md").unwrap();
    let remedy = guide.lines().find_map(|line| line.strip_prefix("rabbitmqctl eval '")).unwrap();
    let remedy = remedy.strip_suffix('\'').unwrap();
    let remedy = remedy.replace("paybell.events.log", &stream).replace("<<\"paybell\">>", "<<\"/\">>");
    assert_eq!(rabbit.ctl(&["eval", &remedy]).await.trim(), "ok");
    until("the log is back", async || process.log.append(&paid(0..1)).await.is_ok()).await;
    // Reading has a connection of its own, with its own pauses.
    until("it reads again", async || process.log.read(None, &EventFilter::default(), 1).await.is_ok()).await;
    assert_eq!(distinct(&process.rest(None, &EventFilter::default(), 100).await), paid(0..1));
    assert_eq!(check(&config).await.unwrap(), []);
    process.engine.close().await;
}

/// Without the repeats that unknown outcomes made.
fn distinct(events: &[Event]) -> Vec<Event> {
    let mut seen = std::collections::HashSet::new();
    events.iter().filter(|event| seen.insert(event.id)).cloned().collect()
}

#[tokio::test]
async fn a_network_that_falls_silent_is_told_within_three_seconds() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let proxy = Proxy::start(port_of(&url));
    let process = Process::start(config(&proxy.through(&url), &prefix)).await;
    let events = paid(0..3);
    process.log.append(&events[..1]).await.unwrap();
    let place = process.log.end().await.unwrap();
    proxy.silence();
    let begun = Instant::now();
    let (filter, log) = (EventFilter::default(), &process.log);
    let (appended, read, end) =
        tokio::join!(log.append(&events[1..2]), log.read(None, &filter, 9), log.end());
    assert!(appended.is_err() && read.is_err() && end.is_err(), "{appended:?} {read:?} {end:?}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    tokio::time::sleep(Duration::from_secs(8)).await;
    proxy.speak();
    let begun = Instant::now();
    append_at_last(&process, &events[2]).await;
    until("we read again", async || process.log.end().await.is_ok_and(|end| end.id == events[2].id)).await;
    println!("all is well {:?} after the silence", begun.elapsed());
    let seen = process.rest(Some(place), &filter, 10).await;
    assert_eq!(seen.last(), Some(&events[2]));
    process.engine.close().await;
}

#[tokio::test]
async fn a_reader_that_only_reads_opens_no_other_connection() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    process.log.append(&paid(0..1)).await.unwrap();
    let reader = Process::reader(config(&url, &prefix));
    until("it reads", async || reader.log.end().await.is_ok()).await;
    assert_eq!(reader.page(None, 10).await.events.len(), 1);
    assert!(reader.log.append(&paid(1..2)).await.is_err());
    assert_eq!(process.page(None, 10).await.events.len(), 1);
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
