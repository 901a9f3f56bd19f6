//! Tables as other people's programs write them: CSV of databases and spreadsheets, also in GB 18030, with headers in
//! English or Chinese. Reads cells and amounts, and writes cells; what a column means is the caller's.

use encoding_rs::{GB18030, UTF_8, UTF_16BE, UTF_16LE};

/// What a column with the shop's order number may be called, after folding.
pub const ORDER_NUMBER: &[&str] = &[
    "outtradeno",
    "商户订单号",
    "商户单号",
    "订单号",
    "订单编号",
    "orderno",
    "orderid",
    "ordersn",
    "ordernumber",
];
/// One with WeChat's own number.
pub const TRANSACTION_ID: &[&str] =
    &["transactionid", "微信支付订单号", "微信订单号", "微信单号", "交易单号", "支付单号", "交易号"];
/// An amount in fen.
pub const FEN: &[&str] = &["totalfee", "fen", "amountfen", "金额分", "订单金额分", "总金额分", "支付金额分"];
/// An amount in yuan.
pub const YUAN: &[&str] = &["yuan", "amountyuan", "金额元", "订单金额元", "总金额元", "支付金额元"];
/// Names of an amount that do not say whether it is fen or yuan.
pub const AMBIGUOUS: &[&str] = &["amount", "金额", "订单金额", "总金额", "支付金额", "price", "fee", "total"];

/// A header's name: letters and digits only, in small letters.
pub fn fold(name: &str) -> String {
    name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
}

/// The text of a file, whatever wrote it.
pub fn decode(bytes: &[u8]) -> Result<String, String> {
    for encoding in [UTF_8, UTF_16LE, UTF_16BE] {
        let is_marked = encoding_rs::Encoding::for_bom(bytes).is_some_and(|(found, _)| found == encoding);
        let (text, _, has_errors) = encoding.decode(bytes);
        if !has_errors && (is_marked || encoding == UTF_8) {
            return Ok(text.into_owned());
        }
    }
    // Spreadsheets on Chinese systems write this one without saying so.
    let (text, _, has_errors) = GB18030.decode(bytes);
    if has_errors { Err("neither UTF-8, UTF-16 nor GB 18030".to_owned()) } else { Ok(text.into_owned()) }
}

/// Cells by row, each row with the line it begins in. The delimiter is what the first line has most of.
pub fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
    let first = text.lines().next().unwrap_or_default();
    let count = |delimiter: &char| first.matches(*delimiter).count();
    let delimiter = [',', ';', '\t'].into_iter().max_by_key(count).unwrap_or(',');
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun, mut is_quoted) = (1, 1, false);
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        line += usize::from(character == '\n');
        match character {
            '"' if is_quoted && characters.peek() == Some(&'"') => cell.extend(characters.next()),
            '"' if is_quoted => is_quoted = false,
            '"' if cell.trim_matches(['=', ' ']).is_empty() => {
                cell.clear();
                is_quoted = true;
            }
            _ if is_quoted => cell.push(character),
            '\r' => {}
            '\n' => {
                row.push(clean(&std::mem::take(&mut cell)));
                rows.push((begun, std::mem::take(&mut row)));
                begun = line;
            }
            _ if character == delimiter => row.push(clean(&std::mem::take(&mut cell))),
            _ => cell.push(character),
        }
    }
    if !cell.is_empty() || !row.is_empty() {
        row.push(clean(&cell));
        rows.push((begun, row));
    }
    rows
}

/// WeChat's bills begin each value with a backtick, others with an apostrophe or a tab, to keep spreadsheets off.
fn clean(cell: &str) -> String {
    cell.trim().trim_start_matches(['`', '\'']).trim().to_owned()
}

/// By its decimal text: a float would make 19.90 into 1989.
pub fn fen_of(yuan: &str) -> Option<i64> {
    let plain = yuan.trim_start_matches(['¥', '￥']).replace(',', "");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(format!("{part:0<2}").parse().ok()?)
}

/// A cell of CSV. An order number of a forged notification may be a formula: no spreadsheet may carry it out.
pub fn cell(text: &str) -> String {
    let guard = if text.starts_with(['=', '+', '-', '@', '\t']) { "'" } else { "" };
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{guard}{}\"", text.replace('"', "\"\""))
    } else {
        format!("{guard}{text}")
    }
}

/// A foreign text for a terminal: no control character of it gets there.
pub fn printable(text: &str) -> String {
    let is_sound =
        |character: char| character.is_ascii_graphic() || character.is_alphanumeric() || character == ' ';
    text.chars().take(64).map(|character| if is_sound(character) { character } else { '?' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn yuan_are_read_by_their_text() {
        for (yuan, fen) in [("19.90", 1990), ("19.9", 1990), ("0.01", 1), ("￥1,234", 123_400)] {
            assert_eq!(fen_of(yuan), Some(fen), "{yuan}");
        }
        for wrong in ["", "1.234", "-1", "1e3", "."] {
            assert_eq!(fen_of(wrong), None, "{wrong}");
        }
    }
}
