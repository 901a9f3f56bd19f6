//! A report as a person reads it, and as JSON and CSV for programs. Judges nothing.

use doctor::Language;
use paybell_core::Timestamp;
use serde_json::{Value, json};

use super::{
    compare::{Delays, Finding, Frame, Kind, Report},
    words,
};
use crate::table::{self, printable};

/// Columns of the CSV, in every language.
const COLUMNS: [&str; 12] = [
    "kind",
    "mch_id",
    "out_trade_no",
    "transaction_id",
    "total_fee",
    "paid_at",
    "learned_at",
    "learned_by",
    "handler_at",
    "late_s",
    "times",
    "detail",
];

/// Findings that a person is shown of each kind, unless all are asked for.
pub const SHOWN_MAX: usize = 20;

/// Sentences and tables.
pub fn text(report: &Report, frame: Frame, language: Language, shown_max: usize) -> String {
    let mut text = head(report, frame, language);
    for kind in Kind::ALL {
        let findings: Vec<&Finding> = report.findings.iter().filter(|finding| finding.kind == kind).collect();
        if findings.is_empty() {
            continue;
        }
        text.push_str(&format!(
            "\n{} ({}): {}\n",
            words::kind(kind, language),
            findings.len(),
            words::meaning(kind, language)
        ));
        let lines: Vec<[String; 4]> =
            findings.iter().take(shown_max).map(|finding| line(finding, language)).collect();
        text.push_str(&aligned(&lines));
        if let Some(more) = findings.len().checked_sub(shown_max).filter(|more| *more > 0) {
            let all = language.pick("more: --all, --json or --csv", "条未显示：--all、--json 或 --csv");
            text.push_str(&format!("  … {more} {all}\n"));
        }
    }
    if report.findings.is_empty() && report.missed_at_least.unwrap_or(0) == 0 {
        text.push_str(language.pick("\nNo difference.\n", "\n没有差异。\n"));
    }
    text
}

fn head(report: &Report, frame: Frame, language: Language) -> String {
    let open = language.pick("open", "不限");
    let bound = |at: Option<Timestamp>| at.map_or(open.to_owned(), Timestamp::rfc3339);
    let (from, to) = (bound(frame.period.from), bound(frame.period.to));
    let delay = |delays: &Delays| {
        let at = |permille| delays.permille(permille).map_or("-".to_owned(), seconds);
        format!("p50 {}  p95 {}  max {}", at(500), at(950), at(1_000))
    };
    let (paybell, handler) = (delay(&report.paybell), delay(&report.handler));
    let amount = yuan(report.total_fee);
    let mut text = match language {
        Language::En => format!(
            "period      {from} – {to}\n\
             Paybell     {} payments, {amount} yuan; known after payment: {paybell}\n\
             old handler {} lines; seen after payment: {handler}\n",
            report.payments, report.rows
        ),
        Language::Zh => format!(
            "时间段      {from} – {to}\n\
             Paybell     {} 笔支付，{amount} 元；支付后得知用时：{paybell}\n\
             旧处理程序  {} 行；支付后见到用时：{handler}\n",
            report.payments, report.rows
        ),
    };
    if let Some(missed) = report.missed_at_least {
        text.push_str(&match language {
            Language::En => format!(
                "missed      at least {missed}: the log does not say which orders its hits were about, so hits were only \
                 counted; give --handler FILE.csv to know which\n"
            ),
            Language::Zh => format!(
                "漏单        至少 {missed} 笔：日志不含订单号，只能按数量和时间比较；用 --handler FILE.csv 可逐单比较\n"
            ),
        });
    }
    if report.not_asked > 0 {
        let count = report.not_asked;
        text.push_str(&match language {
            Language::En => format!(
                "not asked   about {count} of the orders below that no payment is known of: too many; they may be paid. \
                 Look at shorter times with --from and --to\n"
            ),
            Language::Zh => {
                format!("未查询      下列没有支付记录的订单中有 {count} 个因数量过多未查询，可能已支付；请用 --from 和 --to 缩短时间段\n")
            }
        });
    }
    text
}

fn line(finding: &Finding, language: Language) -> [String; 4] {
    let order = finding.out_trade_no.as_deref().map_or("-".to_owned(), printable);
    let paid = finding.payment.as_ref();
    let amount = paid.map_or(String::new(), |payment| yuan(payment.total_fee));
    let at = paid.map(|payment| payment.paid_at).or(finding.seen.first().map(|row| row.at));
    let at = at.or(finding.hit.as_ref().map(|hit| hit.at)).map_or(String::new(), Timestamp::rfc3339);
    [order, amount, at, detail(finding, language)]
}

