//! The command line: which commands there are. Their arguments and what they do live in [`crate::command`] and
//! [`crate::boot`]; nothing is decided here.

use std::future::Future;

use clap::{Parser, Subcommand};

use crate::{
    bench, boot,
    command::{
        audit, config, dead, doctor, endpoint, events, healthcheck, mode, operations, order, reconcile,
        rehearse, shadow, sign, simulate, topology, verify,
    },
    demo,
    error::Error,
};

/// Turns WeChat Pay v2 notifications into one trustworthy order.paid event per order.
#[derive(Debug, Parser)]
#[command(name = "paybell", version, arg_required_else_help = true, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show it all on this machine, with a simulated WeChat that loses, repeats and forges
    Demo(demo::Args),
    /// Run the service: the roles named, or all
    Run(boot::Args),
    /// Run a WeChat Pay v2 simulator alone
    Simulate(simulate::Args),
    /// Check, show or begin a configuration
    #[command(subcommand)]
    Config(config::Command),
    /// Look at everything a new installation gets wrong, and say how to mend it
    Doctor(doctor::Args),
    /// Register, look at and judge orders
    #[command(subcommand)]
    Order(order::Command),
    /// Read the events that were emitted
    #[command(subcommand)]
    Events(events::Command),
    /// Look after webhooks and old handlers
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// See what operators did: who, when, what, why
    #[command(subcommand)]
    Operations(operations::Command),
    /// Show the mode of the whole installation, or change it for all its processes at once
    Mode(mode::Args),
    /// Compare with the old handler, and tell what shadow mode withheld
    #[command(subcommand)]
    Shadow(shadow::Command),
    /// Compare a bill with a list of your orders, with nothing installed; exit 1 where they differ
    Audit(audit::Args),
    /// Compare a day's bill with the ledger now; exit 1 where they differ
    Reconcile(reconcile::Args),
    /// Look after dead letters
    #[command(subcommand)]
    Dead(dead::Command),
    /// Ask the process on this machine whether it is ready; exit 1 if it is not
    Healthcheck(healthcheck::Args),
    /// Show, check and create what RabbitMQ has to have (engine "cluster")
    #[command(subcommand)]
    Topology(topology::Command),
    /// Play the awkward day of a payment system against your subscriber, and see what it gets wrong
    Rehearse(rehearse::Args),
    /// Print the sign of the XML document on standard input
    Sign(sign::Args),
    /// Verify the sign of the XML document on standard input, and explain a mismatch
    Verify(verify::Args),
    /// Measure this machine: speed and size beside baselines in the same run
    #[command(subcommand)]
    Bench(bench::Command),
}

impl Cli {
    /// Carries the command out.
    pub fn carry_out(self) -> Result<(), Error> {
        match self.command {
            Command::Demo(args) => demo::run(args),
            Command::Run(args) => boot::run(args),
            Command::Simulate(args) => simulate::run(args),
            Command::Config(command) => config::run(command),
            Command::Doctor(args) => in_runtime(doctor::run(args)),
            Command::Order(command) => in_runtime(order::run(command)),
            Command::Events(command) => in_runtime(events::run(command)),
            Command::Endpoint(command) => in_runtime(endpoint::run(command)),
            Command::Operations(command) => in_runtime(operations::run(command)),
            Command::Mode(args) => in_runtime(mode::run(args)),
            Command::Shadow(command) => in_runtime(shadow::run(command)),
            Command::Audit(args) => audit::run(args),
            Command::Reconcile(args) => reconcile::run(args),
            Command::Dead(command) => in_runtime(dead::run(command)),
            Command::Healthcheck(args) => in_runtime(healthcheck::run(args)),
            Command::Topology(command) => in_runtime(topology::run(command)),
            Command::Rehearse(args) => in_runtime(rehearse::run(args)),
            Command::Sign(args) => sign::run(args),
            Command::Verify(args) => verify::run(args),
            Command::Bench(command) => bench::run(command),
        }
    }
}

/// Drives one future to its end. Tasks that it leaves behind are given up.
pub fn in_runtime<T>(future: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(future);
    runtime.shutdown_background();
    result
}
