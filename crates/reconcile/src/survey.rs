//! The first reading of a bill: is it whole, whose is it, which days does it have, do its totals hold.
//!
//! Compares with nothing. A bill that passes was read to its end, and is read again by [`crate::compare()`].

use std::collections::BTreeMap;
use std::io::{self, Read};

use wechat_pay::bill::{self, BillDate, BillError, BillRefusal, Entry, Opened, Tally, TotalDifference};

use crate::compare::{Failure, Listener, Progress, ROWS_BETWEEN, Stage};
use crate::sums::{Adder, SubSums, Sums};

/// Rows of one bill, at most: what is remembered of a row bounds the memory.
pub const ROWS_MAX: u64 = 20_000_000;

/// Days that one bill has, at most.
const DAYS_MAX: usize = 400;
/// Merchant numbers that are told apart.
const MERCHANTS_MAX: usize = 16;

/// Where a bill is read from: opened anew for each reading.
pub trait Source {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>>;
}

impl<F: FnMut() -> io::Result<Box<dyn Read>>> Source for F {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self()
    }
}

/// What the first reading found.
#[derive(Debug)]
pub enum Surveyed {
    Whole(Box<Survey>),
    /// WeChat's answer instead of a bill, such as `No Bill Exist`: there is nothing to compare, and nothing is proved.
    Refused(BillRefusal),
}

/// A whole bill, seen from afar.
#[derive(Debug)]
pub struct Survey {
    pub rows: u64,
    /// Rows per day.
    pub days: BTreeMap<BillDate, u64>,
    /// Rows per merchant number.
    pub merchants: BTreeMap<String, u64>,
    pub sums: Vec<Sums>,
    pub by_sub_merchant: Vec<SubSums>,
    pub totals_off: Vec<TotalDifference>,
    pub(crate) tally: Tally,
}

/// Reads a bill to its end, gzip or plain.
pub fn survey(source: &mut dyn Source, listener: &mut dyn Listener) -> Result<Surveyed, Failure> {
    let input = source.open().map_err(Failure::Open)?;
    let mut bill = match bill::open(input)? {
        Opened::Bill(bill) => bill,
        Opened::Refused(refusal) => return Ok(Surveyed::Refused(refusal)),
    };
    let (mut adder, mut found) = (Adder::default(), Found::default());
    while let Some(entry) = bill.next_entry()? {
        found.add(&entry)?;
        adder.add(&entry);
        if found.rows.is_multiple_of(ROWS_BETWEEN) {
            listener.progress(Progress { stage: Stage::Reading, done: found.rows, total: None })?;
        }
    }
    let summary = bill.summary().ok_or(BillError::MissingSummary)?;
    let (sums, by_sub_merchant) = adder.finish();
    Ok(Surveyed::Whole(Box::new(Survey {
        rows: found.rows,
        days: found.days,
        merchants: found.merchants,
        sums,
        by_sub_merchant,
        totals_off: found.tally.differences(summary),
        tally: found.tally,
    })))
}

#[derive(Default)]
struct Found {
    rows: u64,
    days: BTreeMap<BillDate, u64>,
    merchants: BTreeMap<String, u64>,
    tally: Tally,
    /// Of the last row: most rows are of one day.
    day: Option<BillDate>,
}

impl Found {
    fn add(&mut self, entry: &Entry<'_>) -> Result<(), Failure> {
        self.rows += 1;
        if self.rows > ROWS_MAX {
            return Err(Failure::TooManyRows);
        }
        self.tally.add(entry);
        if let Some(rows) = self.merchants.get_mut(entry.mch_id) {
            *rows += 1;
        } else if self.merchants.len() < MERCHANTS_MAX {
            self.merchants.insert(entry.mch_id.to_owned(), 1);
        }
        let is_of = |date: BillDate| (date.begin_ms()..date.end_ms()).contains(&entry.time_ms);
        let day = match self.day {
            Some(day) if is_of(day) => Some(day),
            _ => BillDate::of(entry.time_ms),
        };
        let Some(day) = day else { return Ok(()) };
        self.day = Some(day);
        if self.days.len() < DAYS_MAX || self.days.contains_key(&day) {
            *self.days.entry(day).or_default() += 1;
        }
        Ok(())
    }
}
