//! A comparison as a person reads it, in two languages, and as JSON and CSV for programs. Judges nothing.

use std::fmt::Write;

use doctor::Language;
use paybell_core::{Fen, Timestamp};
use reconcile::{Difference, EDGE, Kind, Reconciliation, Side};
use serde_json::{Value, json};

use crate::{
    output::counted,
    table::{cell, printable},
};

/// Differences that a person is shown of each kind, unless all are asked for.
pub const SHOWN_MAX: usize = 20;

/// Columns of the CSV, in every language.
const COLUMNS: [&str; 15] = [
    "kind",
    "out_trade_no",
    "sub_mch_id",
    "appid",
    "at",
    "refund_id",
    "out_refund_no",
    "bill_transaction_id",
    "bill_fee",
    "bill_fee_type",
    "bill_state",
    "here_transaction_id",
    "here_fee",
    "here_fee_type",
    "here_state",
];

/// Sentences and tables.
pub fn text(result: &Reconciliation, language: Language, shown_max: usize) -> String {
    let mut text = head(result, language);
    for kind in Kind::ALL {
        let found: Vec<&Difference> = result.differences.iter().filter(|one| one.kind == kind).collect();
        let count = result.counts.get(&kind).copied().unwrap_or(0);
        if count == 0 {
            continue;
        }
        let [name, name_zh] = kind.names();
        let words = kind.explanation();
        text += &format!("\n{} ({}): {count}\n", language.pick(name, name_zh), kind.as_str());
        text += &format!("  {}\n", language.pick(words.cause, words.cause_zh));
        text += &format!("  → {}\n", language.pick(words.remedy, words.remedy_zh));
        if kind == Kind::Totals {
            text += &totals(result, language);
        }
        let shown: Vec<[String; 5]> = found.iter().take(shown_max).map(|one| line(one, language)).collect();
        text += &aligned(&shown);
        let rest = found.len().saturating_sub(shown_max);
        if rest > 0 {
            let more = language.pick("more: --all shows them", "条未显示：--all 显示全部");
            text += &format!("  … {rest} {more}\n");
        }
    }
    text
}

fn head(result: &Reconciliation, language: Language) -> String {
    let days = match result.first_date == result.last_date {
        true => result.first_date.clone(),
        false => format!("{} – {}", result.first_date, result.last_date),
    };
    let mut text = match language {
        Language::En => format!("bill of merchant {}, {days}: {} rows\n", result.mch_id, result.rows),
        Language::Zh => format!("商户 {} 的账单，{days}：{} 行\n", result.mch_id, result.rows),
    };
    for sums in &result.sums {
        let [gross, refunds, fees, net] = [sums.gross, sums.refunds, sums.fees, sums.net].map(yuan);
        let fee_type = &sums.fee_type;
        let _ = match language {
            Language::En => writeln!(
                text,
                "  {fee_type}  {} payments {gross}, {} refunds {refunds}, fees {fees}, net {net}",
                sums.payments, sums.refunds_made
            ),
            Language::Zh => writeln!(
                text,
                "  {fee_type}  支付 {} 笔 {gross}，退款 {} 笔 {refunds}，手续费 {fees}，净额 {net}",
                sums.payments, sums.refunds_made
            ),
        };
    }
    let mut say =
        |english: String, chinese: String| text += &format!("{}\n", language.pick(&english, &chinese));
    say(format!("{} rows agree", result.agreed), format!("{} 行一致", result.agreed));
    if result.not_compared > 0 {
        let count = result.not_compared;
        say(
            format!("{count} refunds are not compared: the list says nothing of refunds"),
            format!("{count} 笔退款未核对：订单表没有退款信息"),
        );
    }
    let near = near_midnight(result);
    if near > 0 {
        let minutes = EDGE.0 / 60_000;
        say(
            format!(
                "{near} orders paid within {minutes} minutes of midnight may be in a neighbouring day's bill"
            ),
            format!("{near} 个订单在零点前后 {minutes} 分钟内支付，可能在相邻日期的账单中"),
        );
    }
    let differing = result.differing();
    say(counted(differing, "difference"), format!("{differing} 处差异"));
    text
}

fn near_midnight(result: &Reconciliation) -> u64 {
    result.unjudged.saturating_add(u64::try_from(result.carry.open.len()).unwrap_or(u64::MAX))
}

