//! The ledger on Redis: the memory of an order, how long any one command held Redis up, and a naive way to keep the
//! same orders to compare with. Works under a prefix of its own on a Redis that may serve others meanwhile; their keys
//! count in its memory, so it should serve nobody else.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use paybell_core::{
    Timestamp,
    ports::{DueSet, Ledger, Records, Registry},
    record::State,
};
use redis_ledger::{Gauge, RedisLedger, SlowCommand};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{
    Aims, Args, CLAIM_ROWS, FORWARD, claim, claims_of, created_at, failed, key, register, tell_claims,
};
use crate::{
    bench::{
        APP_ID, MCH_ID, float,
        load::Latency,
        micros_each, millis,
        notifications::TOTAL_FEE,
        per_second,
        report::{Aim, Report},
        servers::Servers,
    },
    error::Error,
    output,
};

const AIMS: Aims = Aims { registers_per_second: 30_000.0, claim_ms: 12.0 };
/// A command that takes longer holds everybody else up.
const BLOCKED_MAX: Duration = Duration::from_millis(2);
/// Shorter commands are not even noted while registrations are measured, and while claims are: a note takes memory.
const NOTED_AT_REGISTERING: Duration = Duration::from_millis(1);
const NOTED_AT_CLAIMING: Duration = Duration::from_micros(250);
/// How long a copy that is at work is waited for, and how often it is looked for.
const COPY_PATIENCE: Duration = Duration::from_secs(60);
const COPY_LOOK_GAP: Duration = Duration::from_millis(50);
/// Orders kept naively, at most, and at once.
const NAIVE_ORDERS_MAX: u64 = 100_000;
const NAIVE_ORDERS_AT_ONCE: u64 = 1_000;

pub(super) async fn measure(report: &mut Report, args: &Args, servers: &Servers) -> Result<(), Error> {
    let (orders, forward_ms) = (u64::from(args.orders), Arc::new(AtomicI64::new(0)));
    let mut gauge = servers.gauge().await?;
    let ledger = RedisLedger::open_shifted(servers.redis().clone(), forward_ms.clone()).await;
    let ledger = Arc::new(ledger.map_err(|error| Error::Failed(format!("Redis (--redis): {error}")))?);
    let now = ledger.clock().await.map_err(failed)?.now;
    describe(report, args, &gauge.usage().await.map_err(failed)?.version);

    servers.watch_slow(&mut gauge, NOTED_AT_REGISTERING).await;
    let before = gauge.usage().await.map_err(failed)?;
    let registry: Arc<dyn Registry> = ledger.clone();
    register(report, args, &registry, now, AIMS).await?;
    let after = gauge.usage().await.map_err(failed)?;
    report.figure("register_redis_cpu_us", micros_each(after.cpu.saturating_sub(before.cpu), orders), "us");
    report.figure("register_redis_forks", float(after.forks.saturating_sub(before.forks)), "forks");
    tell_slow(report, "register", servers.end_watch(&mut gauge).await);
    let bytes_each = kilobytes(after.data_bytes.saturating_sub(before.data_bytes)) * 1024.0 / float(orders);
    report.aimed("redis_bytes_per_order", bytes_each, "bytes", Aim::AtMost(300.0));

    forward_ms.store(FORWARD.0, Relaxed);
    claims(report, ledger.as_ref(), orders, servers, &mut gauge).await?;
    let asked_at = Instant::now();
    let tally = Records::tally(ledger.as_ref()).await.map_err(failed)?;
    report.figure("tally_ms", millis(asked_at.elapsed()), "ms");
    let pending =
        tally.orders.iter().find(|(state, _)| *state == State::Pending).map_or(0, |(_, count)| *count);
    report.figure("pending_orders", float(pending), "orders");
    ledger.close().await;
    keep_naively(report, &mut gauge, orders.min(NAIVE_ORDERS_MAX), now.millis()).await
}

fn describe(report: &mut Report, args: &Args, version: &str) {
    report.method(format!(
        "{} pending orders of ages spread over 24 h, registered one by one with {} under way at once, over one connection; \
         then claims of {CLAIM_ROWS}; Redis {version}",
        args.orders, args.in_flight
    ));
    report.method(
        "*_blocked_*: the longest single command of Redis by its own log of slow commands, in which being preempted counts \
         too, and both happen most while a copy of Redis writes everything to disk anew (*_forks); bytes_per_order: without \
         Redis' buffers; claim_copying.*: the claims while such a copy was at work, claim.*: the others; naive.*: a sorted set of due times and a hash of JSON documents, in pipelines of 1,000",
    );
}

/// Claims while Redis makes a copy of itself, for which the registrations often are the reason, and then while it makes
/// none.
async fn claims(
    report: &mut Report,
    due: &dyn DueSet,
    orders: u64,
    servers: &Servers,
    gauge: &mut Gauge,
) -> Result<(), Error> {
    output::remark("claiming what is due");
    let all = claims_of(orders);
    let copying = claim_phase(due, (0..all / 2, true), servers, gauge).await?;
    let rest = copying.latency.count()..all;
    if rest.start > 0 {
        copying.tell(report, "claim_copying", None);
    }
    let waiting = Instant::now();
    while gauge.is_copying().await.map_err(failed)? && waiting.elapsed() < COPY_PATIENCE {
        sleep(COPY_LOOK_GAP).await;
    }
    claim_phase(due, (rest, false), servers, gauge).await?.tell(report, "claim", Some(AIMS));
    Ok(())
}

