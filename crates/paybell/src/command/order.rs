//! `paybell order`: register, show, check, judge and list orders, over the private API. What an answer means is the
//! API's business; this prints it.

use clap::{Args, Subcommand};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};

use super::{
    asking::{AskArgs, PageArgs, given, table},
    placing, refund,
    rows::{card, cell, entries, row},
};
use crate::{api::escaped, error::Error, output};

/// Rows of a listing unless told otherwise, as in the private API.
const ROWS_BY_DEFAULT: usize = 100;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Say what an order must cost, so that a payment of another amount is not taken for it
    Register(Register),
    /// Show one order with its history
    Show(One),
    /// Have one order looked at now
    Check(Check),
    /// Have an order placed at WeChat, and print what the payer needs
    Place(Box<placing::Place>),
    /// Close an unpaid order at WeChat
    Close(placing::Close),
    /// Take a payment that disagrees with its order; the next check emits order.paid
    Accept(Judge),
    /// Refuse a payment that disagrees with its order
    Reject(Judge),
    /// List orders
    List(List),
    /// Ask WeChat to send money back; the same number again refunds nothing twice
    Refund(refund::Ask),
    /// Show the refunds of an order, or one of them
    Refunds(refund::Show),
}

#[derive(Debug, Args)]
pub struct Key {
    /// The merchant number (商户号)
    pub(super) mch_id: String,
    /// The merchant's own order number (商户订单号)
    pub(super) out_trade_no: String,
}

