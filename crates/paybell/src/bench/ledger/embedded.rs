//! The embedded ledger: the size of its file, the start of a process over it, and plain appends to compare with.

use std::{
    fs::{File, metadata},
    io::{self, Write},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering::Relaxed},
    },
    time::Duration,
};

use ::embedded::{Engine, EngineConfig, SystemClock, WallClock};
use paybell_core::{Timestamp, ports::Registry, time::Millis};
use tokio::{task::spawn_blocking, time::Instant};

use super::{Aims, Args, CLAIM_ROWS, FORWARD, claim, claims_of, register, tell_claims};
use crate::{
    bench::{
        API_KEY, APP_ID, MCH_ID,
        child::Child,
        float,
        load::Latency,
        millis, per_second,
        report::{Aim, Report},
        while_doing,
    },
    error::Error,
    output,
};

const AIMS: Aims = Aims { registers_per_second: 20_000.0, claim_ms: 40.0 };
/// Bytes of a record in the baseline of plain appends: as many as an order may take.
const APPEND_BYTES: usize = 350;
const APPEND_GROUPS: u64 = 200;

pub(super) async fn measure(report: &mut Report, args: &Args) -> Result<(), Error> {
    let folder = args.common.folder()?;
    let data_dir = folder.path().join("data");
    let (orders, clock) = (u64::from(args.orders), Arc::new(ForwardClock::default()));
    report.method(format!(
        "{orders} pending orders of ages spread over 24 h, registered one by one with {} under way at once, which is the \
         most that one transaction commits; then claims of {CLAIM_ROWS}, one transaction each",
        args.in_flight
    ));
    let engine = open(&data_dir, &clock).await?;
    let registry: Arc<dyn Registry> = Arc::new(engine.clone());
    register(report, args, &registry, clock.wall(), AIMS).await?;
    engine.close().await;
    let bytes = metadata(data_dir.join("paybell.db")).map_err(while_doing("looking at the file"))?.len();
    let bytes_each = float(bytes / 1024) * 1024.0 / float(orders);
    report.aimed("file_bytes_per_order", bytes_each, "bytes", Aim::AtMost(350.0));
    let begun = Instant::now();
    let engine = open(&data_dir, &clock).await?;
    report.figure("engine_open_ms", millis(begun.elapsed()), "ms");
    clock.forward(FORWARD);
    output::remark("claiming what is due");
    let mut latency = Latency::new();
    while latency.count() < claims_of(orders) {
        latency.record(claim(&engine).await?);
    }
    tell_claims(report, "claim", &latency, Some(AIMS));
    engine.close().await;
    start_process(report, folder.path(), &data_dir).await?;
    append(report, folder.path(), args.in_flight.into()).await
}

async fn open(data_dir: &Path, clock: &Arc<ForwardClock>) -> Result<Engine, Error> {
    let (config, clock) = (EngineConfig::in_dir(data_dir), clock.clone());
    let opened = spawn_blocking(move || Engine::open(config, clock)).await;
    let opened = opened.map_err(|error| Error::Failed(format!("opening the engine broke off: {error}")))?;
    opened.map_err(|error| Error::Failed(error.to_string()))
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
