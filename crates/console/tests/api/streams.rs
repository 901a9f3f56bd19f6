//! Server-sent events: where a stream starts, how it resumes, what keeps it alive, and what ends it.

use std::sync::atomic::Ordering;
use std::time::Duration;

use console::{Body, Rate, Scope, Secret, Token};
use http_body_util::BodyExt;
use tokio::time::{Instant, timeout};

use crate::desk::{Desk, MCH, paid, pass};

/// A client that reads piece by piece.
struct Client(Body);

impl Client {
    /// Opens a stream and reads its greeting.
    async fn open(desk: &Desk, request: &str) -> Client {
        let response = desk.send(request).await;
        assert_eq!(response.status(), 200, "{request}");
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-store");
        assert_eq!(response.headers()["x-accel-buffering"], "no");
        let mut client = Client(response.into_body());
        assert!(client.piece().await.unwrap().starts_with(':'), "a comment opens the stream");
        client
    }

    async fn piece(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.unwrap();
        Some(String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap())
    }

    /// The next event as (id, type, data); comments are passed over.
    async fn event(&mut self) -> Option<(String, String, String)> {
        loop {
            let piece = self.piece().await?;
            if piece.starts_with(':') {
                continue;
            }
            let body = piece.strip_suffix("\n\n").unwrap();
            let line = |name: &str| {
                let mut lines = body.lines().filter_map(|line| line.strip_prefix(name));
                let value = lines.next().unwrap().to_owned();
                assert!(lines.next().is_none(), "one {name} line");
                value
            };
            return Some((line("id: "), line("event: "), line("data: ")));
        }
    }

    async fn subjects(&mut self, count: usize) -> Vec<String> {
        let mut subjects = Vec::new();
        for _ in 0..count {
            let (_, _, data) = self.event().await.unwrap();
            let event: serde_json::Value = serde_json::from_str(&data).unwrap();
            subjects.push(event["subject"].as_str().unwrap().to_owned());
        }
        subjects
    }

    async fn is_quiet(&mut self) -> bool {
        timeout(Duration::from_millis(1), self.event()).await.is_err()
    }
}

