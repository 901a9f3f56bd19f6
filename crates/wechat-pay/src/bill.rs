//! Trade bills (对账单): streamed line by line, columns chosen by their names.
//!
//! A bill is text without quoting whose values begin with a backtick, so that commas inside them do no harm; a failure
//! is XML; either may come where the other was expected. One line is in memory at a time. Rows are read as text
//! ([`Bill::next_row`]) or as values ([`Bill::next_entry`], then [`Tally`]); comparing them with orders is the caller's.

mod amount;
mod entry;
mod refusal;
mod request;
mod tally;

use std::io::{BufRead, BufReader, Cursor, Read};
use std::ops::Range;

use flate2::bufread::MultiGzDecoder;

pub use amount::{FeeUnits, fee_units, fen_from_yuan};
pub use entry::{Entry, EntryKind, EntryRefund};
pub use refusal::{BillRefusal, RefusalKind};
pub use request::{BillDate, BillRequest, BillType, PATH};
pub use tally::{Tally, TotalDifference};

use entry::Places;

/// Longest line, in bytes: a hostile file must not fill the memory.
pub const LINE_BYTES_MAX: u64 = 64 * 1024;

const BOM: &str = "\u{feff}";
const GZIP: [u8; 2] = [0x1f, 0x8b];
/// Read ahead, plain and unpacked: as long as the longest line, so that few lines lie across its end.
const READ_AHEAD_BYTES: usize = 64 * 1024;

/// What a downloaded bill turned out to be.
pub enum Opened<'r> {
    Bill(Bill<'r>),
    /// WeChat's answer instead of a bill, such as `No Bill Exist`. It is not signed.
    Refused(BillRefusal),
}

/// A bill, read as far as its header.
pub struct Bill<'r> {
    lines: Lines<'r>,
    columns: Vec<String>,
    places: Box<Places>,
    line: String,
    /// Where the values of the line in hand are.
    bounds: Vec<Range<usize>>,
    summary: Option<Vec<(String, String)>>,
}

/// One row: its values, by column.
pub struct Row<'b> {
    columns: &'b [String],
    line: &'b str,
    bounds: &'b [Range<usize>],
}

/// Why a file is no bill.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BillError {
    #[error("the bill cannot be read: {0}")]
    Io(#[from] std::io::Error),
    #[error("line {0} is not UTF-8")]
    Encoding(u64),
    #[error("line {0} is longer than {LINE_BYTES_MAX} bytes")]
    TooLong(u64),
    #[error("the file is empty")]
    Empty,
    #[error("line {line} has {found} values, the header {expected}")]
    ColumnCount { line: u64, found: usize, expected: usize },
    #[error("the file ends before its summary: it is not whole")]
    MissingSummary,
    #[error("there is something after the summary, in line {0}")]
    AfterSummary(u64),
    #[error("the bill has no column {0}")]
    MissingColumn(&'static str),
    /// The value itself is not shown: bills hold what belongs to payers and shops.
    #[error("line {line}: the value of {column} is malformed")]
    Value { line: u64, column: &'static str },
}

/// Opens a bill, plain or gzip, whatever was asked for.
pub fn open<'r>(mut input: impl Read + 'r) -> Result<Opened<'r>, BillError> {
    let mut head = Vec::with_capacity(GZIP.len());
    // Two bytes tell, however slowly they come.
    (&mut input).take(2).read_to_end(&mut head)?;
    let is_gzip = head == GZIP;
    let mut reader: Box<dyn BufRead + 'r> =
        Box::new(BufReader::with_capacity(READ_AHEAD_BYTES, Cursor::new(head).chain(input)));
    if is_gzip {
        reader = Box::new(BufReader::with_capacity(READ_AHEAD_BYTES, MultiGzDecoder::new(reader)));
    }
    let mut lines = Lines { reader, number: 0 };
    let mut line = String::new();
    if !lines.next(&mut line)? {
        return Err(BillError::Empty);
    }
    let header = line.strip_prefix(BOM).unwrap_or(&line);
    if header.trim_start().starts_with("<xml") {
        return refused(header.to_owned(), lines);
    }
    let columns: Vec<String> = header.split(',').map(str::to_owned).collect();
    let places = Box::new(Places::of(&columns));
    let bounds = Vec::with_capacity(columns.len());
    Ok(Opened::Bill(Bill { lines, columns, places, line, bounds, summary: None }))
}

