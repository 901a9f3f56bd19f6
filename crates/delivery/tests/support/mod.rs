//! What the tests share: events, an engine in a temporary folder, and an endpoint whose answers are a function.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use delivery::transport::{Answer, Post, Reply, Transport};
use delivery::{
    Begin, Company, Deliveries, DeliveryMetrics, Endpoint, EndpointName, EndpointUrl, Kind, MerchantKey,
    Ports, Reach, Timing, Wanted, WebhookSecret,
};
use embedded::{Engine, EngineConfig, SystemClock};
use futures_util::future::BoxFuture;
use paybell_core::event::{Event, EventType, event_id};
use paybell_core::ports::{Cursor, EventFilter, EventLog, LogRead, PortError};
use paybell_core::{OrderKey, Timestamp};
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use wechat_pay::sign::{Algorithm, ApiKey};

/// 2026-11-20 12:00:00 in Beijing.
pub const START: Timestamp = Timestamp::from_millis(1_795_147_200_000);

/// The longest that anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
pub const OTHER_SECRET: &str = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD";
pub const API_KEY: &str = "K6YzxuySxxaXJLpwoBFdUAxcN3HHu1ED";
pub const TX: &str = "4200001234202611200123456789";

pub fn key(mch_id: &str, number: usize) -> OrderKey {
    OrderKey::new(mch_id, format!("T2026112000{number:06}")).unwrap()
}

/// An event in its published form.
pub fn event(mch_id: &str, number: usize, kind: EventType) -> Event {
    let key = key(mch_id, number);
    let id = event_id(&key, kind, TX);
    let text = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/paybell/{mch_id}","type":"{}",
        "subject":"{}","time":"2026-11-20T12:00:05+08:00","datacontenttype":"application/json",
        "data":{{"version":1,"mch_id":"{mch_id}","sub_mch_id":null,"appid":"wx8888888888888888","out_trade_no":"{}",
        "transaction_id":"{TX}","total_fee":1999,"fee_type":"CNY","cash_fee":1899,"settlement_total_fee":null,
        "coupon_fee":100,"coupons":[{{"id":"2000001","type":"CASH","fee":100}}],"trade_state":"SUCCESS",
        "trade_type":"JSAPI","bank_type":"OTHERS","attach":"附加 <&>","paid_at":"2026-11-20T12:00:03+08:00",
        "learned_by":"poll","late":false,"registered":true}}}}"#,
        kind.as_str(),
        key.out_trade_no,
        key.out_trade_no,
    );
    serde_json::from_str(&text).unwrap()
}

pub fn paid(number: usize) -> Event {
    event("1900000109", number, EventType::Paid)
}

/// A store of its own; gone when dropped.
pub struct Store {
    pub engine: Engine,
    _dir: tempfile::TempDir,
}

impl Store {
    pub fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = EngineConfig::in_dir(dir.path().join("data"));
        Self { engine: Engine::open(config, Arc::new(SystemClock::new())).unwrap(), _dir: dir }
    }

    pub fn ports(&self) -> Ports {
        let engine = Arc::new(self.engine.clone());
        Ports { log: engine.clone(), notes: engine.clone(), ledger: engine.clone(), records: engine }
    }

    pub fn deliveries(&self, endpoints: &[Endpoint], transport: Arc<dyn Transport>) -> Deliveries {
        Deliveries {
            endpoints: endpoints.to_vec(),
            ports: self.ports(),
            transport,
            key_of: Arc::new(|mch_id| {
                let key = ApiKey::new(API_KEY).unwrap();
                (mch_id.as_str() == "1900000109").then_some(MerchantKey { key, algorithm: Algorithm::Md5 })
            }),
            metrics: DeliveryMetrics::register(&mut Registry::default(), []),
            timing: QUICK,
            company: Company::Others,
        }
    }
}

/// A log that is read from a copy which may be behind: it ends there and looks well.
pub struct Lagging {
    pub log: Arc<dyn EventLog>,
    pub ends_at: AtomicU64,
    /// Reads that found nothing, because they ended before the log does.
    pub short_reads: AtomicU64,
    /// The position of an event that this version cannot read.
    pub unread: AtomicU64,
}

impl Lagging {
    pub fn new(log: Arc<dyn EventLog>) -> Arc<Self> {
        let [ends_at, unread] = [u64::MAX; 2].map(AtomicU64::new);
        Arc::new(Self { log, ends_at, short_reads: AtomicU64::new(0), unread })
    }
}

#[async_trait]
impl EventLog for Lagging {
    async fn append(&self, events: &[Event]) -> Result<(), PortError> {
        self.log.append(events).await
    }

