//! `paybell bench ledger`: orders registered and claimed through the ledger's ports, the room they take on disk, and the
//! start of a process that finds them.
//!
//! The engine runs in this process, on a clock that can be set forward, so that orders become due without waiting.

use std::{
    fs::{File, metadata},
    io::{self, Write},
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU64, Ordering::Relaxed},
    },
    time::Duration,
};

use clap::Args as ClapArgs;
use embedded::{Engine, EngineConfig, SystemClock, WallClock};
use paybell_core::{
    Lane, OrderKey, Timestamp,
    money::Fen,
    ports::{DueSet, Registry},
    register::{Application, Registered},
    time::Millis,
};
use tokio::{
    task::{JoinSet, spawn_blocking},
    time::Instant,
};

use super::{
    API_KEY, APP_ID, Common, MCH_ID,
    child::Child,
    load::Latency,
    machine::Usage,
    micros_each, millis,
    notifications::{TOTAL_FEE, out_trade_no},
    per_second,
    report::{Aim, Report},
    while_doing,
};
use crate::{error::Error, output};

/// The orders' ages are spread over the cadence, so that their due times are.
const AGE_MAX: Millis = Millis::seconds(86_400);
/// So far is the clock set forward before claims.
const FORWARD: Millis = Millis::seconds(3_600);
const CLAIM_ROWS: usize = 1_000;
const CLAIMS_MAX: u64 = 51;
/// Bytes of a record in the baseline of plain appends: as many as an order may take.
const APPEND_BYTES: usize = 350;
const APPEND_GROUPS: u64 = 200;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Orders to register
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(10_000..=10_000_000))]
    orders: u32,
    /// Registrations under way at once: the most that one transaction commits
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    #[command(flatten)]
    pub common: Common,
}

pub async fn measure(args: Args) -> Result<Report, Error> {
    let mut report = Report::begin("ledger");
    let folder = args.common.folder()?;
    let data_dir = folder.path().join("data");
    let (orders, clock) = (u64::from(args.orders), Arc::new(ForwardClock::default()));
    report.method(format!(
        "{orders} pending orders of ages spread over 24 h, registered one by one with {} under way at once, which is the \
         most that one transaction commits; then claims of {CLAIM_ROWS}, one transaction each",
        args.in_flight
    ));
    let engine = open(&data_dir, &clock).await?;
    register(&mut report, &args, &engine, clock.wall()).await?;
    engine.close().await;
    let bytes = metadata(data_dir.join("paybell.db")).map_err(while_doing("looking at the file"))?.len();
    let bytes_each = super::float(bytes / 1024) * 1024.0 / super::float(orders);
    report.aimed("file_bytes_per_order", bytes_each, "bytes", Aim::AtMost(350.0));
    let begun = Instant::now();
    let engine = open(&data_dir, &clock).await?;
    report.figure("engine_open_ms", millis(begun.elapsed()), "ms");
    claim(&mut report, &engine, &clock, orders).await?;
    engine.close().await;
    start_process(&mut report, folder.path(), &data_dir).await?;
    append(&mut report, folder.path(), args.in_flight.into()).await?;
    report.figure("rss_peak_mb", Usage::of("self").rss_peak_mb(), "MB");
    Ok(report)
}

async fn open(data_dir: &Path, clock: &Arc<ForwardClock>) -> Result<Engine, Error> {
    let (config, clock) = (EngineConfig::in_dir(data_dir), clock.clone());
    let opened = spawn_blocking(move || Engine::open(config, clock)).await;
    let opened = opened.map_err(|error| Error::Failed(format!("opening the engine broke off: {error}")))?;
    opened.map_err(|error| Error::Failed(error.to_string()))
}

