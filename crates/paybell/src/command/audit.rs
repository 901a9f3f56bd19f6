//! `paybell audit`: a bill beside a shop's own list of orders. Needs no configuration, no engine and no service; reads
//! two files and changes nothing.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args as ClapArgs;
use paybell_core::MchId;
use wechat_pay::bill::BillDate;

use crate::{
    audit::{
        Asked, audit,
        orders::{Orders, Words},
        show,
    },
    error::Error,
    language::LanguageArgs,
    output::{self, counted},
};

/// More than a month of a busy shop's orders.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The bill as WeChat gives it, plain or gzip
    #[arg(long, value_name = "FILE")]
    bill: PathBuf,
    /// The shop's orders as CSV: out_trade_no (商户订单号) and, if at hand, total_fee or yuan, transaction_id, paid_at,
    /// state, refund_fee
    #[arg(long, value_name = "FILE")]
    orders: PathBuf,
    /// Only this day of the bill, such as 2026-11-18 [default: all days that it has]
    #[arg(long, value_name = "DATE", value_parser = date)]
    date: Option<BillDate>,
    /// The merchant, if the bill has rows of several
    #[arg(long, value_name = "MCH_ID", value_parser = |text: &str| MchId::new(text))]
    mch_id: Option<MchId>,
    /// A word of the list's state column that means paid; may be given several times
    #[arg(long, value_name = "WORD")]
    paid_state: Vec<String>,
    /// A word that means at least partly refunded
    #[arg(long, value_name = "WORD")]
    refunded_state: Vec<String>,
    /// A word that means not paid
    #[arg(long, value_name = "WORD")]
    unpaid_state: Vec<String>,
    /// Print every difference, not only the first of each kind
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print one line per difference, comma-separated
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    lang: LanguageArgs,
}

/// Compares, prints, and fails where anything differs.
pub fn run(args: Args) -> Result<(), Error> {
    let words = Words { paid: args.paid_state, refunded: args.refunded_state, unpaid: args.unpaid_state };
    let of_file = |file: &Path, what: String| Error::Usage(format!("{}: {what}", file.display()));
    let list = read(&args.orders).map_err(|what| of_file(&args.orders, what))?;
    let mut orders = Orders::read(&list, &words).map_err(|what| of_file(&args.orders, what))?;
    drop(list);
    let lacks = orders.lacks();
    if !lacks.is_empty() {
        let columns = lacks.join(", ");
        output::remark(&format!("{}: no column {columns}: not compared", args.orders.display()));
    }
    let asked = Asked { bill: &args.bill, mch_id: args.mch_id, date: args.date };
    let result = audit(&asked, &mut orders).map_err(|error| of_file(&args.bill, error.to_string()))?;
    if args.json {
        output::json(&show::document(&result))?;
    } else if args.csv {
        output::line(&show::csv(&result))?;
    } else {
        let shown_max = if args.all { usize::MAX } else { show::SHOWN_MAX };
        output::line(show::text(&result, args.lang.language(), shown_max).trim_end())?;
    }
    match result.differing() {
        0 => Ok(()),
        count => Err(Error::Failed(format!(
            "{} between {} and {}",
            counted(count, "difference"),
            args.bill.display(),
            args.orders.display()
        ))),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, String> {
    let size = fs::metadata(file).map_err(|error| error.to_string())?.len();
    if size > FILE_BYTES_MAX {
        return Err(format!("is {size} bytes; at most {FILE_BYTES_MAX} are read: cut it by day"));
    }
    fs::read(file).map_err(|error| error.to_string())
}

fn date(text: &str) -> Result<BillDate, String> {
    BillDate::parse(text).ok_or_else(|| "write a day such as 2026-11-18".to_owned())
}
