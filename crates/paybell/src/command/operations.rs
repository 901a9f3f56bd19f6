//! `paybell operations`: what operators did, over the private API. Only reads: nobody edits the trail.

use clap::{Args, Subcommand, ValueEnum};

use super::{
    order::{PageArgs, Print},
    rows::{continuation, entries, row},
};
use crate::{
    api::{Api, ApiArgs},
    error::Error,
    output,
};

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
    page: PageArgs,
    #[command(flatten)]
    print: Print,
    #[command(flatten)]
    api: ApiArgs,
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
    let limit = args.page.limit.map(|limit| limit.to_string());
    let order = match args.order {
        Order::Newest => "newest",
        Order::Oldest => "oldest",
    };
    let query = [
        ("action", args.action.as_deref()),
        ("mch_id", args.mch_id.as_deref()),
        ("order", Some(order)),
        ("limit", limit.as_deref()),
        ("after", args.page.after.as_deref()),
    ];
    let page = Api::new(&args.api)?.get("/v1/audit", &query).await?;
    if args.print.json {
        return output::json(&page);
    }
    let paths = ["number", "at", "who", "peer", "action", "object", "outcome", "reason"];
    let rows: Vec<_> = entries(&page, "acts").iter().map(|act| row(act, &paths)).collect();
    output::table(&paths, &rows)?;
    if let Some(more) = continuation(&page) {
        output::remark(&more);
    }
    Ok(())
}
