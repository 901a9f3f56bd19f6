//! How many rows of a bill one core reads in a second: `cargo run --release -p wechat-pay --example bill_speed`.
//!
//! Makes a bill of a million rows in memory, plain and packed, and reads it as values with its totals compared.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a measurement reads the clock")]

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use flate2::{Compression, write::GzEncoder};
use wechat_pay::bill::{Opened, Tally, open};

const ROWS: u32 = 1_000_000;
const HEADER: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r\n";

fn main() {
    let mut text = HEADER.to_owned();
    for row in 0..ROWS {
        write!(text, "`2026-11-18 08:{:02}:{:02},`wxec964d3d4496eba5,`1998414015,`0,`,`42000428302026111897{row:08},`T20261118{row:08},`oOkP0bc8GBnpGrl8NAbT1FUlQZoA,`JSAPI,`SUCCESS,`OTHERS,`CNY,`19.99,`0.00,`0,`0,`0.00,`0.00,`,`,`Tea, green (2x),`order=77,src=web,`0.12000,`0.60%,`19.99,`0.00,`\r\n", row / 60 % 60, row % 60).unwrap();
    }
    let total = u64::from(ROWS) * 1999;
    let yuan = format!("{}.{:02}", total / 100, total % 100);
    let fee = u64::from(ROWS) * 12;
    write!(text, "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n`{ROWS},`{yuan},`0.00,`0.00,`{}.{:02}000,`{yuan},`0.00\r\n", fee / 100, fee % 100).unwrap();
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    packed.write_all(text.as_bytes()).unwrap();
    let packed = packed.finish().unwrap();
    for (name, bytes) in [("plain", text.as_bytes()), ("gzip", packed.as_slice())] {
        let start = Instant::now();
        let Opened::Bill(mut bill) = open(bytes).unwrap() else { return };
        let mut tally = Tally::default();
        while let Some(entry) = bill.next_entry().unwrap() {
            tally.add(&entry);
        }
        assert!(tally.differences(bill.summary().unwrap()).is_empty());
        let took = start.elapsed();
        println!(
            "{name}: {ROWS} rows, {} bytes, {:.0} rows/s",
            bytes.len(),
            f64::from(ROWS) / took.as_secs_f64()
        );
    }
}