#[tokio::test(start_paused = true)]
async fn without_a_place_a_stream_tells_what_comes_from_now_on() {
    let desk = Desk::open();
    desk.order("OLD", Some(&paid(100))).await;
    let mut client = Client::open(&desk, "GET /v1/events/stream").await;
    assert!(client.is_quiet().await);
    desk.order("NEW", Some(&paid(100))).await;
    let (id, kind, data) = client.event().await.unwrap();
    let page = desk.ask("GET /v1/events").await.json();
    assert_eq!(id, page["events"][1]["cursor"].as_str().unwrap());
    assert_eq!(kind, "order.paid");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&data).unwrap(), page["events"][1]["event"], "bare");
    assert!(client.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn an_event_that_comes_between_the_head_and_the_first_read_is_not_lost() {
    let desk = Desk::open();
    let response = desk.send("GET /v1/events/stream").await;
    desk.order("T1", Some(&paid(100))).await;
    assert_eq!(Client(response.into_body()).subjects(1).await, ["T1"]);
}

#[tokio::test(start_paused = true)]
async fn a_stream_resumes_after_its_last_id_and_the_header_is_the_newer_word() {
    let desk = Desk::open();
    for name in ["A", "B", "C"] {
        desk.order(name, Some(&paid(100))).await;
    }
    let page = desk.ask("GET /v1/events").await.json();
    let cursor = |index: usize| page["events"][index]["cursor"].as_str().unwrap();
    let mut by_query = Client::open(&desk, &format!("GET /v1/events/stream?after={}", cursor(0))).await;
    assert_eq!(by_query.subjects(2).await, ["B", "C"]);
    let both = format!("GET /v1/events/stream?after={}\nLast-Event-ID: {}", cursor(0), cursor(1));
    let mut by_header = Client::open(&desk, &both).await;
    assert_eq!(by_header.subjects(1).await, ["C"]);
    assert!(by_header.is_quiet().await);
    desk.order("D", Some(&paid(100))).await;
    assert_eq!(by_header.subjects(1).await, ["D"], "the old part runs into the live one");
}

#[tokio::test(start_paused = true)]
async fn filters_hold_for_old_and_new_events() {
    let desk = Desk::open();
    let start = desk.ask("GET /v1/events").await.json()["next"].as_str().unwrap().to_owned();
    desk.order("GOOD1", Some(&paid(100))).await;
    desk.order("BAD1", Some(&paid(90))).await;
    let request = format!("GET /v1/events/stream?type=order.mismatch&mch_id={MCH}&after={start}");
    let mut client = Client::open(&desk, &request).await;
    desk.order("GOOD2", Some(&paid(100))).await;
    desk.order("BAD2", Some(&paid(90))).await;
    assert_eq!(client.subjects(2).await, ["BAD1", "BAD2"]);
    let mut others = Client::open(&desk, &format!("GET /v1/events/stream?mch_id=1&after={start}")).await;
    assert!(others.is_quiet().await);
}

#[tokio::test(start_paused = true)]
async fn a_place_that_is_gone_resets_the_stream_and_ends_it() {
    let desk = Desk::open();
    for name in ["A", "B", "C"] {
        desk.order(name, Some(&paid(100))).await;
    }
    let page = desk.ask("GET /v1/events?limit=1").await.json();
    desk.engine.stored.lock().unwrap().pruned = 2;
    let after = page["next"].as_str().unwrap();
    let mut client = Client::open(&desk, &format!("GET /v1/events/stream\nLast-Event-ID: {after}")).await;
    let (id, kind, data) = client.event().await.unwrap();
    let oldest =
        serde_json::from_str::<serde_json::Value>(&data).unwrap()["oldest"].as_str().unwrap().to_owned();
    assert_eq!((kind.as_str(), &id), ("reset", &oldest));
    assert_eq!(client.piece().await, None, "nothing follows a reset");
    let mut again = Client::open(&desk, &format!("GET /v1/events/stream\nLast-Event-ID: {id}")).await;
    assert_eq!(again.subjects(1).await, ["C"], "a browser that comes back continues at the oldest place");
}

#[tokio::test(start_paused = true)]
async fn a_comment_comes_every_fifteen_seconds() {
    let desk = Desk::open();
    let mut client = Client::open(&desk, "GET /v1/events/stream").await;
    let opened = Instant::now();
    for beat in 1..=3 {
        assert_eq!(client.piece().await.unwrap(), ":\n\n");
        assert_eq!(opened.elapsed(), Duration::from_secs(15 * beat));
    }
    pass(14_000).await;
    desk.order("T1", Some(&paid(100))).await;
    assert_eq!(client.subjects(1).await, ["T1"]);
    assert_eq!(client.piece().await.unwrap(), ":\n\n");
    assert_eq!(opened.elapsed(), Duration::from_secs(60), "events do not put the comment off");
}

#[tokio::test(start_paused = true)]
async fn pages_are_read_only_as_the_client_takes_them() {
    let desk = Desk::open();
    let start = desk.ask("GET /v1/events").await.json()["next"].as_str().unwrap().to_owned();
    for number in 0..250 {
        desk.order(&format!("T{number}"), Some(&paid(100))).await;
    }
    let mut client = Client::open(&desk, &format!("GET /v1/events/stream?after={start}")).await;
    let reads = || desk.engine.log_reads.load(Ordering::SeqCst);
    let before = reads();
    pass(10_000).await;
    assert_eq!(reads() - before, 0, "nobody reads, so nothing is read");
    client.subjects(1).await;
    pass(1_000).await;
    assert_eq!(reads() - before, 1, "one page in hand");
    assert_eq!(client.subjects(99).await.len(), 99);
    assert_eq!(reads() - before, 1);
    assert_eq!(client.subjects(150).await.last().unwrap(), "T249");
    assert_eq!(reads() - before, 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_quiet_stream_and_one_with_events_in_hand() {
    let desk = Desk::open();
    let start = desk.ask("GET /v1/events").await.json()["next"].as_str().unwrap().to_owned();
    desk.order("A", Some(&paid(100))).await;
    desk.order("B", Some(&paid(100))).await;
    let mut quiet = Client::open(&desk, "GET /v1/events/stream").await;
    let mut busy = Client::open(&desk, &format!("GET /v1/events/stream?after={start}")).await;
    assert_eq!(busy.subjects(1).await, ["A"]);
    let stop = async {
        pass(100).await;
        desk.drain.cancel();
    };
    let (ended, ()) = tokio::join!(quiet.piece(), stop);
    assert_eq!((ended, busy.piece().await), (None, None));
    assert_eq!(desk.ask("GET /v1/events/stream").await.status, 503, "no new stream while draining");
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_goes_away_ends_the_stream_for_the_client_to_come_back() {
    let desk = Desk::open();
    let mut client = Client::open(&desk, "GET /v1/events/stream").await;
    assert!(client.is_quiet().await);
    desk.engine.is_away.store(true, Ordering::SeqCst);
    desk.engine.emit(Vec::new());
    assert_eq!(client.event().await, None);
}

#[tokio::test(start_paused = true)]
async fn streams_are_bounded_and_a_closed_one_gives_its_place_back() {
    let desk = Desk::with(|config| config.streams_max = 1);
    let client = Client::open(&desk, "GET /v1/events/stream").await;
    let refused = desk.ask("GET /v1/events/stream").await;
    assert_eq!((refused.status, refused.header("retry-after")), (503, "1"));
    drop(client);
    Client::open(&desk, "GET /v1/events/stream").await;
}

#[tokio::test(start_paused = true)]
async fn a_stream_leaves_out_what_was_decided_in_shadow_unless_it_is_asked_for() {
    let desk = Desk::open();
    let start = desk.ask("GET /v1/events").await.json()["next"].as_str().unwrap().to_owned();
    for name in ["A", "B", "C"] {
        desk.order(name, Some(&paid(100))).await;
    }
    desk.engine.stored.lock().unwrap().events[1].order_mut().unwrap().shadow = true;
    let mut usual = Client::open(&desk, &format!("GET /v1/events/stream?after={start}")).await;
    assert_eq!(usual.subjects(2).await, ["A", "C"]);
    let mut curious =
        Client::open(&desk, &format!("GET /v1/events/stream?after={start}&shadow=include")).await;
    assert_eq!(curious.subjects(3).await, ["A", "B", "C"]);
}

#[tokio::test(start_paused = true)]
async fn a_token_that_is_taken_away_ends_its_streams_and_no_others() {
    let token = |name: &str, secret: &str| Token {
        name: name.to_owned(),
        secret: Secret::new(secret).unwrap(),
        scopes: vec![Scope::Events],
        rate: Rate::DEFAULT,
        streams_max: Token::STREAMS_MAX,
    };
    let desk = Desk::with(|config| config.tokens = vec![token("one", "first"), token("other", "second")]);
    let stream = |secret: &str| format!("GET /v1/events/stream\nAuthorization: Bearer {secret}");
    let mut goes = Client::open(&desk, &stream("first")).await;
    let mut stays = Client::open(&desk, &stream("second")).await;
    desk.console.replace_tokens(vec![token("one", "third"), token("other", "second")]);
    let ended = timeout(Duration::from_secs(1), goes.piece()).await;
    assert_eq!(ended, Ok(None), "at once, not with the next event");
    assert!(stays.is_quiet().await, "it goes on");
    assert_eq!(desk.ask("GET /v1/events\nAuthorization: Bearer first").await.status, 401);
    assert_eq!(desk.ask("GET /v1/events\nAuthorization: Bearer third").await.status, 200);
}
