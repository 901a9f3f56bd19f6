//! What the tests share: ledgers on a Redis of their own, and short words.

#![allow(dead_code, reason = "each test binary uses its own part of this")]

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use paybell_core::check::Check;
use paybell_core::decide::Change;
use paybell_core::event::{
    ContentType, Event, EventType, LearnedBy, OrderData, SpecVersion, event_id, source_of,
};
use paybell_core::ids::{LeaseToken, OrderKey};
use paybell_core::lease::{Cleared, Commit, Committed, LeaseRequest, Taken};
use paybell_core::ports::{Ledger, PortError, Records, Registry};
use paybell_core::record::{Entry, Progress, Record, State};
use paybell_core::register::{Application, Registered};
use paybell_core::time::{Millis, Timestamp};
use redis_ledger::{RedisConfig, RedisLedger};
use testkit::servers::{Redis, RedisOptions};

/// The longest that anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A ledger under a prefix that the tests of one server share.
pub async fn open(server: &Redis) -> RedisLedger {
    RedisLedger::open(config(&server.url())).await.unwrap()
}

/// With a clock that the test moves.
pub async fn open_shifted(server: &Redis) -> (RedisLedger, Arc<AtomicI64>) {
    let shift = Arc::new(AtomicI64::new(0));
    (RedisLedger::open_shifted(config(&server.url()), shift.clone()).await.unwrap(), shift)
}

/// A server with these settings beside the usual ones.
pub async fn server_with(args: &[&str]) -> Redis {
    let args = args.iter().map(|arg| (*arg).to_owned()).collect();
    Redis::start_with(RedisOptions { args, ..RedisOptions::default() }).await
}

/// What a command answers, as a number.
pub async fn count(server: &Redis, args: &[&str]) -> i64 {
    let said = server.cli(args).await;
    said.trim().parse().unwrap_or_else(|_| panic!("{args:?} gave {said}"))
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

/// Asks as whoever comes again does, where a busy machine keeps an answer back beyond its deadline.
pub async fn at_last<T, F: Future<Output = Result<T, PortError>>>(what: &str, ask: impl Fn() -> F) -> T {
    let mut last = None;
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error @ PortError::Corrupt { .. }) => panic!("{what}: {error}"),
                Err(error) => last = Some(error),
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let answer = tokio::time::timeout(PATIENCE, asking).await;
    answer.unwrap_or_else(|_| panic!("{what}: not within {PATIENCE:?}: {last:?}"))
}

/// Registers the order; asked again for what is stored already, the ledger says that it is the same.
pub async fn register(ledger: &RedisLedger, key: &OrderKey, application: &Application) -> Registered {
    at_last("it is registered", async || ledger.register(key, application).await).await
}

/// What is stored of the order.
pub async fn read(ledger: &RedisLedger, key: &OrderKey) -> Option<Record> {
    at_last("it is read", async || ledger.read(key).await).await
}

/// What of each task's orders nobody knows.
pub async fn lost(ledger: &RedisLedger, acknowledged: &[Vec<usize>]) -> Vec<usize> {
    let looks = acknowledged.iter().map(async |numbers| {
        let mut lost = Vec::new();
        for number in numbers {
            if read(ledger, &key(*number)).await.is_none() {
                lost.push(*number);
            }
        }
        lost
    });
    futures_util::future::join_all(looks).await.concat()
}

/// No answer is waited for longer. A claim that takes so long may have claimed what nobody is handed.
pub const ANSWER: Duration = Duration::from_secs(2);

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
        business_no: None,
    }
}

pub fn request(check: Check, token: u128) -> LeaseRequest {
    LeaseRequest {
        check,
        token: LeaseToken(token),
        length: LEASE,
        given_up: None,
        lost_delays: [Millis(1); 7],
    }
}

pub fn paid_event(key: &OrderKey) -> Event {
    let at = Timestamp::from_millis(1_795_147_200_000);
    Event {
        specversion: SpecVersion::V1,
        id: event_id(key, EventType::Paid, TX),
        source: source_of(&key.mch_id),
        kind: EventType::Paid,
        subject: key.out_trade_no.to_string(),
        time: at,
        datacontenttype: ContentType::Json,
        data: OrderData {
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
            shadow: false,
            openid: None,
            disagreement: None,
            refund: None,
            duplicate: None,
        }
        .into(),
    }
}

/// What becomes of the wish; asked again, it finds its own lease.
pub async fn taken(ledger: &RedisLedger, check: Check, token: u128) -> Taken {
    let wish = request(check, token);
    at_last("the wish is answered", async || ledger.take(&wish).await).await
}

/// Takes the lease, which must be free.
pub async fn leased(ledger: &RedisLedger, check: Check, token: u128) -> Record {
    match taken(ledger, check, token).await {
        Taken::Leased(record) => *record,
        other => panic!("not leased but {other:?}"),
    }
}

/// A commit of this state, with its event if one is told.
pub async fn commit(ledger: &RedisLedger, record: &Record, state: State) -> Result<Committed, PortError> {
    let now = ledger.clock().await?.now;
    let events = match state {
        State::Paid | State::Mismatch => vec![paid_event(&record.key)],
        _ => Vec::new(),
    };
    let change = Change {
        state,
        version: record.version + 1,
        progress: Progress::default(),
        payment: None,
        events,
        due: None,
        entry: Entry::new(now, "observed", ""),
        dead: None,
        refund: None,
        forget: false,
        outcome: "test",
    };
    let token = record.lease.unwrap().token;
    ledger.commit(&Commit { key: record.key.clone(), token, facts: record.facts, change }).await
}

/// The whole way: lease, commit, clear.
pub async fn settle(ledger: &RedisLedger, key: &OrderKey, state: State) {
    let record = leased(ledger, Check::manual(key.clone()), 77).await;
    let committed = at_last("it is committed", async || commit(ledger, &record, state).await).await;
    if committed == Committed::Outgoing {
        let asked = Cell::new(0);
        let cleared = at_last("it is cleared", async || {
            asked.set(asked.get() + 1);
            ledger.clear(key, LeaseToken(77)).await
        });
        // Asked again, it finds the lease gone that it ended itself.
        assert!(cleared.await == Cleared::Done || asked.get() > 1);
    }
}

/// Has the next tally be counted, whatever another process left.
pub async fn forget_tally(server: &Redis) {
    for left in server.cli(&["--scan", "--pattern", "*{meta}tally"]).await.split_whitespace() {
        server.cli(&["DEL", left]).await;
    }
}

/// How many orders the tally counts in a state, counted anew.
pub async fn counted(server: &Redis, state: State) -> u64 {
    forget_tally(server).await;
    let ledger = open(server).await;
    let tally = at_last("it is counted", async || ledger.tally().await).await;
    tally.orders.iter().find(|(one, _)| *one == state).map_or(0, |(_, count)| *count)
}
