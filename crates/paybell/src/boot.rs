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
pub(crate) mod bills;
pub(crate) mod canary;
mod cashier;
mod deliveries;
pub(crate) mod listeners;
pub(crate) mod merchants;
pub(crate) mod mode;
mod opening;
mod proxy;
mod registrations;
mod reload;
mod revival;
mod roles;
pub mod signals;
pub(crate) mod tasks;
pub mod telemetry;
mod views;

use std::{collections::HashSet, sync::Arc, time::Duration};

use clap::{Args as ClapArgs, ValueEnum};
use prometheus_client::registry::Registry;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{
    cli::in_runtime,
    command::config::ConfigFile,
    config::{Config, EngineKind},
    engine::{Engine, Needs},
    error::Error,
    metrics::{Gauges, ModeGauges},
};
use admin::{Admin, Readiness};
use listeners::Listeners;
use reload::{Beginning, Reload, Standing};
use roles::Wiring;
use signals::{Hangups, Signals};
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

    /// What one process does that was told no role, in the order in which they are named.
    fn all_of(config: &Config) -> impl Iterator<Item = Role> {
        Self::ALL.into_iter().chain(config.proxy.is_some().then_some(Role::Proxy))
    }
}

/// Runs until a signal.
pub fn run(args: Args) -> Result<(), Error> {
    telemetry::begin(&args.log)?;
    let (beginning, config) = reload::begin(args.from.config)?;
    let roles: HashSet<Role> = if args.roles.is_empty() {
        Role::all_of(&config).collect()
    } else {
        args.roles.into_iter().collect()
    };
    if roles.contains(&Role::Proxy) && config.proxy.is_none() {
        let what = "there is no proxy to run: set [proxy] listen to HOST:PORT, such as \"127.0.0.1:8083\"";
        return Err(Error::Usage(what.to_owned()));
    }
    warn_of_split_roles(&config, &roles);
    in_runtime(serve(config, roles, beginning, args.print_addresses))
}

async fn serve(
    config: Config,
    roles: HashSet<Role>,
    beginning: Beginning,
    print_addresses: bool,
) -> Result<(), Error> {
    let (mut signals, hangups) = (Signals::listen()?, Hangups::listen()?);
    // First the engine: of two processes on one folder the second learns who holds it, not whose port it is.
    let needs = Needs::of(&roles, &config);
    let Some(engine) = opening::open(&config, needs, &mut signals).await? else { return Ok(()) };
    let engine = Arc::new(engine);
    let start = async {
        mode::agree(&engine.modes, &beginning.file_name()).await?;
        let listeners = Listeners::bind(&config, &roles).await?;
        let addresses = listeners.addresses();
        let process = Process::start(&config, &roles, &engine, listeners, Some((beginning, hangups)))?;
        addresses.announce(print_addresses)?;
        Ok(process)
    };
    let served = match start.await {
        Ok(process) => live(process, &mut signals).await,
        Err(error) => Err(error),
    };
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

/// From the first signal to the last task.
async fn live(mut process: Process, signals: &mut Signals) -> Result<(), Error> {
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
        reloads: Option<(Beginning, Hangups)>,
    ) -> Result<Self, Error> {
        let (drain, end) = (CancellationToken::new(), CancellationToken::new());
        let (mut working, mut telling) = (Tasks::default(), Tasks::default());
        let mut registry = Registry::default();
        let merchants = merchants::live(&config.merchants);
        let gauges = Gauges::register(&mut registry, merchants.clone());
        let standing = Standing::register(&mut registry);
        let wiring = Wiring { engine, registry: &mut registry, merchants: &merchants, drain: &drain };
        let (admin_listener, targets) = roles::start(config, roles, listeners, wiring, &mut working)?;
        if let Some((beginning, hangups)) = reloads {
            let reload = Reload::new(beginning, config, hangups, targets, standing.clone());
            working.spawn("reload", reload.run(drain.clone()));
        }
        working.spawn("fetching", stop_fetching(engine.clone(), drain.clone()));
        let shown = ModeGauges::register(&mut registry);
        telling.spawn("mode", mode::follow(engine.modes.clone(), shown, end.clone()));
        telling.spawn("gauges", gauges.keep_current(engine.clone(), end.clone()));
        let readiness = Readiness::of(roles);
        let admin = Arc::new(Admin::new(engine.clone(), registry, readiness, standing, drain.clone()));
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

/// What is fetched and not in hand must not wait until this process has ended.
async fn stop_fetching(engine: Arc<Engine>, drain: CancellationToken) {
    drain.cancelled().await;
    engine.stop_fetching();
}

/// On the embedded engine nobody else can run the roles that are missing here.
fn warn_of_split_roles(config: &Config, roles: &HashSet<Role>) {
    let missing: Vec<String> = Role::all_of(config)
        .filter(|role| !roles.contains(role))
        .filter_map(|role| role.to_possible_value().map(|value| value.get_name().to_owned()))
        .collect();
    if config.engine == EngineKind::Embedded && !missing.is_empty() {
        let missing = missing.join(", ");
        tracing::warn!("the embedded engine belongs to one process: while it runs, nobody does {missing}");
    }
}
