//! The handler's own table: CSV as databases and spreadsheets write it, also in GB 18030, with headers in English or
//! Chinese. A column that could be fen or yuan is refused, not guessed; a row that cannot be read is an error with its
//! line.

use encoding_rs::{GB18030, UTF_8, UTF_16BE, UTF_16LE};

use super::{Seen, moment};

/// What a column may be called, after folding: letters and digits only, in small letters.
const NAMES: [(Column, &[&str]); 6] = [
    (
        Column::OutTradeNo,
        &[
            "outtradeno",
            "商户订单号",
            "商户单号",
            "订单号",
            "订单编号",
            "orderno",
            "orderid",
            "ordersn",
            "ordernumber",
        ],
    ),
    (
        Column::Time,
        &[
            "time",
            "时间",
            "通知时间",
            "接收时间",
            "回调时间",
            "处理时间",
            "到账时间",
            "receivedat",
            "notifiedat",
            "notifytime",
            "createdat",
            "createtime",
            "creationtime",
            "handledat",
            "datetime",
            "timestamp",
            "date",
        ],
    ),
    (
        Column::TransactionId,
        &["transactionid", "微信支付订单号", "微信订单号", "微信单号", "交易单号", "支付单号", "交易号"],
    ),
    (Column::Fen, &["totalfee", "fen", "amountfen", "金额分", "订单金额分", "总金额分", "支付金额分"]),
    (Column::Yuan, &["yuan", "amountyuan", "金额元", "订单金额元", "总金额元", "支付金额元"]),
    (Column::MchId, &["mchid", "商户号", "特约商户号"]),
];

/// Names of an amount that do not say whether it is fen or yuan.
const AMBIGUOUS: [&str; 8] = ["amount", "金额", "订单金额", "总金额", "支付金额", "price", "fee", "total"];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    OutTradeNo,
    Time,
    TransactionId,
    Fen,
    Yuan,
    MchId,
}

/// Reads a whole table. The error is a sentence with the line.
pub fn read(bytes: &[u8]) -> Result<Vec<Seen>, String> {
    let text = decode(bytes)?;
    let mut rows = rows(&text).into_iter().filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
    let (_, head) = rows.next().ok_or("the file is empty: its first line must name the columns")?;
    let columns = columns(&head)?;
    rows.map(|(line, cells)| seen(line, &cells, &columns)).collect()
}