async fn register(report: &mut Report, args: &Args, engine: &Engine, now: Timestamp) -> Result<(), Error> {
    let orders = u64::from(args.orders);
    output::remark(&format!("registering {orders} orders"));
    let (begun, cpu_before) = (Instant::now(), Usage::of("self").cpu);
    let next = Rc::new(AtomicU64::new(0));
    let mut registering = JoinSet::new();
    for _ in 0..args.in_flight {
        let (engine, next) = (engine.clone(), next.clone());
        registering.spawn_local(async move {
            let mut latency = Vec::new();
            loop {
                let serial = next.fetch_add(1, Relaxed);
                if serial >= orders {
                    return Ok::<_, Error>(latency);
                }
                let (key, application) = (key(serial)?, application(serial, now)?);
                let asked_at = Instant::now();
                match engine.register(&key, &application).await {
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
    report.aimed("registers_per_second", speed, "orders/s", Aim::AtLeast(20_000.0));
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
    // A multiplicative hash: neighbours in number are no neighbours in time.
    let spread = serial.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
    let age = i64::try_from(spread % AGE_MAX.0.unsigned_abs()).unwrap_or(0);
    let fee = i64::try_from(TOTAL_FEE).ok().and_then(|fee| Fen::new(fee).ok());
    Ok(Application {
        total_fee: fee.ok_or_else(|| Error::Failed("the fee is out of bounds".to_owned()))?,
        fee_type: None,
        appid: None,
        sub_mch_id: None,
        created_at: Some(now - Millis(age)),
        expires_at: None,
    })
}

async fn claim(report: &mut Report, engine: &Engine, clock: &ForwardClock, orders: u64) -> Result<(), Error> {
    output::remark("claiming what is due");
    clock.forward(FORWARD);
    let mut latency = Latency::new();
    // An hour of the cadence makes at least one order in twenty due.
    let claims = (orders / 20_000).clamp(1, CLAIMS_MAX);
    while latency.count() < claims {
        let begun = Instant::now();
        let claimed = engine.claim(Lane::Cadence, CLAIM_ROWS).await;
        let claimed = claimed.map_err(|error| Error::Failed(error.to_string()))?.len();
        latency.record(begun.elapsed());
        if claimed < CLAIM_ROWS {
            return Err(Error::Failed(format!("only {claimed} orders were due")));
        }
    }
    report.aimed("claim_1000_p50_ms", latency.millis_at(0.5), "ms", Aim::AtMost(40.0));
    report.figure("claim_1000_p99_ms", latency.millis_at(0.99), "ms");
    report.figure("claims", super::float(latency.count()), "");
    Ok(())
}

/// From nothing to bound listeners, over the file with all its orders.
async fn start_process(report: &mut Report, folder: &Path, data_dir: &Path) -> Result<(), Error> {
    let config = folder.join("paybell.toml");
    let text = format!(
        "[embedded]\ndata_dir = {data_dir:?}\n[console]\nlisten = \"127.0.0.1:0\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
         [[merchant]]\nmch_id = \"{MCH_ID}\"\napp_ids = [\"{APP_ID}\"]\napi_key = \"{API_KEY}\"\n"
    );
    std::fs::write(&config, text).map_err(while_doing("writing the configuration"))?;
    let config = config.to_string_lossy();
    let begun = Instant::now();
    let child =
        Child::start(&["run", "console", "--print-addresses", "--log", "error", "--config", &config]).await?;
    report.aimed("start_ms", millis(begun.elapsed()), "ms", Aim::AtMost(2_000.0));
    report.figure("start_rss_peak_mb", child.usage().rss_peak_mb(), "MB");
    child.end().await
}

/// The baseline: groups of as many records, appended to a plain file and fsynced.
async fn append(report: &mut Report, folder: &Path, group: u64) -> Result<(), Error> {
    let path = folder.join("appends");
    let appended = spawn_blocking(move || -> io::Result<Duration> {
        let mut file = File::create(path)?;
        let records = vec![b'.'; APPEND_BYTES.saturating_mul(usize::try_from(group).unwrap_or(1))];
        let begun = Instant::now();
        for _ in 0..APPEND_GROUPS {
            file.write_all(&records)?;
            file.sync_data()?;
        }
        Ok(begun.elapsed())
    });
    let appended = appended.await.map_err(|error| Error::Failed(format!("appending broke off: {error}")))?;
    let time = appended.map_err(while_doing("appending to a plain file"))?;
    report.figure("plain_appends_per_second", per_second(group * APPEND_GROUPS, time), "records/s");
    Ok(())
}

/// The machine's clock, both hands set forward together.
#[derive(Debug, Default)]
struct ForwardClock {
    clock: SystemClock,
    forward_ms: AtomicI64,
}

impl ForwardClock {
    fn forward(&self, by: Millis) {
        self.forward_ms.fetch_add(by.0, Relaxed);
    }
}

impl WallClock for ForwardClock {
    fn wall(&self) -> Timestamp {
        self.clock.wall() + Millis(self.forward_ms.load(Relaxed))
    }

    fn monotonic(&self) -> Duration {
        self.clock.monotonic() + Duration::from_millis(self.forward_ms.load(Relaxed).unsigned_abs())
    }
}
