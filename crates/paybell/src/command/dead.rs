//! `paybell dead`: the letters that wait for a person, over the private API.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Value, json};

use super::{
    order::{PageArgs, Print},
    rows::{card, continuation, entries, row},
};
use crate::{
    api::{Api, ApiArgs, escaped},
    error::Error,
    output,
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the dead letters
    List(List),
    /// Show one
    Show(Show),
    /// Have its order looked at again, and forget the letter
    Replay(Dispose),
    /// Forget it
    Drop(Dispose),
}

#[derive(Debug, Args)]
pub struct List {
    #[command(flatten)]
    page: PageArgs,
    #[command(flatten)]
    print: Print,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct Show {
    /// The letter's id, from the list
    id: String,
    #[command(flatten)]
    print: Print,
    #[command(flatten)]
    api: ApiArgs,
}

#[derive(Debug, Args)]
pub struct Dispose {
    /// The letter's id, from the list
    id: String,
    /// Why, for the trail
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    #[command(flatten)]
    api: ApiArgs,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Replay(args) => {
            dispose(&args, Method::POST, "/replay").await?;
            output::line("replayed: its order is looked at next")
        }
        Command::Drop(args) => {
            dispose(&args, Method::DELETE, "").await?;
            output::line("dropped")
        }
    }
}

async fn list(args: List) -> Result<(), Error> {
    let limit = args.page.limit.map(|limit| limit.to_string());
    let query = [("limit", limit.as_deref()), ("after", args.page.after.as_deref())];
    let page = Api::new(&args.api)?.get("/v1/dead", &query).await?;
    if args.print.json {
        return output::json(&page);
    }
    let paths = ["id", "reason", "mch_id", "out_trade_no", "count", "last_at", "detail"];
    let headers = ["id", "reason", "mch_id", "out_trade_no", "count", "last", "detail"];
    let rows: Vec<_> = entries(&page, "dead_letters").iter().map(|letter| row(letter, &paths)).collect();
    output::table(&headers, &rows)?;
    if let Some(more) = continuation(&page) {
        output::remark(&more);
    }
    Ok(())
}

async fn show(args: Show) -> Result<(), Error> {
    let letter = Api::new(&args.api)?.get(&path(&args.id, ""), &[]).await?;
    if args.print.json {
        return output::json(&letter);
    }
    output::line(&card(
        &letter,
        &[
            ("id", "id"),
            ("reason", "reason"),
            ("merchant", "mch_id"),
            ("order", "out_trade_no"),
            ("count", "count"),
            ("first at", "first_at"),
            ("last at", "last_at"),
            ("detail", "detail"),
        ],
    ))
}

async fn dispose(args: &Dispose, method: Method, verb: &str) -> Result<(), Error> {
    let body = args.reason.as_ref().map_or_else(|| json!({}), |reason| json!({ "reason": reason }));
    let api = Api::new(&args.api)?;
    let (_, _): (_, Value) = api.change(method, &path(&args.id, verb), &body).await?;
    Ok(())
}

fn path(id: &str, verb: &str) -> String {
    format!("/v1/dead/{}{verb}", escaped(id))
}
