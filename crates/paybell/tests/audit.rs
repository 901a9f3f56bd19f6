//! `paybell audit`: two files, no configuration, no service.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fall, and drives real processes"
)]

mod support;

use std::io::Write;

use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use support::{Folder, run, run_with};

const HEADER: &str = "\u{feff}交易时间,公众账号ID,商户号,特约商户号,设备号,微信订单号,商户订单号,用户标识,交易类型,交易状态,付款银行,货币种类,应结订单金额,代金券金额,微信退款单号,商户退款单号,退款金额,充值券退款金额,退款类型,退款状态,商品名称,商户数据包,手续费,费率,订单金额,申请退款金额,费率备注\r\n";
const TOTALS: &str =
    "总交易单数,应结订单总金额,退款总金额,充值券退款总金额,手续费总金额,订单总金额,申请退款总金额\r\n";

/// Four payments of 19.99 on 2026-11-18 (T1 to T4), and a refund of 5.00 for T1.
fn bill() -> String {
    let row = |number: u32, state: &str, fee: &str, refund: [&str; 4], handling: &str| {
        let [refund_id, refund_no, refund_fee, status] = refund;
        format!(
            "`2026-11-18 08:35:4{number},`wx8888888888888888,`1900000109,`0,`,`420000123420261118000000000{number},`T{number},`oAAA,`JSAPI,`{state},`OTHERS,`CNY,`{fee},`0.00,`{refund_id},`{refund_no},`{refund_fee},`0.00,`ORIGINAL,`{status},`Tea, green,`order=77,`{handling},`0.60%,`{fee},`{refund_fee},`\r\n"
        )
    };
    let mut text = HEADER.to_owned();
    for number in 1..=4 {
        text += &row(number, "SUCCESS", "19.99", ["0", "0", "0.00", ""], "0.12000");
    }
    text += &row(1, "REFUND", "0.00", ["50000000000001", "R1", "5.00", "SUCCESS"], "-0.03000");
    text + TOTALS + "`5,`79.96,`5.00,`0.00,`0.45000,`79.96,`5.00\r\n"
}

fn packed(folder: &Folder) -> String {
    let path = folder.path("bill.csv.gz");
    let mut gzip = GzEncoder::new(std::fs::File::create(&path).unwrap(), Compression::default());
    gzip.write_all(bill().as_bytes()).unwrap();
    gzip.finish().unwrap();
    path.display().to_string()
}

const AGREEING: &str = "商户订单号,金额(元),支付时间,状态\n\
    T1,19.99,2026-11-18 08:35:41,部分退款\nT2,19.99,2026-11-18 08:35:42,已支付\n\
    T3,19.99,2026-11-18 08:35:43,已发货\nT4,19.99,2026-11-18 08:35:44,已完成\n\
    T5,7.00,,待支付\nT6,3.00,2026-11-17 10:00:00,已支付\n";

#[test]
fn a_list_that_agrees_is_0_and_says_the_sums() {
    let folder = Folder::new();
    let (bill, orders) = (packed(&folder), folder.put("shop.csv", AGREEING));
    let ran = run(&["audit", "--bill", &bill, "--orders", &orders, "--lang", "en"]);
    ran.expect(
        0,
        &["2026-11-18: 5 rows", "4 payments 79.96, 1 refunds 5.00, fees 0.45, net 74.51", "5 rows agree"],
    );
    ran.expect(0, &["0 differences"]);
    let chinese = run(&["audit", "--bill", &bill, "--orders", &orders, "--lang", "zh"]);
    chinese.expect(0, &["商户 1900000109 的账单", "5 行一致", "0 处差异"]);
}

/// T1 is unpaid here, T2 has another amount, T3 is missing, T7 is only here, and its number is a formula.
const DIFFERING: &str = "out_trade_no,total_fee,paid_at,status,transaction_id\n\
    T1,1999,,unpaid,\nT2,1990,2026-11-18 08:35:42,paid,4200001234202611180000000002\n\
    T4,1999,2026-11-18 08:35:44,paid,4200001234202611180000000004\n\
    =T7,500,2026-11-18 12:00:00,paid,\n";

