//! The process that compares: warm first, then the whole bill, watching its own time and memory.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use bills::Holdings;
use indicatif::ProgressBar;
use paybell_core::{MchId, Timestamp, ports::Ledger, ports::Records};
use reconcile::{
    Difference, Listener, Progress, Reconciliation, Scope, Source, Stage, Stopped, Surveyed, Task, compare,
    survey,
};
use serde_json::json;
use tokio::{runtime::Handle, task::spawn_blocking, time::Instant};

use super::{JudgeArgs, bill::date, fill::open, seconds};
use crate::{
    audit::show_progress,
    bench::{MCH_ID, float, machine::Usage},
    cli::in_runtime,
    error::Error,
    output,
};

pub fn run(args: &JudgeArgs) -> Result<(), Error> {
    in_runtime(judge(args))
}

async fn judge(args: &JudgeArgs) -> Result<(), Error> {
    let engine = open(&args.data_dir).await?;
    let now = engine.clock().await.map_err(|error| Error::Failed(error.to_string()))?.now;
    let records: Arc<dyn Records> = Arc::new(engine.clone());
    let handle = Handle::current();
    let work = |bill: PathBuf| {
        let (records, handle) = (records.clone(), handle.clone());
        spawn_blocking(move || reconcile_file(&bill, records, handle, now))
    };
    let broken = |error: tokio::task::JoinError| Error::Failed(format!("the comparison broke off: {error}"));
    work(args.warm.clone()).await.map_err(broken)??;
    let (warm_kb, cpu_before, begun) = (resident_kb(), Usage::of("self").cpu, Instant::now());
    let (result, watch) = work(args.bill.clone()).await.map_err(broken)??;
    let took = begun.elapsed();
    let cpu = Usage::of("self").cpu.saturating_sub(cpu_before);
    engine.close().await;
    let megabytes = |kb: u64| float(kb) / 1024.0;
    let stages: BTreeMap<&str, f64> =
        watch.stages.iter().map(|(name, time)| (*name, seconds(*time))).collect();
    output::json(&json!({
        "rows": result.rows,
        "seconds": seconds(took),
        "cpu_seconds": seconds(cpu),
        "rss_warm_mb": megabytes(warm_kb),
        "rss_over_warm_mb": megabytes(Usage::of("self").rss_peak_kb.saturating_sub(warm_kb)),
        "agreed": result.agreed,
        "counts": result.counts,
        "missed_by_walk": result.missed_by_walk,
        "checks": watch.checks,
        "stages": stages,
    }))
}

/// As the service does it, but for publishing.
fn reconcile_file(
    path: &Path,
    records: Arc<dyn Records>,
    handle: Handle,
    now: Timestamp,
) -> Result<(Reconciliation, Watch), Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Failed(format!("comparing: {error}"));
    let mch_id = MchId::new(MCH_ID).map_err(|error| failed(&error))?;
    let mut source = BillFile(path.to_owned());
    let mut watch = Watch::new();
    let found = match survey(&mut source, &mut watch).map_err(|error| failed(&error))? {
        Surveyed::Whole(found) => found,
        Surveyed::Refused(refusal) => return Err(failed(&refusal)),
    };
    let scope = Some(Scope::since(Timestamp::from_millis(0)));
    let task = Task { mch_id: mch_id.clone(), first: date(), last: date(), scope, carry: None, now };
    let mut ledger = Holdings { records, mch_id, handle };
    let result =
        compare(&task, &found, &mut source, &mut ledger, &mut watch).map_err(|error| failed(&error))?;
    watch.note(None);
    watch.bar.finish_and_clear();
    Ok((result, watch))
}

struct BillFile(PathBuf);

impl Source for BillFile {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(&self.0)?))
    }
}

/// Looks at the time wherever a new stage begins.
struct Watch {
    bar: ProgressBar,
    stages: BTreeMap<&'static str, Duration>,
    stage: Option<(Stage, Instant)>,
    checks: u64,
}

impl Watch {
    fn new() -> Self {
        Self {
            bar: ProgressBar::new_spinner(),
            stages: BTreeMap::new(),
            stage: Some((Stage::Reading, Instant::now())),
            checks: 0,
        }
    }

    fn note(&mut self, stage: Option<Stage>) {
        if let Some((current, begun)) = self.stage
            && Some(current) != stage
        {
            let name = match current {
                Stage::Reading => "reading",
                Stage::Gathering => "gathering",
                Stage::Comparing => "comparing",
                Stage::Missing => "missing",
            };
            *self.stages.entry(name).or_default() += begun.elapsed();
            self.stage = stage.map(|stage| (stage, Instant::now()));
        }
    }
}

impl Listener for Watch {
    fn found(&mut self, difference: &Difference) -> Result<(), Stopped> {
        self.checks += u64::from(difference.check().is_some());
        Ok(())
    }

    fn progress(&mut self, progress: Progress) -> Result<(), Stopped> {
        self.note(Some(progress.stage));
        show_progress(&self.bar, progress);
        Ok(())
    }
}

/// The memory that this process has now, in kilobytes; 0 where `/proc` does not say.
fn resident_kb() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok()).unwrap_or(0)
}