/// Claims of one phase and what they cost Redis.
struct ClaimPhase {
    latency: Latency,
    redis_cpu: Duration,
    forks: u64,
    slow: Option<Vec<SlowCommand>>,
}

/// So many claims, but only as long as Redis copies itself, if that is asked for.
async fn claim_phase(
    due: &dyn DueSet,
    (claims, while_copying): (Range<u64>, bool),
    servers: &Servers,
    gauge: &mut Gauge,
) -> Result<ClaimPhase, Error> {
    servers.watch_slow(gauge, NOTED_AT_CLAIMING).await;
    let before = gauge.usage().await.map_err(failed)?;
    let mut latency = Latency::new();
    for _ in claims {
        if while_copying && !gauge.is_copying().await.map_err(failed)? {
            break;
        }
        latency.record(claim(due).await?);
    }
    let after = gauge.usage().await.map_err(failed)?;
    Ok(ClaimPhase {
        latency,
        redis_cpu: after.cpu.saturating_sub(before.cpu),
        forks: after.forks.saturating_sub(before.forks),
        slow: servers.end_watch(gauge).await,
    })
}

impl ClaimPhase {
    fn tell(self, report: &mut Report, phase: &str, aims: Option<Aims>) {
        let Self { latency, redis_cpu, forks, slow } = self;
        tell_claims(report, phase, &latency, aims);
        let claims = float(latency.count());
        report.figure(format!("{phase}_1000_redis_cpu_ms"), millis(redis_cpu) / claims, "ms");
        report.figure(format!("{phase}_redis_forks"), float(forks), "forks");
        tell_slow(report, phase, slow);
    }
}

/// The longest command, and how many were over the bound. Where Redis keeps no log of them there are no figures.
fn tell_slow(report: &mut Report, phase: &str, slow: Option<Vec<SlowCommand>>) {
    let Some(slow) = slow else { return };
    let over = slow.iter().filter(|command| command.took > BLOCKED_MAX);
    let over = u64::try_from(over.count()).unwrap_or(u64::MAX);
    let longest = slow.iter().max_by_key(|command| command.took);
    // What was too short to be noted was no longer than that.
    let longest_ms = longest.map_or(0.0, |command| millis(command.took));
    let name = format!("{phase}_blocked_max_ms");
    match phase {
        "claim" => report.aimed(name, longest_ms, "ms", Aim::AtMost(millis(BLOCKED_MAX))),
        _ => report.figure(name, longest_ms, "ms"),
    }
    report.figure(format!("{phase}_blocked_over_2_ms"), float(over), "commands");
    if let Some(command) = longest.filter(|command| command.took > BLOCKED_MAX) {
        output::remark(&format!("{phase}: {} held Redis up for {longest_ms:.2} ms", command.name));
    }
}

/// The same orders as anybody would keep them at first.
async fn keep_naively(report: &mut Report, gauge: &mut Gauge, orders: u64, now_ms: i64) -> Result<(), Error> {
    output::remark(&format!("keeping {orders} orders naively"));
    let before = gauge.usage().await.map_err(failed)?;
    let begun = Instant::now();
    let mut first = 0;
    while first < orders {
        let until = orders.min(first + NAIVE_ORDERS_AT_ONCE);
        let documents =
            (first..until).map(|serial| naive(serial, now_ms)).collect::<Result<Vec<_>, Error>>()?;
        gauge.keep_naively(&documents).await.map_err(failed)?;
        first = until;
    }
    report.figure("naive.orders_per_second", per_second(orders, begun.elapsed()), "orders/s");
    let grown = gauge.usage().await.map_err(failed)?.data_bytes.saturating_sub(before.data_bytes);
    report.figure("naive.redis_bytes_per_order", kilobytes(grown) * 1024.0 / float(orders), "bytes");
    Ok(())
}

/// Member, due time and document, with what a pending registered order has to say.
fn naive(serial: u64, now_ms: i64) -> Result<(String, i64, Value), Error> {
    let key = key(serial)?;
    let (mch_id, out_trade_no) = (key.mch_id.as_str(), key.out_trade_no.as_str());
    let created_at = created_at(serial, Timestamp::from_millis(now_ms)).millis();
    let document = json!({
        "mch_id": MCH_ID,
        "out_trade_no": out_trade_no,
        "state": "pending",
        "version": 1,
        "created_at": created_at,
        "updated_at": now_ms,
        "registration": { "total_fee": TOTAL_FEE, "fee_type": "CNY", "appid": APP_ID },
        "due": { "at": now_ms, "cause": "cadence" },
    });
    Ok((format!("{mch_id}:{out_trade_no}"), now_ms, document))
}

/// Memory may be more bytes than a small number counts.
fn kilobytes(bytes: u64) -> f64 {
    float(bytes / 1024)
}