#[derive(Debug, Args)]
pub struct Register {
    #[command(flatten)]
    key: Key,
    /// The amount in fen
    #[arg(long, value_name = "FEN")]
    total_fee: u64,
    /// The currency [default: CNY]
    #[arg(long, value_name = "CODE")]
    fee_type: Option<String>,
    /// The appid that the order was placed with
    #[arg(long, value_name = "APPID")]
    appid: Option<String>,
    /// The sub merchant that the order was placed for
    #[arg(long, value_name = "MCH_ID")]
    sub_mch_id: Option<String>,
    /// When the order was placed, RFC 3339 with an offset [default: now]
    #[arg(long, value_name = "TIME")]
    created_at: Option<String>,
    /// When the order can no longer be paid, RFC 3339 with an offset
    #[arg(long, value_name = "TIME")]
    expires_at: Option<String>,
    /// Your own order, which several numbers may pay
    #[arg(long, value_name = "NUMBER")]
    business_no: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct One {
    #[command(flatten)]
    key: Key,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct Check {
    #[command(flatten)]
    key: Key,
    /// Wait until the order was looked at, for at most this long (such as 5s)
    #[arg(long, value_name = "TIME")]
    wait: Option<String>,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct Judge {
    #[command(flatten)]
    key: Key,
    /// Judge only this payment
    #[arg(long, value_name = "ID")]
    transaction_id: Option<String>,
    /// Why, for the history and the trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct List {
    /// Only orders in this state
    #[arg(long, value_name = "STATE")]
    state: Option<String>,
    /// Only orders of this merchant
    #[arg(long, value_name = "MCH_ID")]
    mch_id: Option<String>,
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    ask: AskArgs,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Register(args) => register(args).await,
        Command::Show(One { key, ask }) => {
            let record = ask.get(&key.path(""), &[]).await?;
            print_record(&record, &ask)
        }
        Command::Check(args) => check(args).await,
        Command::Place(args) => placing::place(*args).await,
        Command::Close(args) => placing::close(args).await,
        Command::Accept(args) => judge(args, "accept").await,
        Command::Reject(args) => judge(args, "reject").await,
        Command::List(args) => list(args).await,
        Command::Refund(args) => refund::ask(args).await,
        Command::Refunds(args) => refund::show(args).await,
    }
}

impl Key {
    pub(super) fn path(&self, verb: &str) -> String {
        format!("/v1/orders/{}/{}{verb}", escaped(&self.mch_id), escaped(&self.out_trade_no))
    }
}

async fn register(args: Register) -> Result<(), Error> {
    let mut body = given(&[
        ("fee_type", &args.fee_type),
        ("appid", &args.appid),
        ("sub_mch_id", &args.sub_mch_id),
        ("created_at", &args.created_at),
        ("expires_at", &args.expires_at),
        ("business_no", &args.business_no),
    ]);
    body.insert("total_fee".to_owned(), json!(args.total_fee));
    let api = args.ask.api()?;
    let (status, record) = api.change(Method::PUT, &args.key.path(""), &Value::Object(body)).await?;
    if args.ask.json {
        return output::json(&record);
    }
    let what = if status == StatusCode::CREATED { "registered" } else { "was registered so already" };
    output::line(&format!("{}/{} {what}: {} fen", args.key.mch_id, args.key.out_trade_no, args.total_fee))
}

async fn check(args: Check) -> Result<(), Error> {
    let api = args.ask.api()?;
    let query = [("wait", args.wait.as_deref())];
    // With a reason, even an empty one, it is a person who asks.
    let body = json!({ "reason": args.reason.unwrap_or_default() });
    let (status, record) = api.change_with(&args.key.path("/check"), &query, &body).await?;
    match (status, args.wait) {
        (StatusCode::ACCEPTED, None) if !args.ask.json => {
            output::line("asked for: the order is looked at next")
        }
        (StatusCode::ACCEPTED, Some(wait)) => {
            output::remark(&format!("not looked at within {wait}; this is what was known before"));
            print_record(&record, &args.ask)
        }
        _ => print_record(&record, &args.ask),
    }
}

async fn judge(args: Judge, verb: &str) -> Result<(), Error> {
    let body = given(&[("transaction_id", &args.transaction_id), ("reason", &args.reason)]);
    let api = args.ask.api()?;
    let path = args.key.path(&format!("/{verb}"));
    let (_, record) = api.change(Method::POST, &path, &Value::Object(body)).await?;
    print_record(&record, &args.ask)
}

async fn list(args: List) -> Result<(), Error> {
    let page = whole_page(&args).await?;
    if args.ask.json {
        return output::json(&page);
    }
    let paths = [
        "mch_id",
        "out_trade_no",
        "state",
        "registration.total_fee",
        "payment.total_fee",
        "due.at",
        "updated_at",
    ];
    let headers = ["mch_id", "out_trade_no", "state", "registered", "paid", "due", "updated"];
    let rows: Vec<_> = entries(&page, "orders").iter().map(|order| row(order, &paths)).collect();
    table(&page, &headers, &rows)?;
    match entries(&page, "unreadable").len() {
        0 => Ok(()),
        count => {
            let what = if count == 1 { "1 order is".to_owned() } else { format!("{count} orders are") };
            output::remark(&format!(
                "{what} left out: this version of the server cannot read them (--json names them)"
            ));
            Ok(())
        }
    }
}

/// As many rows as were asked for: a page of the cluster's ledger may be short while there is more.
async fn whole_page(args: &List) -> Result<Value, Error> {
    let api = args.ask.api()?;
    let wanted = args.page.limit.map_or(ROWS_BY_DEFAULT, usize::from);
    let (mut orders, mut unreadable, mut after) = (Vec::new(), Vec::new(), args.page.after.clone());
    loop {
        let limit = (wanted - orders.len()).to_string();
        let query = [
            ("state", args.state.as_deref()),
            ("mch_id", args.mch_id.as_deref()),
            ("limit", Some(limit.as_str())),
            ("after", after.as_deref()),
        ];
        let page = api.get("/v1/orders", &query).await?;
        orders.extend_from_slice(entries(&page, "orders"));
        unreadable.extend_from_slice(entries(&page, "unreadable"));
        let has_more = page.get("has_more").and_then(Value::as_bool).unwrap_or(false);
        if !has_more || orders.len() >= wanted {
            let next = page.get("next");
            return Ok(
                json!({ "orders": orders, "unreadable": unreadable, "next": next, "has_more": has_more }),
            );
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
    }
}

fn print_record(record: &Value, ask: &AskArgs) -> Result<(), Error> {
    if ask.json {
        return output::json(record);
    }
    output::line(&card(
        &with_ruling(record),
        &[
            ("order", "out_trade_no"),
            ("merchant", "mch_id"),
            ("state", "state"),
            ("registered fen", "registration.total_fee"),
            ("business order", "registration.business_no"),
            ("paid fen", "payment.total_fee"),
            ("transaction", "payment.transaction_id"),
            ("paid at", "payment.paid_at"),
            ("created at", "created_at"),
            ("expires at", "registration.expires_at"),
            ("placed here as", "placing.trade_type"),
            ("offered at", "placing.offered_at"),
            ("WeChat notifies", "placing.notify_url"),
            ("looked at", "looked_at"),
            ("due at", "due.at"),
            ("due because", "due.cause"),
            ("ruling", "ruling"),
            ("events to publish", "outgoing"),
            ("version", "version"),
        ],
    ))?;
    let history = entries(record, "history");
    if history.is_empty() {
        return Ok(());
    }
    output::line("\nhistory")?;
    for entry in history {
        output::line(&format!(
            "  {}  {:18}  {}",
            cell(entry, "at"),
            cell(entry, "what"),
            cell(entry, "detail")
        ))?;
    }
    Ok(())
}

/// With the last word of a person in plain words. The record keeps only what was accepted, and makes an order due for
/// either ruling in the same way; what was ruled stands in its history.
fn with_ruling(record: &Value) -> Value {
    let mut shown = record.clone();
    let of_person = |entry: &&Value| matches!(cell(entry, "what").as_str(), "accepted" | "rejected");
    let last = entries(record, "history").iter().rev().find(of_person);
    let ruling = match last {
        Some(entry) => Some(format!("{} {}", cell(entry, "what"), cell(entry, "detail"))),
        None if record.pointer("/verdict/who").is_some() => {
            Some(format!("accepted by {}", cell(record, "verdict.who")))
        }
        None if cell(record, "state") == "rejected" => Some("rejected".to_owned()),
        None => None,
    };
    let is_rejected = ruling.as_ref().is_some_and(|ruling| ruling.starts_with("rejected"));
    if is_rejected && let Some(cause) = shown.pointer_mut("/due/cause").filter(|cause| **cause == "accepted")
    {
        *cause = json!("rejected");
    }
    if let (Some(shown), Some(ruling)) = (shown.as_object_mut(), ruling) {
        shown.insert("ruling".to_owned(), Value::from(ruling));
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ruling_is_told_as_what_it_was() {
        let entry = |what: &str, detail: &str| json!({ "at": "t", "what": what, "detail": detail });
        let told = |record: &Value| row(&with_ruling(record), &["due.cause", "ruling"]);
        let rejected = json!({
            "state": "rejected", "verdict": null, "due": { "at": "t", "cause": "accepted" },
            "history": [entry("accepted", "by li: too early"), entry("rejected", "by wang: forged"), entry("looked", "-")],
        });
        assert_eq!(told(&rejected), ["rejected", "rejected by wang: forged"]);
        let mut taken_back = rejected.clone();
        taken_back["history"].as_array_mut().unwrap().push(entry("accepted", "by li: paid in cash"));
        taken_back["verdict"] = json!({ "who": "li" });
        assert_eq!(told(&taken_back), ["accepted", "accepted by li: paid in cash"]);
        // A long history has lost its beginning.
        let old = json!({ "state": "paid", "verdict": { "who": "li" }, "due": null, "history": [] });
        assert_eq!(told(&old), ["-", "accepted by li"]);
        let old =
            json!({ "state": "rejected", "verdict": null, "due": { "cause": "accepted" }, "history": [] });
        assert_eq!(told(&old), ["rejected", "rejected"]);
        let polled =
            json!({ "state": "pending", "verdict": null, "due": { "cause": "cadence" }, "history": [] });
        assert_eq!(told(&polled), ["cadence", "-"]);
    }
}
