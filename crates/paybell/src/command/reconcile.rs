//! `paybell reconcile`: a day's bill against the ledger, now. Prints what came of it; who does it is
//! [`crate::reconcile`]'s business.

use std::path::PathBuf;

use clap::Args as ClapArgs;
use doctor::Language;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use paybell_core::{Day, MchId};
use reconcile::{OutOfScope, Reconciliation};
use serde_json::{Value, json};

use super::{config::ConfigFile, rows::cell};
use crate::{
    audit::show,
    cli::in_runtime,
    config::{Config, load, process_environment},
    error::Error,
    language::LanguageArgs,
    output::{self, counted},
    reconcile::{Order, reconcile},
};

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// The day of the bill in Beijing, such as 2026-11-18
    #[arg(long, value_name = "DATE", value_parser = |text: &str| Day::parse(text))]
    date: Day,
    /// Only this merchant [default: all of the configuration]
    #[arg(long, value_name = "MCH_ID", value_parser = |text: &str| MchId::new(text))]
    mch_id: Option<MchId>,
    /// This bill, plain or gzip, instead of asking WeChat
    #[arg(long, value_name = "BILL")]
    file: Option<PathBuf>,
    /// Print every difference, not only the first of each kind
    #[arg(long)]
    all: bool,
    /// Print one JSON document
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print one line per difference, comma-separated
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    lang: LanguageArgs,
    /// The private API of the process that runs on the embedded engine [default: where [console] listens]
    #[arg(long, value_name = "URL", env = "PAYBELL_API", hide_env_values = true)]
    api: Option<String>,
    #[command(flatten)]
    from: ConfigFile,
}

/// Reconciles, prints, and fails where there is no result or it has differences.
pub fn run(args: Args) -> Result<(), Error> {
    let config = load(args.from.config.as_deref(), process_environment()).checked()?;
    let mch_ids = meant(&args, &config)?;
    let order = Order { day: args.date, file: args.file.as_deref(), api: args.api.as_deref() };
    let bar = bar();
    let hears = |view: &Value| show_progress(&bar, view);
    let views = in_runtime(reconcile(&config, &mch_ids, &order, &hears));
    bar.finish_and_clear();
    print(&args, &views?)
}

/// A bill of one's own is one merchant's.
fn meant(args: &Args, config: &Config) -> Result<Vec<MchId>, Error> {
    let all: Vec<MchId> = config.merchants.iter().map(|merchant| merchant.mch_id.clone()).collect();
    match &args.mch_id {
        Some(mch_id) if all.contains(mch_id) => Ok(vec![mch_id.clone()]),
        Some(mch_id) => Err(Error::Usage(format!("--mch-id: {mch_id} is not in the configuration"))),
        None if args.file.is_some() && all.len() > 1 => {
            Err(Error::Usage("--file: say whose bill it is, with --mch-id".to_owned()))
        }
        None => Ok(all),
    }
}

fn print(args: &Args, views: &[Value]) -> Result<(), Error> {
    let results: Vec<Option<Reconciliation>> = views.iter().map(result).collect();
    if args.json {
        output::json(&json!({ "bills": views }))?;
    } else if args.csv {
        // One header for all.
        let lines = results.iter().flatten().map(show::csv).enumerate().map(|(number, text)| match number {
            0 => text,
            _ => text.split_once('\n').map(|(_, rest)| rest.to_owned()).unwrap_or_default(),
        });
        let lines: Vec<String> = lines.filter(|text| !text.is_empty()).collect();
        output::line(&lines.join("\n"))?;
    } else {
        let language = args.lang.language();
        let shown_max = if args.all { usize::MAX } else { show::SHOWN_MAX };
        let texts: Vec<String> = views
            .iter()
            .zip(&results)
            .map(|(view, result)| text(view, result.as_ref(), language, shown_max))
            .collect();
        output::line(texts.join("\n").trim_end())?;
    }
    verdict(views, &results)
}

fn verdict(views: &[Value], results: &[Option<Reconciliation>]) -> Result<(), Error> {
    let missing = views.iter().zip(results).find(|(_, result)| result.is_none());
    if let Some((view, _)) = missing {
        let (mch_id, date) = (cell(view, "mch_id"), cell(view, "date"));
        let (outcome, detail) = (cell(view, "last.outcome"), cell(view, "last.detail"));
        return Err(Error::Failed(format!(
            "the bill of {date} of {mch_id} is not reconciled ({outcome}): {detail}"
        )));
    }
    match results.iter().flatten().map(Reconciliation::differing).sum::<u64>() {
        0 => Ok(()),
        count => Err(Error::Failed(counted(count, "difference"))),
    }
}

/// Of this try: a result of an earlier one says nothing about what was asked for now.
fn result(view: &Value) -> Option<Reconciliation> {
    // Where the queue has no room, the result stands, and what it leads to waits.
    if !matches!(cell(view, "last.outcome").as_str(), "reconciled" | "no_room") {
        return None;
    }
    serde_json::from_value(view.get("result")?.clone()).ok()
}

