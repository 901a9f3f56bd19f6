//! `paybell run`: from a configuration to a running process and back to nothing.
//!
//! ```text
//! read and check → open the engine → bind every listener → start the roles → announce
//!   … a signal, or a role that fell …
//! stop accepting and fetching → finish what is in hand → end the admin listener → close the engine
//! ```
//!
//! Nothing is served before everything is bound and open, so a process that cannot work never takes a request. The
//! admin listener outlives the roles: it says that the process drains. A second signal ends everything at once, which
//! loses nothing, because whatever was in hand is durable and looked at again.

mod admin;
mod deliveries;
pub(crate) mod listeners;
mod merchants;
mod proxy;
mod registrations;
mod roles;
pub mod signals;
pub(crate) mod tasks;
pub mod telemetry;

use std::{collections::HashSet, sync::Arc, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::in_runtime,
    command::config::ConfigFile,
    config::{Config, EngineKind, Mode, load, process_environment},
    engine::{Engine, Needs},
    error::Error,
    metrics::Gauges,
};
use admin::{Admin, Readiness};
use listeners::Listeners;
use roles::Wiring;
use signals::Signals;
use tasks::{Ended, Tasks};

/// What is in hand after a signal may take so long: more than a listener's own 10 s.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(15);
/// The admin listener and the sampler have nothing in hand worth waiting for.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// The engine's last writes.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug, ClapArgs)]
pub struct Args {
    /// What this process does [default: all four, and the proxy where [proxy] listen is set]
    #[arg(value_enum)]
    roles: Vec<Role>,
    #[command(flatten)]
    from: ConfigFile,
    /// Print where the listeners are bound, as one line of JSON, once everything is ready
    #[arg(long)]
    print_addresses: bool,
    #[command(flatten)]
    log: telemetry::LogArgs,
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
    /// Registers the orders of the shop's own SDK and forwards its calls
    Proxy,
}

impl Role {
    /// What every installation needs.
    pub(crate) const ALL: [Role; 4] = [Role::Ingress, Role::Worker, Role::Scheduler, Role::Console];

    /// What one process does that was told no role.
    fn all_of(config: &Config) -> HashSet<Role> {
        let proxy = config.proxy.is_some().then_some(Role::Proxy);
        Self::ALL.into_iter().chain(proxy).collect()
    }
}

/// Runs until a signal.
pub fn run(args: Args) -> Result<(), Error> {
    telemetry::begin(&args.log)?;
    let config = load(args.from.config.as_deref(), process_environment()).checked()?;
    if config.mode == Mode::Shadow {
        let what = "mode = \"shadow\" cannot be run yet by this version: it would emit like \"live\"";
        return Err(Error::Usage(what.to_owned()));
    }
    let roles: HashSet<Role> =
        if args.roles.is_empty() { Role::all_of(&config) } else { args.roles.into_iter().collect() };
    if roles.contains(&Role::Proxy) && config.proxy.is_none() {
        let what = "there is no proxy to run: set [proxy] listen to HOST:PORT, such as \"127.0.0.1:8083\"";
        return Err(Error::Usage(what.to_owned()));
    }
    warn_of_split_roles(&config, &roles);
    in_runtime(serve(config, roles, args.print_addresses))
}

async fn serve(config: Config, roles: HashSet<Role>, print_addresses: bool) -> Result<(), Error> {
    let mut signals = Signals::listen()?;
    // First the engine: of two processes on one folder the second learns who holds it, not whose port it is.
    let engine = Arc::new(Engine::open(&config, Needs::of(&roles, &config)).await?);
    let served = live(&config, &roles, &engine, &mut signals, print_addresses).await;
    if matches!(served, Err(Error::Interrupted)) {
        return served;
    }
    close(&engine, &mut signals).await?;
    served
}