fn totals(result: &Reconciliation, language: Language) -> String {
    let one = |off: &reconcile::TotalOff| {
        let stated = off.stated.map_or("-".to_owned(), |stated| stated.to_string());
        let (bill, rows) = (language.pick("bill", "账单"), language.pick("rows", "明细"));
        format!("  {}  {bill} {stated}, {rows} {}\n", printable(&off.name), off.counted)
    };
    result.totals_off.iter().map(one).collect()
}

/// Order, amount, time, WeChat's number, and what the sides say.
fn line(one: &Difference, language: Language) -> [String; 5] {
    let side = one.bill.as_ref().or(one.here.as_ref());
    let id = side.and_then(|side| side.transaction_id.as_deref()).unwrap_or("-");
    [
        printable(&one.out_trade_no),
        side.and_then(|side| side.fee).map_or("-".to_owned(), |fee| yuan(fee.get())),
        one.at.map_or("-".to_owned(), Timestamp::rfc3339),
        printable(id),
        detail(one, language),
    ]
}

fn detail(one: &Difference, language: Language) -> String {
    let here = |side: &Side| {
        let fee = side.fee.map(|fee| yuan(fee.get()));
        let parts = [fee, side.state.clone(), side.transaction_id.as_deref().map(printable)];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" ")
    };
    let mut words = Vec::new();
    if let Some(refund) = &one.refund {
        words.push(format!("{} {}", language.pick("refund", "退款"), printable(&refund.out_refund_no)));
    }
    if let (Some(side), Some(_)) = (&one.here, &one.bill) {
        words.push(format!("{} {}", language.pick("here:", "本地："), here(side)));
    }
    words.join(", ")
}

/// Everything, by name.
pub fn document(result: &Reconciliation) -> Value {
    let differences: Vec<Value> = result.differences.iter().map(|one| json!(one)).collect();
    json!({
        "mch_id": result.mch_id,
        "first_date": result.first_date,
        "last_date": result.last_date,
        "rows": result.rows,
        "agreed": result.agreed,
        "not_compared": result.not_compared,
        "near_midnight": near_midnight(result),
        "sums": result.sums,
        "by_sub_merchant": result.by_sub_merchant,
        "counts": result.counts,
        "totals_off": result.totals_off,
        "differences": differences,
    })
}

/// One line per difference.
pub fn csv(result: &Reconciliation) -> String {
    let mut text = COLUMNS.join(",");
    for one in &result.differences {
        text.push('\n');
        let cells = cells(one).map(|text| cell(&text));
        text.push_str(&cells.join(","));
    }
    for off in &result.totals_off {
        let name = cell(&off.name);
        let _ = write!(text, "\n{},{name}{}", Kind::Totals.as_str(), ",".repeat(COLUMNS.len() - 2));
    }
    text
}

fn cells(one: &Difference) -> [String; 15] {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let refund = one.refund.as_ref();
    let side = |side: Option<&Side>| -> [String; 4] {
        let Some(side) = side else { return Default::default() };
        [
            text(&side.transaction_id),
            side.fee.map_or(String::new(), |fee: Fen| fee.to_string()),
            side.fee_type.as_ref().map_or(String::new(), ToString::to_string),
            text(&side.state),
        ]
    };
    let [bill_id, bill_fee, bill_type, bill_state] = side(one.bill.as_ref());
    let [here_id, here_fee, here_type, here_state] = side(one.here.as_ref());
    [
        one.kind.as_str().to_owned(),
        one.out_trade_no.clone(),
        text(&one.sub_mch_id),
        text(&one.appid),
        one.at.map_or(String::new(), Timestamp::rfc3339),
        refund.and_then(|refund| refund.refund_id.clone()).unwrap_or_default(),
        refund.map_or(String::new(), |refund| refund.out_refund_no.clone()),
        bill_id,
        bill_fee,
        bill_type,
        bill_state,
        here_id,
        here_fee,
        here_type,
        here_state,
    ]
}

fn yuan(fen: i64) -> String {
    let sign = if fen < 0 { "-" } else { "" };
    let fen = fen.unsigned_abs();
    format!("{sign}{}.{:02}", fen / 100, fen % 100)
}

/// Two spaces before and between; only the last cell may hold wide characters.
fn aligned(lines: &[[String; 5]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (order, amount, at, id) = (width(0), width(1), width(2), width(3));
    let line = |[one, two, three, four, five]: &[String; 5]| {
        format!("  {one:order$}  {two:>amount$}  {three:at$}  {four:id$}  {five}").trim_end().to_owned()
            + "\n"
    };
    lines.iter().map(line).collect()
}
