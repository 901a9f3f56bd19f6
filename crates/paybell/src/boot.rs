//! `paybell run`: from a configuration to a running process and back to nothing.
//!
//! ```text
//! read and check → bind every listener → open the engine → start the roles → announce
//!   … a signal, or a role that fell …
//! stop accepting and fetching → finish what is in hand → end the admin listener → close the engine
//! ```
//!
//! Nothing is served before everything is bound and open, so a process that cannot work never takes a request. The
//! admin listener outlives the roles: it says that the process drains. A second signal ends everything at once, which
//! loses nothing, because whatever was in hand is durable and looked at again.

mod admin;
mod listeners;
mod roles;
pub mod signals;
mod tasks;
pub mod telemetry;

use std::{collections::HashSet, sync::Arc, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::in_runtime,
    command::config::ConfigFile,
    config::{Config, EngineKind, load, process_environment},
    engine::Engine,
    error::Error,
    metrics::Gauges,
};
use admin::Admin;
use listeners::Listeners;
use signals::Signals;
use tasks::Tasks;

/// What is in hand after a signal may take so long: more than a listener's own 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// The admin listener and the sampler have nothing in hand worth waiting for.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// The engine's last writes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What this process does [default: all four]
    #[arg(value_enum)]
    roles: Vec<Role>,
    #[command(flatten)]
    from: ConfigFile,
    /// Print where the listeners are bound, as one line of JSON, once everything is ready
    #[arg(long)]
    print_addresses: bool,
    #[command(flatten)]
    log: telemetry::Args,
}

/// A part of the service. Any number of processes may run each, except on the embedded engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, ValueEnum)]
pub enum Role {
    /// Takes notifications
    Ingress,
    /// Asks WeChat, decides, emits
    Worker,
    /// Turns due times into checks
    Scheduler,
    /// Serves the private API
    Console,
}

impl Role {
    const ALL: [Role; 4] = [Role::Ingress, Role::Worker, Role::Scheduler, Role::Console];
}

/// Runs until a signal.
pub fn run(args: Args) -> Result<(), Error> {
    telemetry::begin(&args.log)?;
    let config = load(args.from.config.as_deref(), process_environment()).checked()?;
    let roles: HashSet<Role> =
        if args.roles.is_empty() { Role::ALL.into() } else { args.roles.into_iter().collect() };
    warn_of_split_roles(&config, &roles);
    in_runtime(serve(config, roles, args.print_addresses))
}

/// The two ends of a process's life.
struct Ends {
    /// Roles stop taking work.
    drain: CancellationToken,
    /// Nothing is left to do.
    end: CancellationToken,
}

async fn serve(config: Config, roles: HashSet<Role>, print_addresses: bool) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    let listeners = Listeners::bind(&config, &roles).await?;
    let engine = Arc::new(Engine::open(&config).await?);
    let ends = Ends { drain: CancellationToken::new(), end: CancellationToken::new() };
    let addresses = listeners.addresses();

    let mut registry = Registry::default();
    let mut working = Tasks::default();
    let mut background = Tasks::default();
    let gauges =
        Gauges::register(&mut registry, config.merchants.iter().map(|one| one.mch_id.clone()).collect());
    let admin_listener =
        roles::start(&config, &roles, listeners, (&engine, &mut registry, &ends.drain), &mut working)?;
    background.spawn("gauges", gauges.keep_current(engine.clone(), ends.end.clone()));
    let admin = Arc::new(Admin::new(engine.clone(), registry, ends.drain.clone()));
    background.spawn("admin", admin::serve(admin_listener, admin, ends.end.clone()));
    addresses.announce(print_addresses)?;

    let fallen = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "{signal}: finishing what is in hand");
            None
        }
        fallen = working.first_to_end() => Some(fallen),
        fallen = background.first_to_end() => Some(fallen),
    };
    if let Some(fallen) = &fallen {
        tracing::error!(task = fallen.name, cause = %fallen.cause, "{} {}: ending", fallen.name, fallen.cause);
    }
    tokio::select! {
        () = finish(&engine, &ends, working, background) => {}
        _ = signals.next() => return Err(Error::Interrupted),
    }
    match fallen {
        Some(fallen) => Err(Error::Failed(format!("{} {}", fallen.name, fallen.cause))),
        None => Ok(()),
    }
}

/// The way down, in the order of the way of a payment: what takes work first, what stores it last.
async fn finish(engine: &Engine, ends: &Ends, working: Tasks, background: Tasks) {
    ends.drain.cancel();
    working.wait(DRAIN_TIMEOUT).await;
    ends.end.cancel();
    background.wait(END_TIMEOUT).await;
    if timeout(CLOSE_TIMEOUT, engine.close()).await.is_err() {
        tracing::warn!("the engine did not close within {} s", CLOSE_TIMEOUT.as_secs());
    }
    tracing::info!("ended");
}

/// On the embedded engine nobody else can run the roles that are missing here.
fn warn_of_split_roles(config: &Config, roles: &HashSet<Role>) {
    let missing: Vec<String> = Role::ALL
        .into_iter()
        .filter(|role| !roles.contains(role))
        .filter_map(|role| role.to_possible_value().map(|value| value.get_name().to_owned()))
        .collect();
    if config.engine == EngineKind::Embedded && !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::warn!("the embedded engine belongs to one process: while it runs, nobody does {missing}");
    }
}