/// The engine's last writes; a signal cuts them short.
pub(crate) async fn close(engine: &Engine, signals: &mut Signals) -> Result<(), Error> {
    let closed = tokio::select! {
        closed = timeout(CLOSE_TIMEOUT, engine.close()) => closed,
        _ = signals.next() => return Err(Error::Interrupted),
    };
    match closed {
        Ok(()) => tracing::info!("ended"),
        Err(_) => tracing::warn!("the engine did not close within {} s", CLOSE_TIMEOUT.as_secs()),
    }
    Ok(())
}

/// From the first socket to the last task.
async fn live(
    config: &Config,
    roles: &HashSet<Role>,
    engine: &Arc<Engine>,
    signals: &mut Signals,
    print_addresses: bool,
) -> Result<(), Error> {
    let listeners = Listeners::bind(config, roles).await?;
    let addresses = listeners.addresses();
    let mut process = Process::start(config, roles, engine, listeners)?;
    addresses.announce(print_addresses)?;
    let fallen = tokio::select! {
        signal = signals.next() => {
            tracing::info!(signal, "{signal}: finishing what is in hand");
            None
        }
        fallen = process.first_to_fall() => {
            tracing::error!(task = fallen.name, cause = %fallen.cause, "{} {}: ending", fallen.name, fallen.cause);
            Some(fallen)
        }
    };
    tokio::select! {
        () = process.finish() => {}
        _ = signals.next() => return Err(Error::Interrupted),
    }
    match fallen {
        Some(fallen) => Err(Error::Failed(format!("{} {}", fallen.name, fallen.cause))),
        None => Ok(()),
    }
}

/// Everything that runs.
pub(crate) struct Process {
    /// The roles: they take no more work once `drain` is cancelled, and end when their hands are empty.
    working: Tasks,
    drain: CancellationToken,
    /// What tells about the roles, and so outlives them: ends with `end`.
    telling: Tasks,
    end: CancellationToken,
}

impl Process {
    pub(crate) fn start(
        config: &Config,
        roles: &HashSet<Role>,
        engine: &Arc<Engine>,
        listeners: Listeners,
    ) -> Result<Self, Error> {
        let (drain, end) = (CancellationToken::new(), CancellationToken::new());
        let (mut working, mut telling) = (Tasks::default(), Tasks::default());
        let mut registry = Registry::default();
        let mch_ids = config.merchants.iter().map(|merchant| merchant.mch_id.clone()).collect();
        let gauges = Gauges::register(&mut registry, mch_ids);
        let wiring = Wiring { engine, registry: &mut registry, drain: &drain };
        let admin_listener = roles::start(config, roles, listeners, wiring, &mut working)?;
        telling.spawn("gauges", gauges.keep_current(engine.clone(), end.clone()));
        let admin = Arc::new(Admin::new(engine.clone(), registry, Readiness::of(roles), drain.clone()));
        telling.spawn("admin", admin::serve(admin_listener, admin, end.clone()));
        Ok(Self { working, drain, telling, end })
    }

    /// Waits for a task that ends although nobody told it to.
    pub(crate) async fn first_to_fall(&mut self) -> Ended {
        tokio::select! {
            fallen = self.working.first_to_end() => fallen,
            fallen = self.telling.first_to_end() => fallen,
        }
    }

    /// Takes no more work, waits for what is in hand, ends.
    pub(crate) async fn finish(self) {
        self.drain.cancel();
        self.working.wait(DRAIN_TIMEOUT).await;
        self.end.cancel();
        self.telling.wait(END_TIMEOUT).await;
    }
}

/// On the embedded engine nobody else can run the roles that are missing here.
fn warn_of_split_roles(config: &Config, roles: &HashSet<Role>) {
    let missing: Vec<String> = Role::all_of(config)
        .into_iter()
        .filter(|role| !roles.contains(role))
        .filter_map(|role| role.to_possible_value().map(|value| value.get_name().to_owned()))
        .collect();
    if config.engine == EngineKind::Embedded && !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::warn!("the embedded engine belongs to one process: while it runs, nobody does {missing}");
    }
}
