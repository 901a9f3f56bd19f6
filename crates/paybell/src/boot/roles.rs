//! From the configuration to the roles, each started as one task. Only puts parts together: what a role does is
//! in its crate.

use std::{collections::HashSet, sync::Arc};

use console::{AllowedHosts, Console, ConsoleConfig, ConsoleMetrics, KnownMerchants, Posted, Rate};
use http_server::{Listener, Peer};
use hyper::{Request, body::Incoming};
use ingress::{Ingress, IngressMetrics, IsDraining};
use paybell_core::MemoryKeeper;
use prometheus_client::registry::Registry;
use scheduler::{Scheduler, SchedulerMetrics};
use tokio_util::sync::CancellationToken;
use wechat_pay::client::{Client, ClientConfig};
use worker::{Asker, Policies, Worker, WorkerLimits, WorkerMetrics, WorkerParts};

use super::{
    Role, bills, canary, cashier, deliveries,
    listeners::Listeners,
    merchants::LiveMerchants,
    proxy, registrations,
    reload::{self, Targets},
    revival,
    tasks::Tasks,
    views::{accounts, ingress_merchants, mch_ids, notified_of_refunds, policies, policy_of_others, tokens},
};
use crate::{config::Config, engine::Engine, error::Error, keys::KeyCounts};

/// Whoever asks WeChat in this process, and its counts.
type Asking = (Arc<Asker>, WorkerMetrics);

/// What every role is connected to.
pub struct Wiring<'w> {
    pub engine: &'w Arc<Engine>,
    pub registry: &'w mut Registry,
    /// The configured merchants, as they are at any moment.
    pub merchants: &'w LiveMerchants,
    /// Ends the taking of work.
    pub drain: &'w CancellationToken,
}

/// Starts the roles that were asked for; gives back the listener that belongs to none of them, and what a changed
/// configuration replaces.
pub fn start(
    config: &Config,
    roles: &HashSet<Role>,
    listeners: Listeners,
    mut wiring: Wiring<'_>,
    tasks: &mut Tasks,
) -> Result<(Listener, Targets), Error> {
    let keys = KeyCounts::register(wiring.registry, mch_ids(config));
    tasks.spawn("keys", keys.clone().watch_previous(wiring.drain.clone()));
    let mut targets = Targets::new(config, wiring.merchants.clone(), keys);
    let (engine, drain) = (wiring.engine, wiring.drain);
    let bound = listeners.ingress.as_ref().map(Listener::local_addr);
    targets.notify_base = cashier::notify_base(config, bound);
    if let Some(listener) = listeners.ingress {
        let ingress = Arc::new(build_ingress(config, engine, wiring.registry, &targets.keys)?);
        targets.serve_ingress(&ingress);
        tasks.spawn("ingress", serve_ingress(listener, ingress, drain.clone()));
    }
    if let (Some(listener), Some(proxy)) = (listeners.proxy, &config.proxy) {
        let proxy = proxy::build(config, proxy, engine, wiring.registry, &targets.keys.requests)?;
        let proxy = Arc::new(proxy);
        targets.serve_proxy(&proxy);
        tasks.spawn("proxy", proxy::serve(listener, proxy, drain.clone()));
    }
    let calls = [Role::Worker, Role::Console].iter().any(|role| roles.contains(role));
    let asking = calls.then(|| build_asker(config, wiring.registry, &targets.keys)).transpose()?;
    targets.asker = asking.as_ref().map(|(asker, _)| asker.clone());
    if let (Some(listener), Some((asker, _))) = (listeners.console, &asking) {
        let desk = cashier::build(config, targets.notify_base.as_deref(), engine, asker, wiring.registry)?;
        let desk = targets.cashier.insert(Arc::new(desk)).clone();
        let console = build_console(config, engine, wiring.registry, (&targets.known, desk))?;
        targets.console = Some(console.clone());
        tasks.spawn("console", serve_console(listener, console, drain.clone()));
    }
    if let Some(asking) = asking.filter(|_| roles.contains(&Role::Worker)) {
        start_worker(config, &mut wiring, (&mut targets, asking), tasks)?;
    }
    if roles.contains(&Role::Scheduler) {
        let metrics = SchedulerMetrics::register(wiring.registry);
        let scheduler = Scheduler::new(engine.ledger().due.clone(), engine.queue.clone(), metrics);
        tasks.spawn("scheduler", scheduler::run(Arc::new(scheduler), drain.clone()));
        let bills = bills::build(config, engine, wiring.registry, wiring.merchants)?;
        tasks.spawn("bills", ::bills::run(Arc::new(bills), drain.clone()));
        if let Some((watch, metrics)) = canary::build(config, wiring.registry, wiring.merchants) {
            tasks.spawn("canary", doctor::watch::run(watch, metrics, drain.clone()));
        }
    }
    Ok((listeners.admin, targets))
}