fn refused<'r>(mut text: String, mut lines: Lines<'_>) -> Result<Opened<'r>, BillError> {
    let mut line = String::new();
    while lines.next(&mut line)? && text.len() < crate::xml::BODY_BYTES_MAX {
        text.push_str(&line);
    }
    Ok(Opened::Refused(BillRefusal::parse(text.as_bytes())))
}

impl Bill<'_> {
    /// The names of the columns, which vary with the bill's type, the contract and its age.
    #[must_use]
    pub fn columns(&self) -> &[String] {
        &self.columns
    }

    /// The next row; `None` at the end of a whole bill, whose summary is there from then on.
    pub fn next_row(&mut self) -> Result<Option<Row<'_>>, BillError> {
        if self.summary.is_some() {
            return Ok(None);
        }
        if !self.lines.next(&mut self.line)? {
            return Err(BillError::MissingSummary);
        }
        if !self.line.starts_with('`') {
            self.read_summary()?;
            return Ok(None);
        }
        self.split(self.columns.len())?;
        Ok(Some(Row { columns: &self.columns, line: &self.line, bounds: &self.bounds }))
    }

    /// The next row as values; `None` at the end of a whole bill.
    pub fn next_entry(&mut self) -> Result<Option<Entry<'_>>, BillError> {
        if self.next_row()?.is_none() {
            return Ok(None);
        }
        let row = Row { columns: &self.columns, line: &self.line, bounds: &self.bounds };
        Entry::read(&row, &self.places, self.lines.number).map(Some)
    }

    /// The totals, by name, once every row was read.
    #[must_use]
    pub fn summary(&self) -> Option<&[(String, String)]> {
        self.summary.as_deref()
    }

    /// The line in hand is the summary's header; the next one has its values, and nothing follows.
    fn read_summary(&mut self) -> Result<(), BillError> {
        let names: Vec<String> = self.line.split(',').map(str::to_owned).collect();
        if !self.lines.next(&mut self.line)? {
            return Err(BillError::MissingSummary);
        }
        self.split(names.len())?;
        let value = |range: &Range<usize>| self.line.get(range.clone()).unwrap_or_default().to_owned();
        let totals: Vec<String> = self.bounds.iter().map(value).collect();
        while self.lines.next(&mut self.line)? {
            if !self.line.is_empty() {
                return Err(BillError::AfterSummary(self.lines.number));
            }
        }
        self.summary = Some(names.into_iter().zip(totals).collect());
        Ok(())
    }

    /// Values are parted by a comma and the next one's backtick, not by commas: names of goods contain those.
    fn split(&mut self, expected: usize) -> Result<(), BillError> {
        self.bounds.clear();
        let mut start = usize::from(self.line.starts_with('`'));
        for (at, pair) in self.line.as_bytes().windows(2).enumerate() {
            if pair == b",`" {
                self.bounds.push(start..at);
                start = at + 2;
            }
        }
        self.bounds.push(start..self.line.len());
        let found = self.bounds.len();
        if found == expected {
            Ok(())
        } else {
            Err(BillError::ColumnCount { line: self.lines.number, found, expected })
        }
    }
}

impl<'b> Row<'b> {
    /// The value of a column; `None` if the bill has no such column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&'b str> {
        let place = self.columns.iter().position(|name| name == column)?;
        Some(self.at(place))
    }

    /// All values with their columns, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(String::as_str).zip((0..self.bounds.len()).map(|place| self.at(place)))
    }

    /// The value at a place; empty beyond the last.
    fn at(&self, place: usize) -> &'b str {
        self.bounds.get(place).and_then(|range| self.line.get(range.clone())).unwrap_or_default()
    }
}

struct Lines<'r> {
    reader: Box<dyn BufRead + 'r>,
    number: u64,
}

impl Lines<'_> {
    /// Puts the next line into `line`, without its end; `false` at the end of the file.
    fn next(&mut self, line: &mut String) -> Result<bool, BillError> {
        let mut bytes = std::mem::take(line).into_bytes();
        bytes.clear();
        self.number += 1;
        let read = (&mut self.reader).take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut bytes)?;
        if u64::try_from(read).unwrap_or(u64::MAX) > LINE_BYTES_MAX {
            return Err(BillError::TooLong(self.number));
        }
        while matches!(bytes.last(), Some(b'\n' | b'\r')) {
            bytes.pop();
        }
        *line = String::from_utf8(bytes).map_err(|_| BillError::Encoding(self.number))?;
        Ok(read > 0)
    }
}
