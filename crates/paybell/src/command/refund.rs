//! `paybell order refund` and `order refunds`: ask for a refund and look at those of an order, over the private API.
//! Takes no number of its own: a repeat must carry the one that was sent.

use clap::{Args, ValueEnum};
use hyper::StatusCode;
use serde_json::{Value, json};

use super::{
    asking::{AskArgs, given},
    order::Key,
    rows::{card, cell, entries, row},
};
use crate::{api::escaped, error::Error, output};

/// Waits for WeChat's word unless told otherwise.
const WAIT: &str = "10s";

#[derive(Debug, Args)]
pub struct Ask {
    #[command(flatten)]
    key: Key,
    /// Your own number of this refund (商户退款单号): the same on every repeat
    out_refund_no: String,
    /// What goes back, in fen
    #[arg(long, value_name = "FEN")]
    fee: u64,
    /// The order's whole amount in fen; needed only for an order that is not known here
    #[arg(long, value_name = "FEN")]
    total_fee: Option<u64>,
    /// Where the money comes from [default: WeChat's, unsettled]
    #[arg(long, value_name = "FUNDS")]
    account: Option<Funds>,
    /// Shown to the payer
    #[arg(long, value_name = "TEXT")]
    desc: Option<String>,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Wait for WeChat's word for at most this long
    #[arg(long, value_name = "TIME", default_value = WAIT)]
    wait: String,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Funds {
    /// Payments that are not settled yet (REFUND_SOURCE_UNSETTLED_FUNDS)
    Unsettled,
    /// The available balance (REFUND_SOURCE_RECHARGE_FUNDS)
    Recharge,
}

#[derive(Debug, Args)]
pub struct Show {
    #[command(flatten)]
    key: Key,
    /// Only this refund
    out_refund_no: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

impl Funds {
    fn word(self) -> &'static str {
        match self {
            Self::Unsettled => "REFUND_SOURCE_UNSETTLED_FUNDS",
            Self::Recharge => "REFUND_SOURCE_RECHARGE_FUNDS",
        }
    }
}

/// Has it sent.
pub async fn ask(args: Ask) -> Result<(), Error> {
    let account = args.account.map(|funds| funds.word().to_owned());
    let mut body = given(&[
        ("out_refund_no", &Some(args.out_refund_no)),
        ("refund_account", &account),
        ("refund_desc", &args.desc),
        ("reason", &args.reason),
    ]);
    body.insert("refund_fee".to_owned(), json!(args.fee));
    body.extend(args.total_fee.map(|fee| ("total_fee".to_owned(), json!(fee))));
    let query = [("wait", Some(args.wait.as_str()))];
    let api = args.ask.api()?;
    let (status, refund) = api.change_with(&args.key.path("/refunds"), &query, &Value::Object(body)).await?;
    if status == StatusCode::ACCEPTED {
        let wait = &args.wait;
        output::remark(&format!("WeChat's word is not known within {wait}: the request goes on by itself"));
    }
    print(&refund, &args.ask)
}

/// Shows them.
pub async fn show(args: Show) -> Result<(), Error> {
    if let Some(number) = &args.out_refund_no {
        let refund = args.ask.get(&args.key.path(&format!("/refunds/{}", escaped(number))), &[]).await?;
        return print(&refund, &args.ask);
    }
    let listing = args.ask.get(&args.key.path("/refunds"), &[]).await?;
    if args.ask.json {
        return output::json(&listing);
    }
    let paths =
        ["out_refund_no", "state", "refund_fee", "refusal.code", "known_at", "settled_at", "next_look_at"];
    let headers = ["out_refund_no", "state", "fen", "refused", "known", "settled", "next look"];
    let rows: Vec<_> = entries(&listing, "refunds").iter().map(|refund| row(refund, &paths)).collect();
    output::table(&headers, &rows)
}

fn print(refund: &Value, ask: &AskArgs) -> Result<(), Error> {
    if ask.json {
        return output::json(refund);
    }
    output::line(&card(
        refund,
        &[
            ("refund", "out_refund_no"),
            ("order", "out_trade_no"),
            ("merchant", "mch_id"),
            ("state", "state"),
            ("fen", "refund_fee"),
            ("WeChat's number", "wechat.refund_id"),
            ("sent to", "wechat.refund_recv_accout"),
            ("returned at", "wechat.refund_success_time"),
            ("asked by", "request.who"),
            ("asked at", "request.asked_at"),
            ("settled at", "settled_at"),
            ("next look at", "next_look_at"),
        ],
    ))?;
    if refund.get("refusal").is_some_and(Value::is_object) {
        let word = |name: &str| cell(refund, &format!("refusal.{name}"));
        let verb = match cell(refund, "state").as_str() {
            "asked" => {
                "in doubt (an earlier sending may have been taken; do not refund under another number)"
            }
            _ => "refused",
        };
        output::line(&format!("\n{verb}: {} ({})", word("code"), word("said")))?;
        for (name, language) in [("cause", "en"), ("remedy", "en"), ("cause", "zh"), ("remedy", "zh")] {
            output::line(&format!("  {}", word(&format!("{name}.{language}"))))?;
        }
    }
    Ok(())
}