fn text(view: &Value, result: Option<&Reconciliation>, language: Language, shown_max: usize) -> String {
    let Some(result) = result else { return String::new() };
    let mut text = show::text(result, language, shown_max);
    let mut say =
        |english: String, chinese: String| text.push_str(&format!("{}\n", language.pick(&english, &chinese)));
    if result.checks > 0 {
        let count = result.checks;
        say(
            format!("\nWeChat is asked about {count} payments; each that it confirms becomes an event"),
            format!("\n已就 {count} 笔支付向微信核实；确认后逐笔发出事件"),
        );
    }
    for (why, count) in &result.reported_only {
        let [english, chinese] = reason(*why);
        say(
            format!("{count} payments are reported only: {english}"),
            format!("{count} 笔支付仅报告，不处理：{chinese}"),
        );
    }
    if result.missed_by_walk > 0 {
        let count = result.missed_by_walk;
        say(
            format!(
                "{count} payments changed while the ledger was read: payments only here may be missing from this result; reconcile again"
            ),
            format!("读取期间有 {count} 笔支付发生变化：结果可能缺少“仅本地有的支付”，请重新对账"),
        );
    }
    let left_out = view.pointer("/result/differences_left_out").and_then(Value::as_u64).unwrap_or(0);
    if left_out > 0 {
        say(
            format!("{left_out} more differences are counted, not listed"),
            format!("另有 {left_out} 处差异只计数、未列出"),
        );
    }
    text
}

fn reason(why: OutOfScope) -> [&'static str; 2] {
    match why {
        OutOfScope::BeforeActiveSince => ["paid before active_since", "支付时间早于 active_since"],
        OutOfScope::TooOld => ["paid longer ago than retention.orders", "支付时间早于 retention.orders"],
        OutOfScope::OtherApp => ["paid in an app that app_ids does not name", "appid 不在 app_ids 中"],
        OutOfScope::OtherSubMerchant => {
            ["paid to a sub merchant that sub_mch_ids does not name", "子商户号不在 sub_mch_ids 中"]
        }
        OutOfScope::OtherNumber => {
            ["the order number does not fit out_trade_no_pattern", "商户订单号不符合 out_trade_no_pattern"]
        }
        OutOfScope::ToldBefore => ["told already, before the ledger was lost", "账本丢失之前已经通知过"],
        OutOfScope::ToldOtherwise => [
            "told as a mismatch or a second payment before the ledger was lost: look at each",
            "账本丢失之前已作为金额不符或重复支付通知：请逐笔处理",
        ],
        OutOfScope::BeforeLedger => [
            "paid before the ledger began, and nobody knows whether they were told: compare them with your own orders, then run paybell reconcile for the day",
            "支付时间早于账本，无法判断是否通知过：请先与自己的订单核对，再对该日运行 paybell reconcile",
        ],
    }
}

/// On standard error, and only where a person looks.
fn bar() -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{msg} {wide_bar} {human_pos}/{human_len} {per_sec}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn show_progress(bar: &ProgressBar, view: &Value) {
    let Some(progress) = view.get("progress").filter(|progress| !progress.is_null()) else { return };
    let number = |name: &str| progress.get(name).and_then(Value::as_u64);
    bar.set_message(format!("{} {} {}", cell(view, "mch_id"), cell(view, "date"), cell(progress, "stage")));
    match number("total") {
        Some(total) => bar.set_length(total),
        None => bar.unset_length(),
    }
    bar.set_position(number("done").unwrap_or(0));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(outcome: &str) -> Value {
        json!({
            "mch_id": "1900000109", "date": "2026-11-19", "last": {"outcome": outcome, "detail": "why"},
            "result": {
                "mch_id": "1900000109", "first_date": "2026-11-19", "last_date": "2026-11-19", "rows": 2,
                "sums": [], "agreed": 0, "not_compared": 0, "counts": {"payment_unknown_here": 2}, "checks": 1,
                "checks_fen": 1999, "reported_only": {"before_active_since": 1}, "differences": [{
                    "kind": "payment_unknown_here", "out_trade_no": "T1", "at": "2026-11-19T12:00:00+08:00",
                    "bill": {"fee": 1999, "fee_type": "CNY", "transaction_id": "42", "state": "SUCCESS"},
                    "here": null, "healing": "checked",
                }], "totals_off": [], "unjudged": 0, "missed_by_walk": 0, "differences_left_out": 1,
            },
        })
    }

    #[test]
    fn a_result_that_came_over_the_api_is_told_in_both_languages() {
        let view = view("reconciled");
        let result = result(&view).unwrap();
        for (language, words) in [
            (Language::En, ["T1", "asked about 1 payments", "before active_since", "1 more differences"]),
            (Language::Zh, ["T1", "已就 1 笔支付", "早于 active_since", "另有 1 处差异"]),
        ] {
            let text = text(&view, Some(&result), language, 20);
            for word in words {
                assert!(text.contains(word), "{word} in\n{text}");
            }
        }
        assert_eq!(verdict(&[view], &[Some(result)]).unwrap_err().to_string(), "2 differences");
    }

    #[test]
    fn a_result_whose_checks_wait_for_room_is_shown() {
        assert!(result(&view("no_room")).is_some());
    }

    #[test]
    fn an_earlier_result_is_no_answer_to_a_try_that_failed() {
        let view = view("no_bill");
        assert!(result(&view).is_none());
        let said = verdict(&[view], &[None]).unwrap_err().to_string();
        assert_eq!(said, "the bill of 2026-11-19 of 1900000109 is not reconciled (no_bill): why");
    }
}
