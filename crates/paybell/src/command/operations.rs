//! `paybell operations`: what operators did, over the private API. Only reads: nobody edits the trail.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    asking::ListingArgs,
    rows::{entries, row},
};
use crate::error::Error;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List what operators did
    List(List),
}

#[derive(Debug, Args)]
pub struct List {
    /// Only this kind, such as accept or dead.drop
    #[arg(long, value_name = "WORD")]
    action: Option<String>,
    /// Only what concerned this merchant
    #[arg(long, value_name = "MCH_ID")]
    mch_id: Option<String>,
    /// From which end
    #[arg(long, value_enum, default_value_t = Order::Newest)]
    order: Order,
    #[command(flatten)]
    listing: ListingArgs,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Order {
    Newest,
    Oldest,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List(args) => list(args).await,
    }
}

async fn list(args: List) -> Result<(), Error> {
    let order = match args.order {
        Order::Newest => "newest",
        Order::Oldest => "oldest",
    };
    let filter =
        [("action", args.action.as_deref()), ("mch_id", args.mch_id.as_deref()), ("order", Some(order))];
    let page = args.listing.get("/v1/audit", &filter).await?;
    let paths = ["number", "at", "who", "peer", "action", "object", "outcome", "reason"];
    let rows: Vec<_> = entries(&page, "acts").iter().map(|act| row(act, &paths)).collect();
    args.listing.print(&page, &paths, &rows)
}