fn decode(bytes: &[u8]) -> Result<String, String> {
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
fn rows(text: &str) -> Vec<(usize, Vec<String>)> {
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

fn columns(head: &[String]) -> Result<Vec<Option<Column>>, String> {
    let fold = |name: &String| -> String {
        name.chars().filter(|character| character.is_alphanumeric()).flat_map(char::to_lowercase).collect()
    };
    let folded: Vec<String> = head.iter().map(fold).collect();
    let of = |name: &String| {
        NAMES.iter().find(|(_, names)| names.contains(&name.as_str())).map(|(column, _)| *column)
    };
    let found: Vec<Option<Column>> = folded.iter().map(of).collect();
    let listed = head.join(", ");
    for (column, what) in [(Column::OutTradeNo, "out_trade_no (商户订单号)"), (Column::Time, "time (时间)")]
    {
        match found.iter().filter(|found| **found == Some(column)).count() {
            1 => {}
            0 => return Err(format!("line 1: no column {what}; there are: {listed}")),
            _ => return Err(format!("line 1: more than one column could be {what}; there are: {listed}")),
        }
    }
    let has_amount = found.iter().any(|column| matches!(column, Some(Column::Fen | Column::Yuan)));
    if let Some(at) = folded.iter().position(|name| !has_amount && AMBIGUOUS.contains(&name.as_str())) {
        let name = head.get(at).map_or("", String::as_str);
        return Err(format!(
            "line 1: is \"{name}\" fen or yuan? Rename it to total_fee, 金额(分), yuan or 金额(元)"
        ));
    }
    Ok(found)
}

fn seen(line: usize, cells: &[String], columns: &[Option<Column>]) -> Result<Seen, String> {
    let cell = |wanted: Column| {
        let found = columns.iter().zip(cells).find(|(column, _)| **column == Some(wanted));
        found.map(|(_, cell)| cell.as_str()).filter(|cell| !cell.is_empty())
    };
    let out_trade_no = cell(Column::OutTradeNo).ok_or(format!("line {line}: no order number"))?.to_owned();
    let time = cell(Column::Time).ok_or(format!("line {line}: no time"))?;
    let at = moment::parse(time).ok_or_else(|| {
        format!(
            "line {line}: \"{time}\" is no time that is understood; write 2026-11-20 12:00:03 or RFC 3339"
        )
    })?;
    let total_fee = match (cell(Column::Fen), cell(Column::Yuan)) {
        (Some(fen), _) => {
            Some(fen.parse().map_err(|_| format!("line {line}: \"{fen}\" is no whole number of fen"))?)
        }
        (None, Some(yuan)) => Some(
            fen_of(yuan).ok_or(format!("line {line}: \"{yuan}\" is no amount in yuan with two decimals"))?,
        ),
        (None, None) => None,
    };
    let text = |column| cell(column).map(str::to_owned);
    let (mch_id, transaction_id) = (text(Column::MchId), text(Column::TransactionId));
    Ok(Seen { line, mch_id, out_trade_no, at, transaction_id, total_fee })
}

/// By its decimal text: a float would make 19.90 into 1989.
fn fen_of(yuan: &str) -> Option<i64> {
    let plain = yuan.trim_start_matches(['¥', '￥']).replace(',', "");
    let (whole, part) = plain.split_once('.').unwrap_or((&plain, ""));
    let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !is_number(whole) || !is_number(part) || part.len() > 2 {
        return None;
    }
    whole.parse::<i64>().ok()?.checked_mul(100)?.checked_add(format!("{part:0<2}").parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Seen {
        let [seen] = read(text.as_bytes()).unwrap().try_into().unwrap();
        seen
    }

    #[test]
    fn a_table_of_a_database_and_one_of_a_spreadsheet_say_the_same() {
        let plain = one("out_trade_no,time,transaction_id,total_fee\nT1,2026-11-20T12:00:03+08:00,42,1990\n");
        assert_eq!((plain.out_trade_no.as_str(), plain.total_fee, plain.line), ("T1", Some(1990), 2));
        assert_eq!(plain.transaction_id.as_deref(), Some("42"));
        let chinese = "\u{feff}通知时间;商户订单号;金额(元);微信支付订单号;备注\r\n2026/11/20 12:00:03;`T1;19.9;=\"42\";\"a;\"\"b\"\"\n\"\r\n";
        assert_eq!(one(chinese), plain);
        let (gbk, _, _) =
            GB18030.encode("商户订单号,时间,微信支付订单号,金额（分）\nT1,20261120120003,'42,1990\n");
        assert_eq!(read(&gbk).unwrap(), [plain]);
    }

    #[test]
    fn lines_are_counted_through_quoted_breaks_and_blank_lines() {
        let seen = read(b"time,note,order_no\n1795147203,\"a\nb\",T1\n\n1795147204,,T2\n").unwrap();
        assert_eq!(seen.iter().map(|seen| seen.line).collect::<Vec<_>>(), [2, 5]);
    }

    #[test]
    fn what_cannot_be_read_is_named_with_its_line() {
        for (text, words) in [
            ("", "empty"),
            ("time,amount_fen\n", "no column out_trade_no"),
            ("order_no,订单号,time\n", "more than one"),
            ("order_no,time,金额\n", "fen or yuan"),
            ("order_no,time\nT1,yesterday\n", "line 2: \"yesterday\""),
            ("order_no,time\nT1\n", "line 2: no time"),
            ("order_no,time,total_fee\nT1,1795147203,19.90\n", "whole number of fen"),
            ("order_no,time,yuan\nT1,1795147203,19.905\n", "two decimals"),
        ] {
            let error = read(text.as_bytes()).unwrap_err();
            assert!(error.contains(words), "{text}: {error}");
        }
    }

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
