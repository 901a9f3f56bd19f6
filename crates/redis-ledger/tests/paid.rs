//! The walk over payments goes by when records expire: what lies long before a late day is not read, and what changed
//! since is found all the same.

#![allow(
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test drives real time"
)]

mod common;

use std::collections::BTreeSet;

use common::*;
use paybell_core::check::Check;
use paybell_core::decide::Change;
use paybell_core::ids::{LeaseToken, MchId};
use paybell_core::lease::{Commit, Committed};
use paybell_core::observation::Payment;
use paybell_core::paid::PaidFilter;
use paybell_core::ports::{Ledger, Records};
use paybell_core::record::{Entry, Progress, State};
use paybell_core::time::{Millis, Timestamp};
use redis_ledger::RedisLedger;
use testkit::servers::Redis;

const DAY: Millis = Millis::seconds(86_400);
const OLD: usize = 40;
const NEW: usize = 10;

/// Gives a member another score in the one index that has it.
const MOVE: &str = "local moved = 0 for shard = 0, 15 do moved = moved + \
     redis.call('ZADD', 'test{' .. shard .. '}:state:paid', 'XX', 'CH', ARGV[1], ARGV[2]) end return moved";

/// An order that was paid then, and that changed last so many days ago.
async fn paid(server: &Redis, ledger: &RedisLedger, number: usize, at: Timestamp, days: i64) {
    let key = key(number);
    let record = leased(ledger, Check::manual(key.clone()), 1).await;
    let payment = Payment {
        refunded: false,
        appid: None,
        sub_mch_id: None,
        transaction_id: paybell_core::TransactionId::new(TX).ok(),
        total_fee: paybell_core::Fen::new(1999).ok(),
        fee_type: paybell_core::Currency::CNY,
        cash_fee: None,
        settlement_total_fee: None,
        coupon_fee: None,
        coupons: Vec::new(),
        trade_type: None,
        bank_type: None,
        attach: None,
        paid_at: Some(at),
        openid: None,
    };
    let change = Change {
        state: State::Paid,
        version: 1,
        events: Vec::new(),
        due: None,
        progress: Progress::default(),
        payment: Some(payment),
        entry: Entry::new(at, "observed", "SUCCESS"),
        dead: None,
        refund: None,
        forget: false,
        outcome: "paid",
    };
    let wish = Commit { key: key.clone(), token: LeaseToken(1), facts: record.facts, change };
    let committed = at_last("it is committed", async || ledger.commit(&wish).await).await;
    // Asked again, it finds the lease gone that it ended itself; what is stored is looked at below.
    assert!(matches!(committed, Committed::Ended | Committed::Lost), "{committed:?}");
    if days == 0 {
        return;
    }
    // As if the record had been stored that long ago.
    let member = format!("{}:{}", key.mch_id, key.out_trade_no);
    let now = at_last("the time", async || ledger.clock().await).await.now;
    let expires = (now + Millis(DAY.0 * (35 - days))).millis().to_string();
    let moved = count(server, &["eval", MOVE, "0", &expires, &member]).await;
    assert_eq!(moved, 1, "{member} is in one index");
}

async fn walk(ledger: &RedisLedger, from: Timestamp) -> BTreeSet<String> {
    let filter = PaidFilter { mch_id: MchId::new("1900000109").unwrap(), from, until: from + DAY };
    let (mut met, mut after) = (BTreeSet::new(), None::<String>);
    loop {
        let page =
            at_last("a page", async || ledger.paid(&filter, after.as_deref(), 1000).await).await.unwrap();
        met.extend(page.orders.into_iter().map(|order| order.out_trade_no.to_string()));
        if !page.has_more {
            return met;
        }
        after = Some(page.next);
    }
}

/// How many records were read since the last time.
async fn reads(server: &Redis) -> usize {
    let said = server.cli(&["info", "commandstats"]).await;
    server.cli(&["config", "resetstat"]).await;
    let line = said.lines().find_map(|line| line.strip_prefix("cmdstat_get:calls="));
    line.map_or(0, |line| line.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_day_is_found_whole_without_reading_what_lies_long_before() {
    let server = Redis::start().await;
    let ledger = open(&server).await;
    let now = ledger.clock().await.unwrap().now;
    let (yesterday, long_ago) = (now - DAY, now - Millis(DAY.0 * 20));
    for number in 0..OLD {
        paid(&server, &ledger, number, long_ago + Millis(1000), 20).await;
    }
    for number in OLD..OLD + NEW {
        paid(&server, &ledger, number, yesterday + Millis(1000), 1).await;
    }
    // Paid long ago, and changed today.
    paid(&server, &ledger, OLD + NEW, long_ago + Millis(1000), 0).await;
    let numbers = |range: std::ops::RangeInclusive<usize>| -> BTreeSet<String> {
        range.map(|number| key(number).out_trade_no.to_string()).collect()
    };
    reads(&server).await;
    assert_eq!(walk(&ledger, yesterday).await, numbers(OLD..=OLD + NEW - 1));
    assert_eq!(reads(&server).await, NEW + 1, "the old ones lie unread");
    let mut old = numbers(0..=OLD - 1);
    old.extend(numbers(OLD + NEW..=OLD + NEW));
    assert_eq!(walk(&ledger, long_ago).await, old, "whenever they changed last");
}
