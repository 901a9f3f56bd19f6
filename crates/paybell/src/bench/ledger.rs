//! `paybell bench ledger`: orders registered and claimed through the ledger's ports, the room they take, and what that
//! engine has besides: the start of a process that finds them, or how long Redis serves nobody else.
//!
//! The engine runs in this process, on a clock that can be set forward, so that orders become due without waiting.

mod cluster;
mod embedded;

use std::{
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::Args as ClapArgs;
use paybell_core::{
    AppId, Lane, OrderKey, Timestamp,
    money::Fen,
    ports::{DueSet, PortError, Registry},
    register::{Application, Registered},
    time::Millis,
};
use tokio::{task::JoinSet, time::Instant};

use super::{
    APP_ID, Common, MCH_ID, float,
    load::Latency,
    machine::Usage,
    micros_each,
    notifications::{TOTAL_FEE, out_trade_no},
    per_second,
    report::{Aim, Report},
    servers::{EngineArg, Kind, RedisArg, Servers},
};
use crate::{error::Error, output};

/// The orders' ages are spread over the cadence, so that their due times are.
const AGE_MAX: Millis = Millis::seconds(86_400);
/// So far is the clock set forward before claims.
const FORWARD: Millis = Millis::seconds(3_600);
const CLAIM_ROWS: usize = 1_000;
const CLAIMS_MAX: u64 = 51;

#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(flatten)]
    engine: EngineArg,
    #[command(flatten)]
    redis: RedisArg,
    /// Orders to register
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    orders: u32,
    /// Registrations under way at once: the most that one transaction or pipeline stores
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    #[command(flatten)]
    pub common: Common,
}

impl Args {
    /// What it borrows.
    pub fn servers(&self) -> Result<Servers, Error> {
        Servers::of(&self.engine, None, Some(&self.redis))
    }
}

pub async fn measure(args: Args, servers: Servers) -> Result<Report, Error> {
    let mut report = Report::begin("ledger");
    match servers.engine() {
        Kind::Embedded => embedded::measure(&mut report, &args).await?,
        Kind::Cluster => cluster::measure(&mut report, &args, &servers).await?,
    }
    report.figure("rss_peak_mb", Usage::of("self").rss_peak_mb(), "MB");
    Ok(report)
}

/// What an engine should reach.
#[derive(Debug, Clone, Copy)]
struct Aims {
    registers_per_second: f64,
    claim_ms: f64,
}

async fn register(
    report: &mut Report,
    args: &Args,
    registry: &Arc<dyn Registry>,
    now: Timestamp,
    aims: Aims,
) -> Result<(), Error> {
    let orders = u64::from(args.orders);
    output::remark(&format!("registering {orders} orders"));
    let (begun, cpu_before) = (Instant::now(), Usage::of("self").cpu);
    let next = Rc::new(AtomicU64::new(0));
    let mut registering = JoinSet::new();
    for _ in 0..args.in_flight {
        let (registry, next) = (registry.clone(), next.clone());
        registering.spawn_local(async move {
            let mut latency = Vec::new();
            loop {
                let serial = next.fetch_add(1, Relaxed);
                if serial >= orders {
                    return Ok::<_, Error>(latency);
                }
                let (key, application) = (key(serial)?, application(serial, now)?);
                let asked_at = Instant::now();
                match registry.register(&key, &application).await {
                    Ok(Registered::Added) => latency.push(asked_at.elapsed()),
                    other => return Err(Error::Failed(format!("registering {key:?}: {other:?}"))),
                }
            }
        });
    }
    let mut latency = Latency::new();
    while let Some(ended) = registering.join_next().await {
        let ended = ended.map_err(|error| Error::Failed(format!("a task ended: {error}")))?;
        ended?.into_iter().for_each(|time| latency.record(time));
    }
    let speed = per_second(orders, begun.elapsed());
    report.aimed("registers_per_second", speed, "orders/s", Aim::AtLeast(aims.registers_per_second));
    report.figure("register_p50_ms", latency.millis_at(0.5), "ms");
    report.figure("register_p99_ms", latency.millis_at(0.99), "ms");
    report.figure("register_cpu_us", micros_each(Usage::of("self").cpu - cpu_before, orders), "us");
    Ok(())
}

fn key(serial: u64) -> Result<OrderKey, Error> {
    let serial = usize::try_from(serial).unwrap_or(usize::MAX);
    OrderKey::new(MCH_ID, out_trade_no(serial)).map_err(|error| Error::Failed(error.to_string()))
}

fn application(serial: u64, now: Timestamp) -> Result<Application, Error> {
    let fee = i64::try_from(TOTAL_FEE).ok().and_then(|fee| Fen::new(fee).ok());
    Ok(Application {
        total_fee: fee.ok_or_else(|| Error::Failed("the fee is out of bounds".to_owned()))?,
        fee_type: None,
        appid: AppId::new(APP_ID).ok(),
        sub_mch_id: None,
        created_at: Some(created_at(serial, now)),
        expires_at: None,
        business_no: None,
    })
}

/// A multiplicative hash: neighbours in number are no neighbours in time.
fn created_at(serial: u64, now: Timestamp) -> Timestamp {
    let spread = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    now - Millis(i64::try_from(spread % AGE_MAX.0.unsigned_abs()).unwrap_or(0))
}

/// How often is claimed: an hour of the cadence makes at least one order in twenty due.
fn claims_of(orders: u64) -> u64 {
    (orders / 20_000).clamp(1, CLAIMS_MAX)
}

/// Claims what is due on a clock that was set forward, so that there is enough of it. How long that took.
async fn claim(due: &dyn DueSet) -> Result<Duration, Error> {
    let begun = Instant::now();
    let claimed = due.claim(Lane::Cadence, CLAIM_ROWS).await.map_err(failed)?.len();
    if claimed < CLAIM_ROWS {
        return Err(Error::Failed(format!("only {claimed} orders were due")));
    }
    Ok(begun.elapsed())
}

/// Tells how long claims took. `phase` begins the names; one phase has an aim.
fn tell_claims(report: &mut Report, phase: &str, latency: &Latency, aim: Option<Aims>) {
    let (name, p50) = (format!("{phase}_1000_p50_ms"), latency.millis_at(0.5));
    match aim {
        Some(aims) => report.aimed(name, p50, "ms", Aim::AtMost(aims.claim_ms)),
        None => report.figure(name, p50, "ms"),
    }
    report.figure(format!("{phase}_1000_p99_ms"), latency.millis_at(0.99), "ms");
    report.figure(format!("{phase}s"), float(latency.count()), "");
}

fn failed(error: PortError) -> Error {
    Error::Failed(error.to_string())
}
