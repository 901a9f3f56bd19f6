//! `paybell topology`: what exists at RabbitMQ under the configured prefix, compared and created. It connects by itself,
//! beside running processes, and never deletes or changes anything.

use clap::{Args, Subcommand};
use rabbitmq::topology::{self, Item, Unasked};
use serde_json::json;

use super::config::ConfigFile;
use crate::{
    config::{Config, EngineKind, load, process_environment},
    engine::rabbit_config,
    error::Error,
    output::{self, counted},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Print what there has to be, without connecting
    Show(Show),
    /// Compare the broker with it; exit 1 if something is missing or differs
    Check(Ask),
    /// Create what is missing; exit 1 if something differs
    Apply(Ask),
}

#[derive(Debug, Args)]
pub struct Show {
    /// Print it as a definitions file for `rabbitmqctl import_definitions`, for this virtual host
    #[arg(long, value_name = "VHOST")]
    definitions: Option<String>,
    #[command(flatten)]
    ask: Ask,
}

#[derive(Debug, Args)]
pub struct Ask {
    /// Print it as JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    from: ConfigFile,
}

/// Carries the command out.
pub async fn run(command: Command) -> Result<(), Error> {
    match command {
        Command::Show(args) => show(&args),
        Command::Check(args) => check(&args).await,
        Command::Apply(args) => apply(&args).await,
    }
}

fn show(args: &Show) -> Result<(), Error> {
    let shape = rabbit_config(&read(&args.ask)?).shape();
    if let Some(vhost) = &args.definitions {
        return output::json(&topology::definitions(&shape, vhost));
    }
    let items = topology::plan(&shape);
    if args.ask.json {
        return output::json(&json!({ "topology": items }));
    }
    output::table(&["name", "kind", "arguments", "purpose"], &items.iter().map(row).collect::<Vec<_>>())
}

fn row(item: &Item) -> Vec<String> {
    // The type is the kind already.
    let arguments = item.arguments.iter().filter(|(name, _)| **name != "x-queue-type");
    let arguments: Vec<String> = arguments.map(|(name, value)| format!("{name}={value}")).collect();
    let arguments = if arguments.is_empty() { "-".to_owned() } else { arguments.join(" ") };
    vec![item.name.clone(), item.kind.as_str().to_owned(), arguments, item.purpose.to_owned()]
}

async fn check(args: &Ask) -> Result<(), Error> {
    let config = of_cluster(args)?;
    let findings = topology::check(&rabbit_config(&config)).await.map_err(unasked)?;
    if args.json {
        output::json(&json!({ "findings": findings }))?;
    } else if findings.is_empty() {
        output::line("the broker has everything, as it has to be")?;
    } else {
        findings.iter().try_for_each(|finding| output::line(&finding.to_string()))?;
    }
    if findings.is_empty() { Ok(()) } else { Err(differs(findings.len())) }
}

async fn apply(args: &Ask) -> Result<(), Error> {
    let config = of_cluster(args)?;
    let applied = topology::apply(&rabbit_config(&config)).await.map_err(unasked)?;
    if args.json {
        output::json(&json!(applied))?;
    } else {
        applied.created.iter().try_for_each(|name| output::line(&format!("created {name}")))?;
        applied.findings.iter().try_for_each(|finding| output::line(&finding.to_string()))?;
        if applied.created.is_empty() && applied.findings.is_empty() {
            output::line("nothing was missing")?;
        }
    }
    if applied.findings.is_empty() { Ok(()) } else { Err(differs(applied.findings.len())) }
}

fn read(args: &Ask) -> Result<Config, Error> {
    Ok(load(args.from.config.as_deref(), process_environment()).checked()?)
}

/// For what connects: a broker that is configured beside the embedded engine is somebody else's.
fn of_cluster(args: &Ask) -> Result<Config, Error> {
    let config = read(args)?;
    if config.engine == EngineKind::Embedded {
        return Err(Error::Usage(
            "the embedded engine (engine = \"embedded\") uses no RabbitMQ, so there is nothing to compare or create: \
             ask with the configuration of a cluster"
                .to_owned(),
        ));
    }
    Ok(config)
}

fn differs(count: usize) -> Error {
    Error::Failed(counted(u64::try_from(count).unwrap_or(u64::MAX), "finding"))
}

fn unasked(error: Unasked) -> Error {
    match error {
        Unasked::Config(error) => Error::Usage(error.to_string()),
        Unasked::Away(_) => Error::Failed(error.to_string()),
    }
}
