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

/// A number of things with a regular plural: `1 finding`, `2 findings`.
pub fn counted(count: u64, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// A foreign text for a terminal: what is no visible character of one line is written as its number, such as `\u{1b}`.
pub fn tame(text: &str) -> String {
    let mut tame = String::with_capacity(text.len());
    for character in text.chars() {
        if is_visible(character) { tame.push(character) } else { tame.extend(character.escape_unicode()) }
    }
    tame
}

/// Neither a control character nor one that hides, breaks or turns around what follows it.
fn is_visible(character: char) -> bool {
    !character.is_control()
        && !matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
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
    fn a_foreign_text_does_not_move_the_cursor() {
        assert_eq!(tame("a\u{1b}[2Jb\nc\td\u{202e}e"), "a\\u{1b}[2Jb\\u{a}c\\u{9}d\\u{202e}e");
        assert_eq!(tame("\u{9b}31m\u{feff}\u{2066}"), "\\u{9b}31m\\u{feff}\\u{2066}");
        let plain = "订单 T-1：金额不符 (¥19.90) – “ok” é";
        assert_eq!(tame(plain), plain);
    }

    #[test]
    fn one_is_not_several() {
        assert_eq!(
            [0, 1, 2].map(|count| counted(count, "finding")),
            ["0 findings", "1 finding", "2 findings"]
        );
    }

    #[test]
    fn listings_align_for_people_and_split_for_programs() {
        let rows =
            vec![vec!["T1".to_owned(), "paid".to_owned()], vec!["T2026".to_owned(), "unpaid".to_owned()]];
        assert_eq!(columns(&["order", "state"], &rows), "ORDER  STATE\nT1     paid\nT2026  unpaid\n");
        assert_eq!(tabs(&["order", "state"], &rows), "order\tstate\nT1\tpaid\nT2026\tunpaid\n");
    }
}