    async fn read(
        &self,
        after: Option<Cursor>,
        filter: &EventFilter,
        limit: usize,
    ) -> Result<LogRead, PortError> {
        let ends_at = self.ends_at.load(Ordering::SeqCst);
        if after.is_some_and(|after| after.position > ends_at) {
            return Err(PortError::Unavailable {
                part: "log",
                cause: "it ends before that place".to_owned(),
            });
        }
        let LogRead::Page(mut page) = self.log.read(after, filter, limit).await? else {
            panic!("the log begins later")
        };
        if page.next.position > ends_at {
            page.events.retain(|(cursor, _)| cursor.position <= ends_at);
            let newest = page.events.last().map(|(cursor, _)| *cursor);
            (page.next, page.has_more) = (newest.or(after).unwrap_or(Cursor::START), false);
            let found_nothing = u64::from(page.events.is_empty());
            self.short_reads.fetch_add(found_nothing, Ordering::SeqCst);
        }
        let unread = self.unread.load(Ordering::SeqCst);
        let place = after.unwrap_or(Cursor::START);
        if (place.position + 1..=page.next.position).contains(&unread) {
            page.events.retain(|(cursor, _)| cursor.position < unread);
            let newest = page.events.last().map(|(cursor, _)| *cursor);
            (page.next, page.has_more) = (newest.unwrap_or(place), true);
            if page.next == place {
                return Err(PortError::Corrupt {
                    part: "log",
                    cause: "an event of a newer version".to_owned(),
                });
            }
        }
        Ok(LogRead::Page(page))
    }

    async fn past_unread(&self, place: Cursor, filter: &EventFilter) -> Result<Option<Cursor>, PortError> {
        let LogRead::Page(page) = self.log.read(Some(place), filter, 1).await? else { panic!("pruned") };
        Ok(Some(page.next).filter(|next| next.position == self.unread.load(Ordering::SeqCst)))
    }

    async fn end(&self) -> Result<Cursor, PortError> {
        self.log.end().await
    }

    async fn grown(&self, past: Cursor) -> Result<(), PortError> {
        self.log.grown(past).await
    }
}

/// Shorter than in production, so that a test sees several of each; the lease is one that a living process keeps on a
/// machine that stands still for seconds.
pub const QUICK: Timing = Timing {
    lease: Duration::from_secs(9),
    keep_gap: Duration::from_millis(20),
    wishes_gap: Duration::from_millis(20),
    drain: Duration::from_secs(2),
};

pub fn webhook(name: &str, url: &str) -> Endpoint {
    let secrets = vec![WebhookSecret::parse(SECRET).unwrap()];
    endpoint(name, url, Kind::Webhook(secrets.into()))
}

pub fn endpoint(name: &str, url: &str, kind: Kind) -> Endpoint {
    let reach = Reach { allow_private: true, allow_http: true };
    let endpoint = Endpoint {
        name: EndpointName::new(name).unwrap(),
        url: EndpointUrl::parse(url, reach).unwrap(),
        wanted: Wanted::default(),
        begin: Begin::Oldest,
        kind,
    };
    endpoint.checked().unwrap()
}

pub fn answer(status: u16, body: &str) -> Reply {
    let body = Bytes::copy_from_slice(body.as_bytes());
    Reply::Answered(Answer { status, retry_after: None, body, is_whole: true })
}

type Answering = dyn Fn(&Post) -> BoxFuture<'static, Reply> + Send + Sync;

/// A transport that ends in a function; keeps what it was given, and when.
pub struct Stage {
    posts: Mutex<Vec<(Instant, Post)>>,
    answering: Box<Answering>,
}

impl Stage {
    pub fn new(answering: impl Fn(&Post) -> Reply + Send + Sync + 'static) -> Arc<Self> {
        Self::pausing(move |post| {
            let reply = answering(post);
            Box::pin(async move { reply })
        })
    }

    pub fn pausing(
        answering: impl Fn(&Post) -> BoxFuture<'static, Reply> + Send + Sync + 'static,
    ) -> Arc<Self> {
        Arc::new(Self { posts: Mutex::default(), answering: Box::new(answering) })
    }

    pub fn posts(&self) -> Vec<(Instant, Post)> {
        self.posts.lock().unwrap().clone()
    }

    /// Posts to a path.
    pub fn to(&self, path: &str) -> Vec<(Instant, Post)> {
        self.posts().into_iter().filter(|(_, post)| post.url.uri().path() == path).collect()
    }
}

#[async_trait]
impl Transport for Stage {
    async fn post(&self, post: Post) -> Reply {
        self.posts.lock().unwrap().push((Instant::now(), post.clone()));
        (self.answering)(&post).await
    }
}

pub fn header<'p>(post: &'p Post, name: &str) -> Option<&'p str> {
    post.headers.iter().find(|(known, _)| known.as_str() == name).map(|(_, value)| value.as_str())
}

pub fn event_of(post: &Post) -> Event {
    serde_json::from_slice(&post.body).unwrap()
}

/// Waits until a condition holds.
pub async fn until<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let reached = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "it never comes to pass that {what}");
}
