//! What commands print: lines, JSON, and listings, which are aligned for people and tab-separated for programs.
//! Decides nothing; a reader that went away is an error of its own kind, not a panic.

use std::io::{self, IsTerminal, Read, Write};

use serde_json::Value;

use crate::error::Error;

/// More than any document that a command reads from standard input.
const INPUT_BYTES_MAX: u64 = 1024 * 1024;

/// One line, or several.
pub fn line(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}

/// A document for people and programs.
pub fn json(value: &Value) -> Result<(), Error> {
    line(&format!("{value:#}"))
}

/// A listing: on a terminal in columns, otherwise with tabs and without adornment.
pub fn table(headers: &[&str], rows: &[Vec<String>]) -> Result<(), Error> {
    let text = if io::stdout().is_terminal() { columns(headers, rows) } else { tabs(headers, rows) };
    line(text.trim_end_matches('\n'))
}

/// A remark for the person, not for the pipe.
pub fn remark(text: &str) {
    // If nobody can read remarks, nobody misses one.
    let _ = writeln!(io::stderr(), "{text}");
}

/// What is being done, for a person who waits at a terminal.
pub fn progress(text: &str) {
    if io::stderr().is_terminal() {
        remark(text);
    }
}

/// Everything on standard input.
pub fn read_input() -> Result<Vec<u8>, Error> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(INPUT_BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn columns(headers: &[&str], rows: &[Vec<String>]) -> String {
    let width = |column: usize, header: &str| {
        let cells = rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count());
        cells.chain([header.chars().count()]).max().unwrap_or(0)
    };
    let widths: Vec<usize> =
        headers.iter().enumerate().map(|(column, header)| width(column, header)).collect();
    let mut text = String::new();
    let head = headers.iter().map(|header| header.to_uppercase()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn tabs(headers: &[&str], rows: &[Vec<String>]) -> String {
    let mut text = headers.join("\t");
    text.push('\n');
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listings_align_for_people_and_split_for_programs() {
        let rows =
            vec![vec!["T1".to_owned(), "paid".to_owned()], vec!["T2026".to_owned(), "unpaid".to_owned()]];
        assert_eq!(columns(&["order", "state"], &rows), "ORDER  STATE\nT1     paid\nT2026  unpaid\n");
        assert_eq!(tabs(&["order", "state"], &rows), "order\tstate\nT1\tpaid\nT2026\tunpaid\n");
    }
}
