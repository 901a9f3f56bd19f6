//! `paybell dead`: the letters that wait for a person, over the private API.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::Map;

use super::{
    asking::{AskArgs, ListingArgs, WhyArgs},
    rows::{card, entries, row},
};
use crate::{api::escaped, error::Error, output};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the dead letters
    List(ListingArgs),
    /// Show one
    Show(Show),
    /// Have its order looked at again, and forget the letter
    Replay(Dispose),
    /// Forget it
    Drop(Dispose),
}

#[derive(Debug, Args)]
pub struct Show {
    /// The letter's id, from the list
    id: String,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct Dispose {
    /// The letter's id, from the list
    id: String,
    #[command(flatten)]
    why: WhyArgs,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Replay(args) => {
            args.why.change(Method::POST, &path(&args.id, "/replay"), Map::new()).await?;
            output::line("replayed: its order is looked at next")
        }
        Command::Drop(args) => {
            args.why.change(Method::DELETE, &path(&args.id, ""), Map::new()).await?;
            output::line("dropped")
        }
    }
}

async fn list(args: ListingArgs) -> Result<(), Error> {
    let page = args.get("/v1/dead", &[]).await?;
    let paths = ["id", "reason", "mch_id", "out_trade_no", "count", "last_at", "detail"];
    let headers = ["id", "reason", "mch_id", "out_trade_no", "count", "last", "detail"];
    let rows: Vec<_> = entries(&page, "dead_letters").iter().map(|letter| row(letter, &paths)).collect();
    args.print(&page, &headers, &rows)
}

async fn show(args: Show) -> Result<(), Error> {
    let letter = args.ask.get(&path(&args.id, ""), &[]).await?;
    if args.ask.json {
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

fn path(id: &str, verb: &str) -> String {
    format!("/v1/dead/{}{verb}", escaped(id))
}
