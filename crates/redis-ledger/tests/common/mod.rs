//! What the tests share: a Redis of their own, and short words.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU16, Ordering};
use std::time::Duration;

use paybell_core::check::Check;
use paybell_core::event::{
    ContentType, Event, EventData, EventType, LearnedBy, SpecVersion, event_id, source_of,
};
use paybell_core::ids::{LeaseToken, OrderKey};
use paybell_core::lease::LeaseRequest;
use paybell_core::register::Application;
use paybell_core::time::{Millis, Timestamp};
use redis_ledger::{RedisConfig, RedisLedger};

/// A Redis in a folder of its own, killed when it is dropped.
pub struct Server {
    pub port: u16,
    dir: tempfile::TempDir,
    options: Vec<String>,
    child: Option<Child>,
}

/// The longest that anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(15);

/// A port that was free just now, below those that the system gives to clients.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 21_000 + u16::try_from(std::process::id() % 9_000).unwrap();
    loop {
        let port = 20_000 + (start - 20_000 + NEXT.fetch_add(1, Ordering::Relaxed)) % 11_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

impl Server {
    /// Starts one with these options beside the usual ones, and waits until it answers.
    pub async fn start(options: &[&str]) -> Self {
        let port = free_port();
        Self::start_at(port, options).await
    }

    pub async fn start_at(port: u16, options: &[&str]) -> Self {
        let options = options.iter().map(|option| (*option).to_owned()).collect();
        let mut server = Self { port, dir: tempfile::tempdir().unwrap(), options, child: None };
        server.begin().await;
        server
    }

    /// Starts it again on the same port and folder.
    pub async fn begin(&mut self) {
        let child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", ""])
            .args(["--dir", self.dir.path().to_str().unwrap(), "--daemonize", "no"])
            .args(&self.options)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        self.child = Some(child);
        eventually("Redis answers", || async { self.say(&["PING"]).await.is_ok() }).await;
    }

    /// Ends it as a power cut does.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// Freezes it, or lets it go on: `STOP` or `CONT`.
    pub fn signal(&self, signal: &str) {
        let id = self.child.as_ref().unwrap().id().to_string();
        assert!(Command::new("kill").args([&format!("-{signal}"), &id]).status().unwrap().success());
    }

    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// One command, on a connection of its own.
    pub async fn say(&self, words: &[&str]) -> redis::RedisResult<redis::Value> {
        let client = redis::Client::open(self.url())?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        let (name, arguments) = words.split_first().unwrap();
        redis::cmd(name).arg(arguments).query_async(&mut connection).await
    }

    /// The same, as an integer.
    pub async fn count(&self, words: &[&str]) -> i64 {
        redis::from_redis_value(self.say(words).await.unwrap()).unwrap()
    }

    pub async fn open(&self) -> RedisLedger {
        RedisLedger::open(config(&self.url())).await.unwrap()
    }

    /// With a clock that the test moves.
    pub async fn open_shifted(&self) -> (RedisLedger, Arc<AtomicI64>) {
        let shift = Arc::new(AtomicI64::new(0));
        (RedisLedger::open_shifted(config(&self.url()), shift.clone()).await.unwrap(), shift)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

pub fn config(url: &str) -> RedisConfig {
    RedisConfig::new(url, "test").unwrap()
}

/// Waits for a condition, not for time.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let reached = async {
        while !is_so().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, reached).await.is_ok(), "{what}: not within {PATIENCE:?}");
}

pub const TX: &str = "4200001234202611200123456789";
pub const LEASE: Millis = Millis::seconds(30);

pub fn key(number: usize) -> OrderKey {
    OrderKey::new("1900000109", format!("T2026112{number:010}")).unwrap()
}

pub fn asks(total_fee: i64) -> Application {
    Application {
        total_fee: paybell_core::Fen::new(total_fee).unwrap(),
        fee_type: None,
        appid: None,
        sub_mch_id: None,
        created_at: None,
        expires_at: None,
    }
}

pub fn request(check: Check, token: u128) -> LeaseRequest {
    LeaseRequest { check, token: LeaseToken(token), length: LEASE, lost_delays: [Millis(1); 7] }
}

pub fn paid_event(key: &OrderKey) -> Event {
    let at = Timestamp::from_millis(1_795_147_200_000);
    Event {
        specversion: SpecVersion::V1,
        id: event_id(key, EventType::Paid, TX),
        source: source_of(&key.mch_id),
        kind: EventType::Paid,
        subject: key.out_trade_no.clone(),
        time: at,
        datacontenttype: ContentType::Json,
        data: EventData {
            version: 1,
            mch_id: key.mch_id.clone(),
            sub_mch_id: None,
            appid: None,
            out_trade_no: key.out_trade_no.clone(),
            transaction_id: paybell_core::TransactionId::new(TX).ok(),
            total_fee: paybell_core::Fen::new(1999).ok(),
            fee_type: None,
            cash_fee: None,
            settlement_total_fee: None,
            coupon_fee: None,
            coupons: Vec::new(),
            trade_state: None,
            trade_type: None,
            bank_type: None,
            attach: None,
            paid_at: Some(at),
            learned_by: LearnedBy::Poll,
            late: false,
            registered: true,
            openid: None,
            disagreement: None,
        },
    }
}
