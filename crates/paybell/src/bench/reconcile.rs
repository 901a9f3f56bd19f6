//! `paybell bench reconcile`: a day's bill, packed, against an embedded ledger that holds the same day, and against one
//! that knows nothing of it: rows per second, and memory over that of the warm process.
//!
//! The comparison runs in a process of its own, so that its memory is its own: it opens the ledger, reads a first page
//! and a short bill, looks at its memory, and only then begins.

mod bill;
mod fill;
mod judge;

use std::{path::Path, process::Stdio, time::Duration};

use clap::Args as ClapArgs;
use serde_json::Value;
use tokio::{process::Command, time::Instant};

use super::{
    Common, float, per_second,
    report::{Aim, Report},
    while_doing,
};
use crate::{error::Error, output};

/// Rows of the short bill that warms a process up.
const WARM_ROWS: u32 = 1_000;
const ROWS_PER_SECOND: f64 = 100_000.0;
const MEMORY_MB: f64 = 64.0;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Rows of the bill, and orders of the ledger
    #[arg(long, default_value_t = 1_000_000, value_parser = clap::value_parser!(u32).range(1_000..=10_000_000))]
    rows: u32,
    /// Orders that are being stored at once
    #[arg(long, default_value_t = 1_024, value_parser = clap::value_parser!(u16).range(1..=4096))]
    in_flight: u16,
    #[command(flatten)]
    pub common: Common,
}

/// One comparison, in a process of its own.
#[derive(Debug, ClapArgs)]
pub struct JudgeArgs {
    /// The folder of the ledger
    #[arg(long)]
    data_dir: std::path::PathBuf,
    /// The bill that warms the process up
    #[arg(long)]
    warm: std::path::PathBuf,
    #[arg(long)]
    bill: std::path::PathBuf,
}

/// Runs one comparison and prints its figures as one JSON document.
pub fn judge(args: JudgeArgs) -> Result<(), Error> {
    judge::run(&args)
}

pub async fn measure(args: Args) -> Result<Report, Error> {
    let mut report = Report::begin("reconcile");
    let folder = args.common.folder()?;
    let at = |name: &str| folder.path().join(name);
    report.method(format!(
        "a bill of {} rows, gzip, of which one in 50 is a refund and one in 1,000 a payment that the ledger does not know; \
         the ledger holds every other payment with its event, committed, told and cleared through the ports",
        args.rows
    ));
    report.method(
        "parse.*: the same bill read as values and added up once, nothing else; unknown.*: the same against an empty ledger; \
         memory: the most resident memory while it runs, less that of the same process before",
    );
    output::remark("writing the bill");
    let (warm, whole) = (at("warm.gz"), at("bill.gz"));
    bill::write(&warm, WARM_ROWS)?;
    let bytes = bill::write(&whole, args.rows)?;
    report.figure("bill_text_mb", float(bytes / 1024) / 1024.0, "MB");
    let begun = Instant::now();
    bill::parse(&whole)?;
    let parse_speed = per_second(u64::from(args.rows), begun.elapsed());
    report.figure("parse.rows_per_second", parse_speed, "rows/s");
    fill::fill(&mut report, &at("data"), &args).await?;
    for (name, data) in [("", at("data")), ("unknown.", at("empty"))] {
        output::remark(&format!(
            "comparing with {}",
            if name.is_empty() { "the ledger" } else { "an empty ledger" }
        ));
        let found = run_judge(&data, &warm, &whole).await?;
        tell(&mut report, name, &found, parse_speed);
        expect(name, &found, args.rows)?;
    }
    Ok(report)
}

async fn run_judge(data_dir: &Path, warm: &Path, bill: &Path) -> Result<Value, Error> {
    let binary = std::env::current_exe().map_err(while_doing("finding this program"))?;
    let mut command = Command::new(binary);
    command
        .args(["bench", "judge", "--data-dir"])
        .arg(data_dir)
        .arg("--warm")
        .arg(warm)
        .arg("--bill")
        .arg(bill);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(while_doing("starting the comparison"))?;
    let ended = child.wait_with_output().await.map_err(while_doing("waiting for the comparison"))?;
    let found = serde_json::from_slice(&ended.stdout).ok().filter(|_| ended.status.success());
    found.ok_or_else(|| Error::Failed(format!("the comparison ended with {}", ended.status)))
}

fn tell(report: &mut Report, name: &str, found: &Value, parse_speed: f64) {
    let figure = |key: &str| number(found, &format!("/{key}")).unwrap_or(f64::NAN);
    let speed = float(count(found, "/rows").unwrap_or(0)) / figure("seconds").max(f64::EPSILON);
    let memory = figure("rss_over_warm_mb");
    report.aimed(format!("{name}rows_per_second"), speed, "rows/s", Aim::AtLeast(ROWS_PER_SECOND));
    report.aimed(format!("{name}rss_over_warm_mb"), memory, "MB", Aim::AtMost(MEMORY_MB));
    report.figure(format!("{name}to_parse"), speed / parse_speed, "");
    for (key, unit) in [("seconds", "s"), ("cpu_seconds", "s"), ("rss_warm_mb", "MB")] {
        report.figure(format!("{name}{key}"), figure(key), unit);
    }
    for stage in ["reading", "gathering", "comparing", "missing"] {
        report.figure(
            format!("{name}{stage}_s"),
            number(found, &format!("/stages/{stage}")).unwrap_or(0.0),
            "s",
        );
    }
}

/// A fast wrong answer is no figure.
fn expect(name: &str, found: &Value, rows: u32) -> Result<(), Error> {
    let (payments, refunds, unknown) = bill::counts(rows);
    let expected = match name {
        "" => [u64::from(rows) - unknown, unknown, 0],
        _ => [0, payments, refunds],
    };
    let of = |kind: &str| count(found, &format!("/counts/{kind}")).unwrap_or(0);
    let seen =
        [count(found, "/agreed").unwrap_or(u64::MAX), of("payment_unknown_here"), of("refund_unknown_here")];
    if seen == expected && count(found, "/missed_by_walk") == Some(0) {
        return Ok(());
    }
    Err(Error::Failed(format!("the comparison is wrong: {seen:?} instead of {expected:?}: {found}")))
}

fn number(found: &Value, path: &str) -> Option<f64> {
    found.pointer(path)?.as_f64()
}

fn count(found: &Value, path: &str) -> Option<u64> {
    found.pointer(path)?.as_u64()
}

/// A time in seconds.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