fn detail(finding: &Finding, language: Language) -> String {
    let lines = || {
        let lines: Vec<String> = finding.seen.iter().take(5).map(|row| row.line.to_string()).collect();
        format!("{} {}", language.pick("line", "行"), lines.join(", "))
    };
    let known_by = |learned_by: &str| match (language, learned_by) {
        (Language::En, word) => format!("known to Paybell by {word}"),
        (Language::Zh, "notification") => "Paybell 由通知得知".to_owned(),
        (Language::Zh, "poll") => "Paybell 由轮询得知".to_owned(),
        (Language::Zh, word) => format!("Paybell 由 {word} 得知"),
    };
    match (finding.kind, &finding.payment) {
        (Kind::Missed, Some(payment)) => {
            let after = seconds(payment.learned_at.since(payment.paid_at).0);
            format!("{} (+{after})", known_by(&payment.learned_by))
        }
        (Kind::Late, Some(payment)) => {
            let late = finding.seen.first().map_or(0, |row| row.at.since(payment.paid_at).0);
            format!("+{}, {}", seconds(late), lines())
        }
        (Kind::Doubled, _) => format!("{}×, {}", finding.seen.len(), lines()),
        (Kind::AmountDiffers, _) => {
            let fees = finding.seen.iter().filter_map(|row| row.total_fee).map(yuan).collect::<Vec<_>>();
            format!("{}: {}, {}", language.pick("handler", "旧处理程序"), fees.join(", "), lines())
        }
        (Kind::TransactionDiffers, _) => {
            let ids = finding.seen.iter().filter_map(|row| row.transaction_id.as_deref());
            let ids: Vec<String> = ids.map(printable).collect();
            format!("{}: {}, {}", language.pick("handler", "旧处理程序"), ids.join(", "), lines())
        }
        (Kind::Mismatch, Some(payment)) => payment.mismatch.clone().unwrap_or_default(),
        (Kind::NotPaid, _) => {
            let state = finding.state.as_deref().unwrap_or(language.pick("not looked up", "未查询"));
            format!("{} {state}, {}", language.pick("order", "订单状态"), lines())
        }
        (Kind::Refused, _) => finding.hit.as_ref().map_or(String::new(), |hit| {
            format!("HTTP {}, {} {}", hit.status, language.pick("line", "行"), hit.line)
        }),
        (Kind::Missed | Kind::Late | Kind::Mismatch, None) => String::new(),
    }
}

/// Everything, by name.
pub fn document(report: &Report, frame: Frame) -> Value {
    let delays = |delays: &Delays| json!({ "p50_ms": delays.permille(500), "p95_ms": delays.permille(950), "max_ms": delays.permille(1_000) });
    let totals: serde_json::Map<String, Value> = Kind::ALL
        .into_iter()
        .map(|kind| {
            let total = json!({ "count": report.count(kind), "total_fee": report.fen(kind) });
            (kind.as_str().to_owned(), total)
        })
        .collect();
    json!({
        "from": frame.period.from.map(Timestamp::rfc3339),
        "to": frame.period.to.map(Timestamp::rfc3339),
        "payments": report.payments,
        "total_fee": report.total_fee,
        "handler_lines": report.rows,
        "missed_at_least": report.missed_at_least,
        "not_asked": report.not_asked,
        "paybell_delay": delays(&report.paybell),
        "handler_delay": delays(&report.handler),
        "totals": totals,
        "findings": report.findings.iter().map(|finding| {
            let cells = cells(finding);
            let pairs = COLUMNS.iter().zip(cells).map(|(name, cell)| ((*name).to_owned(), cell));
            Value::Object(pairs.collect())
        }).collect::<Vec<_>>(),
    })
}

/// One line per finding.
pub fn csv(report: &Report) -> String {
    let quoted = |cell: Value| match cell {
        Value::Null => String::new(),
        Value::String(text) => table::cell(&text),
        other => other.to_string(),
    };
    let mut text = COLUMNS.join(",");
    for finding in &report.findings {
        text.push('\n');
        text.push_str(&cells(finding).map(quoted).join(","));
    }
    text
}

