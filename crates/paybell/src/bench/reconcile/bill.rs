//! The bill: payments spread over one day, refunds of some of them, packed as WeChat packs it. Also the baseline that
//! only reads it.

use std::{
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use paybell_core::{Timestamp, time::Millis};
use wechat_pay::bill::{BillDate, Opened, Tally, open};

use crate::{
    bench::{
        APP_ID, MCH_ID,
        notifications::{TOTAL_FEE, out_trade_no, transaction_id},
        while_doing,
    },
    error::Error,
};

/// One row in so many is a refund of the payment before it.
const REFUND_EVERY: u32 = 50;
/// One row in so many is a payment that the ledger does not know.
const UNKNOWN_EVERY: u32 = 1_000;

const HEADER: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r\n";
const TOTALS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n";

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Payment,
    /// Of the row before it.
    Refund,
    /// A payment that the ledger does not know.
    Unknown,
}

impl Row {
    pub fn of(serial: u32) -> Self {
        match serial {
            serial if serial % REFUND_EVERY == REFUND_EVERY - 1 => Self::Refund,
            serial if serial % UNKNOWN_EVERY == 0 => Self::Unknown,
            _ => Self::Payment,
        }
    }

    /// Whether the row after it is its refund.
    pub fn is_refunded(serial: u32) -> bool {
        Self::of(serial.saturating_add(1)) == Self::Refund
    }
}

/// Payments (the unknown ones too), refunds, and unknown payments of a bill.
pub fn counts(rows: u32) -> (u64, u64, u64) {
    let count =
        |wanted: Row| u64::try_from((0..rows).filter(|row| Row::of(*row) == wanted).count()).unwrap_or(0);
    let (refunds, unknown) = (count(Row::Refund), count(Row::Unknown));
    (u64::from(rows) - refunds, refunds, unknown)
}

/// The day of every bill.
pub fn date() -> BillDate {
    BillDate::parse("2026-11-18").expect("it is a day")
}

/// When a row's payment was made: between 01:00 and 23:00, far from any midnight.
pub fn paid_at(serial: u32, rows: u32) -> Timestamp {
    let begin = Timestamp::from_millis(date().begin_ms()) + Millis::seconds(3_600);
    begin + Millis::seconds(22 * 3_600 * i64::from(serial) / i64::from(rows.max(1)))
}

/// Writes a bill; returns the bytes of its text.
pub fn write(path: &Path, rows: u32) -> Result<u64, Error> {
    let writing = || while_doing("writing the bill");
    let file = File::create(path).map_err(writing())?;
    let mut to = GzEncoder::new(BufWriter::new(file), Compression::new(4));
    let mut bytes = 0_u64;
    let mut put = |text: &str| {
        bytes += u64::try_from(text.len()).unwrap_or(0);
        to.write_all(text.as_bytes())
    };
    put(HEADER).map_err(writing())?;
    for serial in 0..rows {
        put(&row(serial, rows)).map_err(writing())?;
    }
    let (payments, refunds, _) = counts(rows);
    let (gross, back) = (yuan(payments * TOTAL_FEE), yuan(refunds * 500));
    let fees = payments * 12_000 - refunds * 3_000;
    let fees = format!("{}.{:05}", fees / 100_000, fees % 100_000);
    put(TOTALS).map_err(writing())?;
    put(&format!("`{rows}.0,`{gross},`{back},`0.00,`{fees},`{gross},`{back}\r\n")).map_err(writing())?;
    to.finish().and_then(|mut file| file.flush()).map_err(writing())?;
    Ok(bytes)
}

fn row(serial: u32, rows: u32) -> String {
    let kind = Row::of(serial);
    let order = if kind == Row::Refund { serial.saturating_sub(1) } else { serial };
    let (number, id) = numbers(order);
    let time = paid_at(serial, rows).rfc3339();
    let time = time.get(..19).unwrap_or_default().replace('T', " ");
    let (state, fee, back, handling, refund) = match kind {
        Row::Refund => {
            let refund = format!("`5030{id},`R{number},`5.00,`0.00,`ORIGINAL,`SUCCESS");
            ("REFUND", "0.00", "5.00", "-0.03000", refund)
        }
        _ => ("SUCCESS", "19.99", "0.00", "0.12000", "`0,`0,`0.00,`0.00,`,`".to_owned()),
    };
    format!(
        "`{time},`{APP_ID},`{MCH_ID},`0,`,`{id},`{number},`oUpF8uMEb4qRXf22hE3X68TekukE,`JSAPI,`{state},`OTHERS,`CNY,\
         `{fee},`0.00,{refund},`Tea, green (2x),`order=77,src=web,`{handling},`0.60%,`{fee},`{back},`\r\n"
    )
}

/// The shop's number of an order, and WeChat's.
pub fn numbers(serial: u32) -> (String, String) {
    let serial = usize::try_from(serial).unwrap_or(usize::MAX);
    (out_trade_no(serial), transaction_id(serial))
}

fn yuan(fen: u64) -> String {
    format!("{}.{:02}", fen / 100, fen % 100)
}

/// Reads a bill as values and adds it up: what any comparison has to do at least.
pub fn parse(path: &Path) -> Result<(), Error> {
    let failed = |error: wechat_pay::bill::BillError| Error::Failed(format!("reading the bill: {error}"));
    let file = File::open(path).map_err(while_doing("opening the bill"))?;
    let Opened::Bill(mut bill) = open(file).map_err(failed)? else {
        return Err(Error::Failed("the bill is none".to_owned()));
    };
    let mut tally = Tally::default();
    while let Some(entry) = bill.next_entry().map_err(failed)? {
        tally.add(&entry);
    }
    match bill.summary().map(|summary| tally.differences(summary)) {
        Some(differences) if differences.is_empty() => Ok(()),
        other => Err(Error::Failed(format!("the bill's totals do not fit: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bill_says_what_it_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bill.gz");
        write(&path, 2_000).unwrap();
        parse(&path).unwrap();
        assert_eq!(counts(2_000), (1_960, 40, 2));
        assert_eq!((Row::of(0), Row::of(48), Row::of(49)), (Row::Unknown, Row::Payment, Row::Refund));
        assert!(Row::is_refunded(48) && !Row::is_refunded(49));
    }
}
