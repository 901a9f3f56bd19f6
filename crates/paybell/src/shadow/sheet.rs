//! The handler's own table: CSV as databases and spreadsheets write it, also in GB 18030, with headers in English or
//! Chinese. A column that could be fen or yuan is refused, not guessed; a row that cannot be read is an error with its
//! line.

use super::{Seen, moment};
use crate::table;

/// What a column may be called, after folding.
const NAMES: [(Column, &[&str]); 6] = [
    (Column::OutTradeNo, table::ORDER_NUMBER),
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
    (Column::TransactionId, table::TRANSACTION_ID),
    (Column::Fen, table::FEN),
    (Column::Yuan, table::YUAN),
    (Column::MchId, &["mchid", "商户号", "特约商户号"]),
];

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
    let text = table::decode(bytes)?;
    let mut rows =
        table::rows(&text).into_iter().filter(|(_, cells)| cells.iter().any(|cell| !cell.is_empty()));
    let (_, head) = rows.next().ok_or("the file is empty: its first line must name the columns")?;
    let columns = columns(&head)?;
    rows.map(|(line, cells)| seen(line, &cells, &columns)).collect()
}

fn columns(head: &[String]) -> Result<Vec<Option<Column>>, String> {
    let folded: Vec<String> = head.iter().map(|name| table::fold(name)).collect();
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
    if let Some(at) = folded.iter().position(|name| !has_amount && table::AMBIGUOUS.contains(&name.as_str()))
    {
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
            table::fen_of(yuan)
                .ok_or(format!("line {line}: \"{yuan}\" is no amount in yuan with two decimals"))?,
        ),
        (None, None) => None,
    };
    let text = |column| cell(column).map(str::to_owned);
    let (mch_id, transaction_id) = (text(Column::MchId), text(Column::TransactionId));
    Ok(Seen { line, mch_id, out_trade_no, at, transaction_id, total_fee })
}

#[cfg(test)]
mod tests {
    use encoding_rs::GB18030;

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
}