/// The worker, and what goes on beside it in the same role.
fn start_worker(
    config: &Config,
    wiring: &mut Wiring<'_>,
    (targets, (asker, metrics)): (&mut Targets, Asking),
    tasks: &mut Tasks,
) -> Result<(), Error> {
    let Wiring { engine, registry, merchants, drain } = wiring;
    let (worker, lookups) = build_worker(config, engine, &asker, metrics)?;
    let (worker, source) = (Arc::new(worker), engine.source().clone());
    if let Some(given_up) = engine.given_up() {
        tasks.spawn("rescue", worker::rescue(worker.clone(), given_up.clone(), drain.clone()));
    }
    if let Some(orders) = engine.registrations() {
        let (posted, count) = (posted(engine, &targets.known), registrations::count(registry));
        tasks.spawn("registrations", registrations::take_in(orders.clone(), posted, count, drain.clone()));
    }
    if let Some(deliveries) = deliveries::build(config, engine, registry, &asker)? {
        tasks.spawn("deliveries", deliveries::run(deliveries, drain.clone()));
    }
    let store = (engine.ledger().dead.clone(), engine.queue.clone());
    let news = lookups.news.clone();
    tasks.spawn("revival", revival::run(store, merchants.clone(), news, drain.clone()));
    targets.worker = Some(lookups);
    tasks.spawn("worker", worker::run(worker, source, WorkerLimits::default(), drain.clone()));
    Ok(())
}

fn build_ingress(
    config: &Config,
    engine: &Engine,
    registry: &mut Registry,
    keys: &KeyCounts,
) -> Result<Ingress, Error> {
    let metrics = IngressMetrics::register(registry, mch_ids(config), &keys.notifications);
    Ok(Ingress::new(Arc::new(ingress_merchants(config)?), engine.queue.clone(), metrics)
        .following(engine.modes.clone()))
}

async fn serve_ingress(listener: Listener, ingress: Arc<Ingress>, drain: CancellationToken) {
    let service = {
        let drain = drain.clone();
        move |request: Request<Incoming>, peer: Peer| {
            let (ingress, is_draining) = (ingress.clone(), IsDraining(drain.is_cancelled()));
            async move { ingress.handle(request, peer, is_draining).await }
        }
    };
    listener.serve(service, drain).await;
}

fn build_console(
    config: &Config,
    engine: &Engine,
    registry: &mut Registry,
    (known, cashier): (&KnownMerchants, Arc<::cashier::Desk>),
) -> Result<Console, Error> {
    let mut allowed_hosts = AllowedHosts::loopback();
    allowed_hosts.allow(config.console.listen.as_str());
    if let Some(public_url) = &config.ingress.public_url {
        allowed_hosts.allow(public_url);
    }
    config.console.allowed_hosts.iter().for_each(|host| allowed_hosts.allow(host));
    let console_config = ConsoleConfig {
        tokens: tokens(config)?,
        mch_ids: known.clone(),
        modes: engine.modes.clone(),
        allowed_hosts,
        rate: Rate::per_second(config.console.rate),
        streams_max: usize::try_from(config.console.streams).unwrap_or(usize::MAX),
    };
    let ports = console::Ports {
        queue: engine.queue.clone(),
        registry: engine.ledger().registry.clone(),
        records: engine.ledger().records.clone(),
        dead: engine.ledger().dead.clone(),
        log: engine.log().clone(),
        endpoints: deliveries::desk(config, engine),
        acts: engine.ledger().acts.clone(),
        bills: Arc::new(bills::Window(bills::desk(config, engine))),
        ledger: engine.ledger().ledger.clone(),
        cashier,
    };
    Ok(Console::new(ports, console_config, ConsoleMetrics::register(registry)))
}

/// What takes registrations in that come by message.
fn posted(engine: &Engine, known: &KnownMerchants) -> Posted {
    let ports = engine.ledger();
    Posted {
        registry: ports.registry.clone(),
        dead: ports.dead.clone(),
        ledger: ports.ledger.clone(),
        mch_ids: known.clone(),
    }
}

async fn serve_console(listener: Listener, console: Console, drain: CancellationToken) {
    let service = {
        let drain = drain.clone();
        move |request: Request<Incoming>, peer: Peer| {
            let (console, drain) = (console.clone(), drain.clone());
            async move { console.handle(request, peer.address.ip(), drain).await }
        }
    };
    listener.serve(service, drain).await;
}

/// What calls WeChat, and what is counted of it: one of each in a process, so that all its roles keep to one rate.
fn build_asker(config: &Config, registry: &mut Registry, keys: &KeyCounts) -> Result<Asking, Error> {
    let metrics = WorkerMetrics::register(registry, mch_ids(config), &keys.answers);
    let client_config = ClientConfig { base_urls: config.base_urls.clone(), ..ClientConfig::default() };
    let client =
        Client::new(client_config).map_err(|error| Error::Usage(format!("wechat.base_urls: {error}")))?;
    let accounts = notified_of_refunds(accounts(config)?, config.ingress.public_url.as_deref());
    Ok((Arc::new(Asker::new(client, accounts, metrics.clone())), metrics))
}

fn build_worker(
    config: &Config,
    engine: &Engine,
    asker: &Arc<Asker>,
    metrics: WorkerMetrics,
) -> Result<(Worker, reload::Worker), Error> {
    let ports = engine.ledger();
    let (notes, ledger) = (ports.notes.clone(), ports.ledger.clone());
    let memory = MemoryKeeper::new(config.retention.orders, notes, ledger, engine.log().clone());
    let policies = Policies::new(policies(config), policy_of_others(config))
        .following(engine.modes.clone())
        .remembering(memory);
    let policies = Arc::new(policies);
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Failed(format!("the system gives no random numbers: {error}")))?;
    let worker = Worker::new(WorkerParts {
        ledger: engine.ledger().ledger.clone(),
        log: engine.log().clone(),
        businesses: engine.ledger().businesses.clone(),
        dead: engine.ledger().dead.clone(),
        wechat: asker.clone(),
        policies: policies.clone(),
        metrics,
        seed,
    });
    Ok((worker, reload::Worker { policies, news: Arc::default() }))
}