#[test]
fn every_difference_is_1_and_named_for_people_and_programs() {
    let folder = Folder::new();
    let (bill, orders) = (packed(&folder), folder.put("shop.csv", DIFFERING));
    let asked = ["audit", "--bill", &bill, "--orders", &orders];
    let text = run_with(&asked, &[("LC_ALL", "en_US.UTF-8")], "");
    text.expect(1, &["payment_unknown_here", "payment_behind_here", "payment_only_here"]);
    text.expect(1, &["amount differs (amount): 1", "refund_unknown_here", "5 differences between"]);
    let ran = run(&[&asked[..], &["--json"]].concat());
    let document = ran.expect(1, &[]).json();
    assert_eq!(
        document["counts"],
        json!({
            "payment_unknown_here": 1, "payment_behind_here": 1, "payment_only_here": 1, "amount": 1,
            "refund_unknown_here": 1
        })
    );
    assert_eq!((&document["rows"], &document["agreed"]), (&json!(5), &json!(1)));
    let sums = &document["sums"][0];
    assert_eq!(
        (&sums["gross"], &sums["refunds"], &sums["fees"], &sums["net"]),
        (&json!(7996), &json!(500), &json!(45), &json!(7451))
    );
    let of = |kind: &str| {
        let all = document["differences"].as_array().unwrap();
        all.iter().find(|one| one["kind"] == kind).unwrap_or_else(|| panic!("{kind} in {document:#}"))
    };
    assert_eq!((&of("amount")["bill"]["fee"], &of("amount")["here"]["fee"]), (&json!(1999), &json!(1990)));
    assert_eq!(of("payment_unknown_here")["out_trade_no"], "T3");
    assert_eq!(of("refund_unknown_here")["refund"]["out_refund_no"], "R1");
    let csv = run(&[&asked[..], &["--csv"]].concat());
    let lines: Vec<&str> = csv.expect(1, &["payment_only_here,'=T7,"]).stdout.lines().collect();
    assert_eq!(lines.len(), 6, "{lines:#?}");
    assert!(lines[0].starts_with("kind,out_trade_no,sub_mch_id,appid,at,"), "{lines:#?}");
}

#[test]
fn what_cannot_be_compared_is_2_and_says_which_file() {
    let folder = Folder::new();
    let (bill, orders) = (packed(&folder), folder.put("shop.csv", AGREEING));
    let whole = std::fs::read(&bill).unwrap();
    let cut = folder.path("cut.gz");
    std::fs::write(&cut, &whole[..whole.len() - 9]).unwrap();
    let cut = cut.display().to_string();
    run(&["audit", "--bill", &cut, "--orders", &orders]).expect(2, &["cut.gz: the bill cannot be read"]);
    let answer = folder.put(
        "answer.xml",
        "<xml><return_code>FAIL</return_code><return_msg>No Bill Exist</return_msg></xml>",
    );
    run(&["audit", "--bill", &answer, "--orders", &orders])
        .expect(2, &["answer instead of a bill", "No Bill Exist"]);
    let strange = folder.put("strange.csv", "order_no,status\nT1,7\n");
    run(&["audit", "--bill", &bill, "--orders", &strange])
        .expect(2, &["strange.csv: line 2", "--paid-state"]);
    run(&["audit", "--bill", &bill, "--orders", &strange, "--paid-state", "7"])
        .expect(1, &["payment_unknown_here"]);
    run(&["audit", "--bill", &bill, "--orders", "/nowhere.csv"]).expect(2, &["/nowhere.csv"]);
    run(&["audit", "--bill", &bill, "--orders", &orders, "--date", "18.11.2026"]).expect(2, &["2026-11-18"]);
    run(&["audit", "--bill", &bill, "--orders", &orders, "--date", "2026-11-17"])
        .expect(2, &["no row of the bill is of 2026-11-17"]);
    run(&["audit", "--bill", &bill, "--orders", &orders, "--mch-id", "1900000110"])
        .expect(2, &["1900000109"]);
}