fn cells(finding: &Finding) -> [Value; 12] {
    let payment = finding.payment.as_ref();
    let first = finding.seen.first();
    let seen_at = first.map(|row| row.at).or(finding.hit.as_ref().map(|hit| hit.at));
    let of_row = first.and_then(|row| row.mch_id.clone());
    let late = match (payment, first) {
        (Some(payment), Some(row)) => json!(row.at.since(payment.paid_at).0 / 1_000),
        _ => Value::Null,
    };
    [
        json!(finding.kind.as_str()),
        json!(payment.map(|payment| payment.mch_id.clone()).or(of_row)),
        json!(finding.out_trade_no),
        json!(payment.map(|payment| &payment.transaction_id)),
        json!(payment.map(|payment| payment.total_fee)),
        json!(payment.map(|payment| payment.paid_at.rfc3339())),
        json!(payment.map(|payment| payment.learned_at.rfc3339())),
        json!(payment.map(|payment| &payment.learned_by)),
        json!(seen_at.map(Timestamp::rfc3339)),
        late,
        json!(finding.seen.len()),
        json!(detail(finding, Language::En)),
    ]
}

fn seconds(ms: i64) -> String {
    match ms / 1_000 {
        seconds @ -59..60 => format!("{seconds} s"),
        seconds if seconds.abs() < 3_600 => format!("{} m {} s", seconds / 60, seconds.abs() % 60),
        seconds => format!("{} h {} m", seconds / 3_600, seconds.abs() % 3_600 / 60),
    }
}

fn yuan(fen: i64) -> String {
    format!("{}.{:02}", fen / 100, fen.abs() % 100)
}

/// Two spaces before and between; only the last cell may hold wide characters.
fn aligned(lines: &[[String; 4]]) -> String {
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let (order, amount, at) = (width(0), width(1), width(2));
    let line = |[one, two, three, four]: &[String; 4]| {
        format!("  {one:order$}  {two:>amount$}  {three:at$}  {four}").trim_end().to_owned() + "\n"
    };
    lines.iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Payment, Period, Seen, compare},
        *,
    };

    fn report() -> (Report, Frame) {
        let at = |seconds: i64| Timestamp::from_millis(1_795_147_200_000 + seconds * 1_000);
        let paid = |order: &str| Payment {
            mch_id: "1900000109".to_owned(),
            out_trade_no: order.to_owned(),
            transaction_id: "42".to_owned(),
            total_fee: 1_990,
            paid_at: at(0),
            learned_at: at(15),
            learned_by: "poll".to_owned(),
            mismatch: None,
        };
        let row = |order: &str, seconds, total_fee| Seen {
            line: 7,
            mch_id: None,
            out_trade_no: order.to_owned(),
            at: at(seconds),
            transaction_id: None,
            total_fee,
        };
        let frame = Frame { period: Period { from: Some(at(-10)), to: None }, late_ms: 60_000 };
        let rows = [row("late", 3_700, None), row("fee", 2, Some(1_989)), row("forged, \"x\"", 5, None)];
        (compare::orders(&[paid("missed"), paid("late"), paid("fee")], &rows, frame), frame)
    }

    #[test]
    fn a_person_reads_it_in_two_languages() {
        let (report, frame) = report();
        insta::assert_snapshot!("report_english", text(&report, frame, Language::En, SHOWN_MAX));
        insta::assert_snapshot!("report_chinese", text(&report, frame, Language::Zh, SHOWN_MAX));
        let short = text(&report, frame, Language::En, 0);
        assert!(short.contains("… 1 more") && !short.contains("not asked"), "{short}");
        let many = Report { not_asked: 7, ..report };
        for (language, said) in
            [(Language::En, "not asked   about 7 "), (Language::Zh, "有 7 个因数量过多未查询")]
        {
            let text = text(&many, frame, language, SHOWN_MAX);
            assert!(text.contains(said), "{text}");
        }
    }

    #[test]
    fn what_a_file_says_reaches_no_terminal_as_a_command() {
        assert_eq!(printable("T1\u{1b}[2J\u{202e}商户"), "T1?[2J?商户");
    }

    #[test]
    fn a_program_reads_the_same() {
        let (report, frame) = report();
        let document = document(&report, frame);
        assert_eq!(document["totals"]["missed"], json!({ "count": 1, "total_fee": 1_990 }));
        assert_eq!(document["findings"].as_array().unwrap().len(), 4);
        let csv = csv(&report);
        assert!(csv.contains("\nmissed,1900000109,missed,42,1990,2026-11-20T12:00:00+08:00,"), "{csv}");
        assert!(csv.contains("\nnot_paid,,\"forged, \"\"x\"\"\",,"), "{csv}");
    }

    #[test]
    fn a_forged_order_number_is_no_formula_in_a_spreadsheet() {
        let (mut report, _) = report();
        report.findings[0].out_trade_no = Some("=HYPERLINK(\"http://x\",1)".to_owned());
        let csv = csv(&report);
        assert!(csv.contains(",\"'=HYPERLINK(\"\"http://x\"\",1)\","), "{csv}");
    }
}
