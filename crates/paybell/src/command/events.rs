//! `paybell events`: list what was emitted, or follow it. Following survives a restart of the service: it connects
//! again and continues after the last event it printed.

use std::time::Duration;

use clap::{Args, Subcommand};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::{
    asking::{AskArgs, PageArgs, table},
    republish::{Republish, republish},
    rows::{cell, entries},
};
use crate::{
    api::{
        Api, ApiArgs, StreamError,
        sse::{Parser, ServerSent},
    },
    error::Error,
    output,
};

/// Without a comment for so long the connection is dead: the service sends one every 15 s.
const SILENCE_MAX: Duration = Duration::from_secs(45);
const PAUSE_FIRST: Duration = Duration::from_millis(500);
const PAUSE_LONGEST: Duration = Duration::from_secs(15);

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print events as they are emitted, until interrupted
    Tail(Tail),
    /// List events, oldest first
    List(List),
    /// Emit again what the ledger knows to be emitted, under the same ids (engine "cluster")
    Republish(Republish),
}

#[derive(Debug, Args)]
pub struct Tail {
    /// Begin after this place [default: now]
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    #[command(flatten)]
    filter: Filter,
    /// Print each event as one line of JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    filter: Filter,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct Filter {
    /// Only this type, such as order.paid
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events of this merchant
    #[arg(long, value_name = "MCH_ID")]
    mch_id: Option<String>,
    /// Show also what was decided in shadow mode and told to nobody
    #[arg(long)]
    shadow: bool,
}

impl Filter {
    fn of_shadow(&self) -> Option<&'static str> {
        self.shadow.then_some("include")
    }

    /// What a line shows, and under which headers.
    fn columns(&self) -> (&'static [&'static str], &'static [&'static str]) {
        if self.shadow { (&PATHS_WITH_SHADOW, &HEADERS_WITH_SHADOW) } else { (&PATHS, &HEADERS) }
    }
}

/// The payment's amount; of a refund, its own is shown in this place.
const AMOUNT: &str = "data.total_fee";

/// What a line of the listing shows.
const PATHS: [&str; 7] = ["time", "type", "data.mch_id", "subject", AMOUNT, "data.transaction_id", "id"];
const HEADERS: [&str; 7] = ["time", "type", "mch_id", "out_trade_no", "amount", "transaction_id", "id"];
/// The same where events are shown that were told to nobody: those have `true` at the end.
const PATHS_WITH_SHADOW: [&str; 8] =
    ["time", "type", "data.mch_id", "subject", AMOUNT, "data.transaction_id", "id", "data.shadow"];
const HEADERS_WITH_SHADOW: [&str; 8] =
    ["time", "type", "mch_id", "out_trade_no", "amount", "transaction_id", "id", "shadow"];

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Tail(args) => tail(args).await,
        Command::List(args) => list(args).await,
        Command::Republish(args) => republish(args).await,
    }
}

async fn list(args: List) -> Result<(), Error> {
    let limit = args.page.limit.map(|limit| limit.to_string());
    let query = [
        ("after", args.page.after.as_deref()),
        ("limit", limit.as_deref()),
        ("type", args.filter.kind.as_deref()),
        ("mch_id", args.filter.mch_id.as_deref()),
        ("shadow", args.filter.of_shadow()),
    ];
    let page = args.ask.get("/v1/events", &query).await?;
    if args.ask.json {
        return output::json(&page);
    }
    let (paths, headers) = args.filter.columns();
    let event = |entry: &Value| of_event(entry.get("event").unwrap_or(&Value::Null), paths);
    let rows: Vec<_> = entries(&page, "events").iter().map(event).collect();
    table(&page, headers, &rows)
}

async fn tail(args: Tail) -> Result<(), Error> {
    let api = Api::new(&args.api)?;
    let mut place = args.after.clone();
    let mut pause = PAUSE_FIRST;
    let mut has_connected = false;
    loop {
        let query = [
            ("after", place.as_deref()),
            ("type", args.filter.kind.as_deref()),
            ("mch_id", args.filter.mch_id.as_deref()),
            ("shadow", args.filter.of_shadow()),
        ];
        let why = match api.stream("/v1/events/stream", &query).await {
            Ok(body) => {
                if has_connected {
                    output::remark("connected again");
                }
                (has_connected, pause) = (true, PAUSE_FIRST);
                let mut parser = Parser::after(place.take());
                let why = follow(body, &mut parser, &args).await?;
                place = parser.last_id().map(str::to_owned);
                why
            }
            Err(StreamError::Unreachable(error)) if has_connected => error.to_string(),
            Err(StreamError::Unreachable(error) | StreamError::Refused(error)) => return Err(error),
        };
        let from = if place.is_some() { "after the last event" } else { "with what comes then" };
        output::remark(&format!("{why}; connecting again, and continuing {from}"));
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

/// Prints events until the stream ends, and says why it did.
async fn follow(mut body: hyper::body::Incoming, parser: &mut Parser, args: &Tail) -> Result<String, Error> {
    loop {
        let frame = match timeout(SILENCE_MAX, body.frame()).await {
            Err(_) => return Ok(format!("nothing came for {} s", SILENCE_MAX.as_secs())),
            Ok(None) => return Ok("the stream ended".to_owned()),
            Ok(Some(Err(error))) => return Ok(format!("the stream broke off: {error}")),
            Ok(Some(Ok(frame))) => frame,
        };
        let Some(piece) = frame.data_ref() else { continue };
        let Ok(events) = parser.feed(piece) else {
            return Err(Error::Failed("the stream is none of Paybell's: a line has no end".to_owned()));
        };
        for event in events {
            print(&event, args)?;
        }
    }
}

fn print(event: &ServerSent, args: &Tail) -> Result<(), Error> {
    if event.kind == "reset" {
        output::remark(
            "some events before this place are no longer kept; continuing with the oldest that is",
        );
        return Ok(());
    }
    if args.json {
        return output::line(&event.data);
    }
    let document: Value = serde_json::from_str(&event.data).unwrap_or_else(|_| json!({}));
    let (paths, _) = args.filter.columns();
    output::line(&of_event(&document, paths).join("  "))
}

/// The cells of an event. Where it is about a refund, the amount is the refund's, not that of the order.
fn of_event(event: &Value, paths: &[&str]) -> Vec<String> {
    let is_of_refund = event.pointer("/data/refund_fee").is_some_and(|fee| !fee.is_null());
    let shown = |path: &&str| match *path {
        AMOUNT if is_of_refund => cell(event, "data.refund_fee"),
        path => cell(event, path),
    };
    paths.iter().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_amount_of_a_refund_is_what_went_back() {
        let event =
            |data: Value| json!({ "time": "t", "type": "x", "subject": "T1", "id": "i", "data": data });
        let amount = |data: Value| of_event(&event(data), &PATHS)[4].clone();
        assert_eq!(amount(json!({ "total_fee": 1999, "refund_fee": 500 })), "500");
        assert_eq!(amount(json!({ "refund_fee": 500 })), "500", "an order that only its refund made known");
        assert_eq!(amount(json!({ "total_fee": 1999 })), "1999");
        assert_eq!(amount(json!({ "total_fee": 1999, "refund_fee": null })), "1999");
        assert_eq!(of_event(&event(json!({ "shadow": true })), &PATHS_WITH_SHADOW)[7], "true");
    }
}
