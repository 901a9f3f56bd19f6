//! `paybell endpoint`: webhooks and old handlers, over the private API: where each stands, and what to send again.

use clap::{Args, Subcommand};
use hyper::Method;
use serde_json::{Map, Value};

use super::{
    asking::{AskArgs, WhyArgs, given},
    rows::{card, cell, entries, row},
};
use crate::{api::escaped, error::Error, output};

/// Attempts and given-up events that are shown on a terminal.
const SHOWN_MAX: usize = 20;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// List every webhook and old handler: its state, what waits, its last attempt
    List(AskArgs),
    /// Show one with its newest attempts and what was given up
    Show(Show),
    /// Send an event, or a part of the log, again
    Resend(Resend),
    /// Go on after a 410, and try everything that waits at once
    Enable(Enable),
}

#[derive(Debug, Args)]
pub struct Show {
    /// The endpoint's name, from the list
    name: String,
    #[command(flatten)]
    ask: AskArgs,
}

#[derive(Debug, Args)]
pub struct Resend {
    /// The endpoint's name, from the list
    name: String,
    /// The id of one event
    #[arg(long, value_name = "ID", required_unless_present = "after", conflicts_with = "after")]
    event: Option<String>,
    /// Everything after this cursor of the event log, or after "oldest": from its beginning
    #[arg(long, value_name = "CURSOR")]
    after: Option<String>,
    /// Up to this cursor and with it [default: the newest event]
    #[arg(long, value_name = "CURSOR", requires = "after")]
    to: Option<String>,
    #[command(flatten)]
    why: WhyArgs,
}

#[derive(Debug, Args)]
pub struct Enable {
    /// The endpoint's name, from the list
    name: String,
    #[command(flatten)]
    why: WhyArgs,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::List(args) => list(args).await,
        Command::Show(args) => show(args).await,
        Command::Resend(args) => {
            let meant = given(&[("event", &args.event), ("after", &args.after), ("to", &args.to)]);
            have_done(&args.why, &path(&args.name, "/resend"), meant).await
        }
        Command::Enable(args) => have_done(&args.why, &path(&args.name, "/enable"), Map::new()).await,
    }
}

async fn list(args: AskArgs) -> Result<(), Error> {
    let listing = args.get("/v1/endpoints", &[]).await?;
    if args.json {
        return output::json(&listing);
    }
    let endpoints = entries(&listing, "endpoints");
    if endpoints.is_empty() {
        output::remark("no [[webhook]] and no [[legacy]] is configured there");
    }
    let headers = ["name", "kind", "state", "waiting", "lag", "delivered", "given up", "last attempt", "url"];
    let rows: Vec<_> = endpoints.iter().map(summary).collect();
    output::table(&headers, &rows)
}

fn summary(endpoint: &Value) -> Vec<String> {
    let mut cells = row(endpoint, &["name", "kind", "state", "waiting"]);
    cells.push(format!("{} s", cell(endpoint, "lag_seconds")));
    cells.extend(row(endpoint, &["delivered_total", "given_up_total"]));
    let last = entries(endpoint, "attempts").first();
    cells.push(last.map_or("-".to_owned(), |last| format!("{} {}", cell(last, "result"), cell(last, "at"))));
    cells.push(cell(endpoint, "url"));
    cells
}

async fn show(args: Show) -> Result<(), Error> {
    let endpoint = args.ask.get(&path(&args.name, ""), &[]).await?;
    if args.ask.json {
        return output::json(&endpoint);
    }
    output::line(&card(
        &endpoint,
        &[
            ("name", "name"),
            ("kind", "kind"),
            ("url", "url"),
            ("state", "state"),
            ("trouble", "trouble"),
            ("paused until", "paused_until"),
            ("disabled at", "disabled_at"),
            ("held up since", "held_up_at"),
            ("began anew at", "began_anew_at"),
            ("cursor", "cursor"),
            ("waiting", "waiting"),
            ("lag in s", "lag_seconds"),
            ("resends left", "resends"),
            ("resend held up", "resend_held_up_at"),
            ("delivered", "delivered_total"),
            ("failed", "failed_total"),
            ("given up", "given_up_total"),
        ],
    ))?;
    let newest = |name| entries(&endpoint, name).iter().take(SHOWN_MAX);
    if newest("attempts").len() > 0 {
        output::line("")?;
        let paths = ["at", "result", "status", "ms", "type", "event", "words"];
        let rows: Vec<_> = newest("attempts").map(|attempt| row(attempt, &paths)).collect();
        output::table(&["attempt at", "result", "status", "ms", "type", "event", "words"], &rows)?;
    }
    if newest("given_up").len() > 0 {
        output::line("")?;
        let paths = ["at", "attempts", "type", "event", "why"];
        let rows: Vec<_> = newest("given_up").map(|given_up| row(given_up, &paths)).collect();
        output::table(&["given up at", "attempts", "type", "event", "why"], &rows)?;
    }
    Ok(())
}

async fn have_done(why: &WhyArgs, path: &str, meant: Map<String, Value>) -> Result<(), Error> {
    why.change(Method::POST, path, meant).await?;
    output::line("asked for: the worker that serves the endpoint does it within seconds")
}

fn path(name: &str, verb: &str) -> String {
    format!("/v1/endpoints/{}{verb}", escaped(name))
}
