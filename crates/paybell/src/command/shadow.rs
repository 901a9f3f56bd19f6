//! `paybell shadow`: compare what Paybell decided with what the shop's old handler saw, and have told what nobody told.
//! Over the private API; the report changes nothing.

use std::{fs, path::PathBuf};

use clap::{Args, Subcommand};
use hyper::Method;
use paybell_core::Timestamp;
use serde_json::Map;

use super::{asking::WhyArgs, order::Key};
use crate::{
    api::{Api, ApiArgs},
    error::Error,
    language::LanguageArgs,
    output,
    shadow::{
        Period, access_log,
        compare::{self, Frame},
        decided, moment, sheet, show,
    },
};

/// More than a month of a busy shop's log.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Compare with what the old handler saw: missed, doubled, late, another amount, not paid
    Report(Report),
    /// Have a payment told outside that was decided in shadow mode
    Release(Release),
}

#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("other_side").required(true).args(["handler", "access_log"])))]
pub struct Report {
    /// What the handler saw, as CSV: out_trade_no (商户订单号), time (时间) and, if at hand, transaction_id, total_fee
    #[arg(long, value_name = "FILE")]
    handler: Option<PathBuf>,
    /// The web server's access log in the common or combined format
    #[arg(long, value_name = "FILE")]
    access_log: Option<PathBuf>,
    /// The path of the notify URL in that log
    #[arg(long, value_name = "PATH", requires = "access_log", default_value = "/")]
    notify_path: String,
    /// Payments from this time on, such as 2026-11-20 or "2026-11-20 12:00" (Beijing) [default: all]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<Timestamp>,
    /// Payments before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<Timestamp>,
    /// Only payments of this merchant
    #[arg(long, value_name = "MCH_ID")]
    mch_id: Option<String>,
    /// Seconds after the payment from which on the handler was late
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    late: u32,
    /// Print every finding, not only the first of each kind
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print one line per finding, comma-separated
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    lang: LanguageArgs,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct Release {
    #[command(flatten)]
    key: Key,
    #[command(flatten)]
    why: WhyArgs,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Report(args) => report(args).await,
        Command::Release(args) => release(args).await,
    }
}

async fn report(args: Report) -> Result<(), Error> {
    let frame =
        Frame { period: Period { from: args.from, to: args.to }, late_ms: i64::from(args.late) * 1_000 };
    // The files first: whoever mistyped one should not wait for the log.
    let other_side = OtherSide::read(&args)?;
    let api = Api::new(&args.api)?;
    let payments = decided::payments(&api, args.mch_id.as_deref()).await?;
    let mut report = match &other_side {
        OtherSide::Rows(rows) => compare::orders(&payments, rows, frame),
        OtherSide::Hits(hits) => compare::hits(&payments, hits, frame),
    };
    decided::look_up_strange(&api, &payments, args.mch_id.as_deref(), &mut report).await?;
    if args.json {
        return output::json(&show::document(&report, frame));
    }
    if args.csv {
        return output::line(&show::csv(&report));
    }
    let shown_max = if args.all { usize::MAX } else { show::SHOWN_MAX };
    output::line(show::text(&report, frame, args.lang.language(), shown_max).trim_end())
}

async fn release(args: Release) -> Result<(), Error> {
    args.why.change(Method::POST, &args.key.path("/release"), Map::new()).await?;
    output::line("released: the next look at the order, within seconds, has its payment told")
}

enum OtherSide {
    Rows(Vec<crate::shadow::Seen>),
    Hits(Vec<access_log::Hit>),
}

impl OtherSide {
    fn read(args: &Report) -> Result<Self, Error> {
        if let Some(file) = &args.handler {
            let rows = sheet::read(&read(file)?);
            return Ok(Self::Rows(rows.map_err(|what| Error::Usage(format!("{}: {what}", file.display())))?));
        }
        let file = args.access_log.as_ref().expect("the command line requires one of the two");
        let (hits, strange) = access_log::read(&String::from_utf8_lossy(&read(file)?), &args.notify_path);
        if strange > 0 {
            output::remark(&format!(
                "{}: {strange} lines are no log lines and were passed over",
                file.display()
            ));
        }
        if hits.is_empty() {
            let what = "no POST to the notify URL in it: name its path with --notify-path";
            return Err(Error::Usage(format!("{}: {what}", file.display())));
        }
        Ok(Self::Hits(hits))
    }
}

fn read(file: &PathBuf) -> Result<Vec<u8>, Error> {
    let unreadable = |what: String| Error::Usage(format!("{}: {what}", file.display()));
    let size = fs::metadata(file).map_err(|error| unreadable(error.to_string()))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unreadable(format!("is {size} bytes; at most {FILE_BYTES_MAX} are read: cut it by day")));
    }
    fs::read(file).map_err(|error| unreadable(error.to_string()))
}

fn time(text: &str) -> Result<Timestamp, String> {
    moment::parse(text).ok_or_else(|| "write 2026-11-20, \"2026-11-20 12:00\" or RFC 3339".to_owned())
}
