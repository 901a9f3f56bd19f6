//! What a broken broker or network does to the log, and a stream that is another one than before.

use std::time::{Duration, Instant};

use lapin::options::QueueDeleteOptions;
use paybell_core::check::Check;
use paybell_core::ids::OrderKey;
use paybell_core::ports::{Cursor, EventFilter, LogRead, PortError};
use rabbitmq::topology::{Unasked, apply, check};
use testkit::servers::{Proxy, Rabbit, shared_rabbit, unique_prefix};
use testkit::stalls::Stalls;
use tokio::time::timeout;

use crate::stand::{Outsider, Process, config, distinct, paid, until};

/// By then whoever asks is answered; what the machine kept back is left out.
const ANSWER_MAX: Duration = Duration::from_millis(3_500);

#[tokio::test]
async fn a_log_that_lost_its_tail_is_noticed_by_who_followed_it() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let process = Process::start(config(&url, &prefix)).await;
    process.append(&paid(0..40)).await;
    let before = process.page(None, 40).await;
    // As after a power failure: the same stream, shorter, and then other events at the same places.
    let outsider = Outsider::at(&url).await;
    let stream = format!("{prefix}.events.log");
    outsider.channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    let events = paid(50..55);
    process.append(&events).await;
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
    let beyond = before.events[39].0;
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
    assert_eq!(distinct(&process.rest(None, &EventFilter::default(), 2).await), events);
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
    writer.append(&paid(0..10)).await;
    let before = reader.page(None, 10).await;
    proxy.refuse();
    let outsider = Outsider::at(&url).await;
    let stream = format!("{prefix}.events.log");
    outsider.channel.queue_delete(stream.as_str().into(), QueueDeleteOptions::default()).await.unwrap();
    // It is longer than the old one: every old place has an event again, another one.
    let events = paid(50..65);
    writer.append(&events).await;
    proxy.speak();
    until("the reader stands at the new end", async || {
        reader.log.end().await.is_ok_and(|end| end.id == events[14].id)
    })
    .await;
    for (cursor, _) in &before.events {
        let read = reader.read(Some(*cursor), 10).await;
        assert!(matches!(read, LogRead::Gone { oldest: Cursor::START }), "{read:?}");
    }
    assert_eq!(distinct(&reader.rest(None, &EventFilter::default(), 4).await), events);
    for process in [writer, reader] {
        process.engine.close().await;
    }
}

fn port_of(url: &str) -> u16 {
    url.rsplit_once(':').unwrap().1.split('/').next().unwrap().parse().unwrap()
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
    process.append(&events[..10]).await;
    let place = process.page(None, 100).await.next;

    rabbit.ctl(&["close_all_connections", "test"]).await;
    for event in &events[10..20] {
        process.append(std::slice::from_ref(event)).await;
    }
    until("we follow again", async || process.log.end().await.is_ok()).await;
    let seen = process.rest(Some(place), &EventFilter::default(), 100).await;
    assert_eq!(distinct(&seen), events[10..20]);
    let end = process.end().await;

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
        process.append(std::slice::from_ref(event)).await;
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
    process.append(&paid(0..1)).await;
    assert_eq!(distinct(&process.rest(None, &EventFilter::default(), 100).await), paid(0..1));
    assert_eq!(check(&config).await.unwrap(), []);
    process.engine.close().await;
}

#[tokio::test]
async fn a_network_that_falls_silent_is_told_within_three_seconds() {
    let (url, prefix) = (shared_rabbit().await, unique_prefix());
    let proxy = Proxy::start(port_of(&url));
    let process = Process::start(config(&proxy.through(&url), &prefix)).await;
    let events = paid(0..3);
    process.append(&events[..1]).await;
    let place = process.end().await;
    let stalls = Stalls::watch();
    proxy.silence();
    let watch = stalls.begin();
    let (filter, log) = (EventFilter::default(), &process.log);
    let (appended, read, end) =
        tokio::join!(log.append(&events[1..2]), log.read(None, &filter, 9), log.end());
    assert!(appended.is_err() && read.is_err() && end.is_err(), "{appended:?} {read:?} {end:?}");
    assert!(watch.elapsed() < ANSWER_MAX, "{:?} beside {:?}", watch.elapsed(), watch.lost());
    tokio::time::sleep(Duration::from_secs(8)).await;
    proxy.speak();
    let begun = Instant::now();
    process.append(&events[2..]).await;
    until("we read again", async || process.log.end().await.is_ok_and(|end| end.id == events[2].id)).await;
    println!("all is well {:?} after the silence", begun.elapsed());
    let seen = process.rest(Some(place), &filter, 10).await;
    assert_eq!(seen.last(), Some(&events[2]));
    process.engine.close().await;
}
