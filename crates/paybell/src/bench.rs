//! `paybell bench`: measures the speed and size promises on this machine, each beside a baseline in the same run.
//!
//! The process under test is a child, so that its processor time and memory are its own; the load comes from this
//! process, over loopback only, bounded in count and time. Judges nothing but its own aims: a figure that misses its
//! aim is printed as it is and the exit code stays 0. Figures go to [`report`], and by hand to docs/benchmarks.md.

pub(crate) mod child;
mod client;
mod ingress;
mod ledger;
mod load;
mod machine;
mod notifications;
mod pipeline;
mod place;
mod reconcile;
mod report;
mod serve;
mod servers;

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use tempfile::TempDir;
use tokio::task::LocalSet;

use crate::{boot::signals::Signals, error::Error, output};
use report::Report;
use servers::Servers;

/// The merchant of every benchmark; no key of anybody.
const MCH_ID: &str = "1900000109";
const APP_ID: &str = "wx8888888888888888";
const API_KEY: &str = "benchbenchbenchbenchbenchbench00";

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take notifications: bare hyper, parse and verify only, and the real ingress, side by side
    Ingress(ingress::Args),
    /// From the notification to the event: ingress, worker, simulator, event stream
    Pipeline(pipeline::Args),
    /// Place orders: straight at the simulator, through the private API, and the same again
    Place(place::Args),
    /// Register and claim orders in the ledger
    Ledger(ledger::Args),
    /// Compare a bill of a million rows with the embedded ledger
    Reconcile(reconcile::Args),
    /// One comparison of the above
    #[command(hide = true)]
    Judge(reconcile::JudgeArgs),
    /// A server under test
    #[command(hide = true)]
    Serve(serve::Args),
}

/// What every benchmark is told.
#[derive(Debug, Args)]
pub struct Common {
    /// Where the temporary folder for data is made: the disk that is measured [default: the system's]
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Every figure by name
    #[arg(long)]
    json: bool,
}

impl Common {
    /// A folder that is gone when the benchmark is.
    fn folder(&self) -> Result<TempDir, Error> {
        let made = match &self.dir {
            Some(dir) => tempfile::Builder::new().prefix("paybell-bench-").tempdir_in(dir),
            None => tempfile::Builder::new().prefix("paybell-bench-").tempdir(),
        };
        made.map_err(|cause| Error::Failed(format!("--dir: cannot make a folder there: {cause}")))
    }
}

/// Runs one benchmark and prints what it found.
pub fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Ingress(args) => {
            let servers = args.servers()?;
            measured(args.common.json, &servers, ingress::measure(args, servers.clone()))
        }
        Command::Pipeline(args) => {
            let servers = args.servers()?;
            measured(args.common.json, &servers, pipeline::measure(args, servers.clone()))
        }
        Command::Place(args) => {
            let servers = args.servers()?;
            measured(args.common.json, &servers, place::measure(args, servers.clone()))
        }
        Command::Ledger(args) => {
            let servers = args.servers()?;
            measured(args.common.json, &servers, ledger::measure(args, servers.clone()))
        }
        Command::Reconcile(args) => measured(args.common.json, &Servers::none(), reconcile::measure(args)),
        Command::Judge(args) => reconcile::judge(args),
        Command::Serve(args) => serve::run(args),
    }
}

/// On one thread: the load must not take more of the machine than it needs. A signal ends it and cleans up, a second
/// one ends that too.
fn measured(
    is_json: bool,
    servers: &Servers,
    benchmark: impl Future<Output = Result<Report, Error>>,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let local = LocalSet::new();
    let (report, given_back) = runtime.block_on(local.run_until(async {
        let mut signals = Signals::listen()?;
        let report = tokio::select! {
            report = benchmark => report,
            _ = signals.next() => Err(Error::Stopped),
        };
        let given_back = tokio::select! {
            given_back = servers.give_back() => given_back,
            _ = signals.next() => Err(Error::Stopped),
        };
        Ok::<_, Error>((report, given_back))
    }))?;
    match report {
        Ok(report) => {
            report.print(is_json)?;
            given_back
        }
        Err(error) => {
            if let Err(left) = given_back {
                output::remark(&left.to_string());
            }
            Err(error)
        }
    }
}

/// An error of the machine, with what was being done.
fn while_doing(what: &str) -> impl FnOnce(std::io::Error) -> Error {
    move |cause| Error::Failed(format!("{what}: {cause}"))
}

/// A count as a number to calculate with; counts of a benchmark are far below the bound.
fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn per_second(count: u64, time: Duration) -> f64 {
    float(count) / time.as_secs_f64().max(f64::EPSILON)
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Processor time of one among `count`, in microseconds.
fn micros_each(time: Duration, count: u64) -> f64 {
    time.as_secs_f64() * 1e6 / float(count.max(1))
}

/// The middle of the values; of an even number the mean of both middles.
fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let upper = values.get(values.len() / 2).copied();
    let lower = values.get(values.len().saturating_sub(1) / 2).copied();
    upper.zip(lower).map_or(f64::NAN, |(upper, lower)| f64::midpoint(lower, upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle() {
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), 2.5);
        assert!(median([]).is_nan());
    }
}
