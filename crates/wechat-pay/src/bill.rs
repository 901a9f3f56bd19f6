//! Trade bills (对账单): streamed line by line, columns chosen by their names.
//!
//! A bill is text without quoting whose values begin with a backtick, so that commas inside them do no harm; a failure
//! is XML; either may come where the other was expected. Nothing here adds amounts up or compares them with orders.

use std::io::{BufRead, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::xml::Document;

/// Longest line, in bytes: a hostile file must not fill the memory.
pub const LINE_BYTES_MAX: u64 = 64 * 1024;

const BOM: &str = "\u{feff}";
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What a downloaded bill turned out to be.
pub enum Opened<'r> {
    Bill(Bill<'r>),
    /// WeChat's answer instead of a bill, such as `No Bill Exist`. It is not signed.
    Refused {
        return_msg: String,
        error_code: Option<String>,
    },
}

/// A bill, read as far as its header.
pub struct Bill<'r> {
    lines: Lines<'r>,
    columns: Vec<String>,
    line: String,
    summary: Option<Vec<(String, String)>>,
}

/// One row: its values, by column.
pub struct Row<'b> {
    columns: &'b [String],
    values: Vec<&'b str>,
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
}

/// Opens a bill, plain or gzip, whatever was asked for.
pub fn open<'r>(mut input: impl Read + 'r) -> Result<Opened<'r>, BillError> {
    let mut head = Vec::with_capacity(GZIP.len());
    // Two bytes tell, however slowly they come.
    (&mut input).take(2).read_to_end(&mut head)?;
    let is_gzip = head == GZIP;
    let mut reader: Box<dyn BufRead + 'r> = Box::new(BufReader::new(Cursor::new(head).chain(input)));
    if is_gzip {
        reader = Box::new(BufReader::new(MultiGzDecoder::new(reader)));
    }
    let mut lines = Lines { reader, number: 0 };
    let mut line = String::new();
    if !lines.next(&mut line)? {
        return Err(BillError::Empty);
    }
    let header = line.strip_prefix(BOM).unwrap_or(&line);
    if header.starts_with("<xml") {
        return refused(header.to_owned(), lines);
    }
    let columns = header.split(',').map(str::to_owned).collect();
    Ok(Opened::Bill(Bill { lines, columns, line, summary: None }))
}

fn refused<'r>(mut text: String, mut lines: Lines<'_>) -> Result<Opened<'r>, BillError> {
    let mut line = String::new();
    while lines.next(&mut line)? && text.len() < crate::xml::BODY_BYTES_MAX {
        text.push_str(&line);
    }
    let document = Document::parse(text.as_bytes()).ok();
    let field = |name| document.as_ref().and_then(|document| document.get(name)).map(str::to_owned);
    let return_msg = field("return_msg").unwrap_or_else(|| "an answer that is no bill".to_owned());
    Ok(Opened::Refused { return_msg, error_code: field("error_code") })
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
        let values = values(&self.line);
        if values.len() != self.columns.len() {
            let (found, expected) = (values.len(), self.columns.len());
            return Err(BillError::ColumnCount { line: self.lines.number, found, expected });
        }
        Ok(Some(Row { columns: &self.columns, values }))
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
        let totals: Vec<String> = values(&self.line).into_iter().map(str::to_owned).collect();
        if totals.len() != names.len() {
            let (found, expected) = (totals.len(), names.len());
            return Err(BillError::ColumnCount { line: self.lines.number, found, expected });
        }
        while self.lines.next(&mut self.line)? {
            if !self.line.is_empty() {
                return Err(BillError::AfterSummary(self.lines.number));
            }
        }
        self.summary = Some(names.into_iter().zip(totals).collect());
        Ok(())
    }
}

impl Row<'_> {
    /// The value of a column; `None` if the bill has no such column.
    #[must_use]
    pub fn get(&self, column: &str) -> Option<&str> {
        let place = self.columns.iter().position(|name| name == column)?;
        self.values.get(place).copied()
    }

    /// All values with their columns, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.columns.iter().map(String::as_str).zip(self.values.iter().copied())
    }
}

/// Values are parted by a comma and the next one's backtick, not by commas: names of goods contain those.
fn values(line: &str) -> Vec<&str> {
    line.strip_prefix('`').unwrap_or(line).split(",`").collect()
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
