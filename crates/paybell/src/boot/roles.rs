//! From the configuration to the roles, each started as one task. Only puts parts together: what a role does is
//! in its crate.

use std::{collections::HashSet, sync::Arc};

use console::{AllowedHosts, Console, ConsoleConfig, ConsoleMetrics, Posted, Rate, Secret, Token};
use http_server::{Listener, Peer};
use hyper::{Request, body::Incoming};
use ingress::{Ingress, IngressMetrics, IsDraining, KeyUsed, Merchants};
use paybell_core::Policy;
use prometheus_client::registry::Registry;
use scheduler::{Scheduler, SchedulerMetrics};
use tokio_util::sync::CancellationToken;
use wechat_pay::client::{Client, ClientConfig, KeyRing, MerchantAccount};
use worker::{Account, Asker, MerchantFacts, Policies, Worker, WorkerLimits, WorkerMetrics, WorkerParts};

use super::{Role, deliveries, listeners::Listeners, merchants, proxy, registrations, tasks::Tasks};
use crate::{
    config::{self, Config, Merchant},
    engine::Engine,
    error::Error,
};

/// What every role is connected to.
pub struct Wiring<'w> {
    pub engine: &'w Arc<Engine>,
    pub registry: &'w mut Registry,
    /// Ends the taking of work.
    pub drain: &'w CancellationToken,
}

/// Starts the roles that were asked for and gives back the listener that belongs to none of them.
pub fn start(
    config: &Config,
    roles: &HashSet<Role>,
    listeners: Listeners,
    wiring: Wiring<'_>,
    tasks: &mut Tasks,
) -> Result<Listener, Error> {
    let Wiring { engine, registry, drain } = wiring;
    let key_used = KeyUsed::default();
    registry.register("paybell_key_used", "Documents verified by merchant and API key", key_used.clone());
    if let Some(listener) = listeners.ingress {
        let ingress = build_ingress(config, engine, registry, &key_used)?;
        tasks.spawn("ingress", serve_ingress(listener, Arc::new(ingress), drain.clone()));
    }
    if let (Some(listener), Some(proxy)) = (listeners.proxy, &config.proxy) {
        let proxy = proxy::build(config, proxy, engine, registry, &key_used)?;
        tasks.spawn("proxy", proxy::serve(listener, Arc::new(proxy), drain.clone()));
    }
    if let Some(listener) = listeners.console {
        let console = build_console(config, engine, registry)?;
        tasks.spawn("console", serve_console(listener, console, drain.clone()));
    }
    if roles.contains(&Role::Worker) {
        let worker = Arc::new(build_worker(config, engine, registry, &key_used)?);
        let source = engine.source().clone();
        if let Some(given_up) = engine.given_up() {
            tasks.spawn("rescue", worker::rescue(worker.clone(), given_up.clone(), drain.clone()));
        }
        if let Some(orders) = engine.registrations() {
            let (posted, count) = (posted(config, engine), registrations::count(registry));
            tasks
                .spawn("registrations", registrations::take_in(orders.clone(), posted, count, drain.clone()));
        }
        let live_merchants = merchants::live(&config.merchants);
        if let Some(deliveries) = deliveries::build(config, engine, registry, &live_merchants)? {
            tasks.spawn("deliveries", deliveries::run(deliveries, drain.clone()));
        }
        tasks.spawn("worker", worker::run(worker, source, WorkerLimits::default(), drain.clone()));
    }
    if roles.contains(&Role::Scheduler) {
        let metrics = SchedulerMetrics::register(registry);
        let scheduler = Scheduler::new(engine.ledger().due.clone(), engine.queue.clone(), metrics);
        tasks.spawn("scheduler", scheduler::run(Arc::new(scheduler), drain.clone()));
    }
    Ok(listeners.admin)
}

fn build_ingress(
    config: &Config,
    engine: &Engine,
    registry: &mut Registry,
    key_used: &KeyUsed,
) -> Result<Ingress, Error> {
    let of_ingress = |merchant: &Merchant| ingress::Merchant {
        mch_id: merchant.mch_id.to_string(),
        app_ids: texts(&merchant.app_ids),
        sub_mch_ids: texts(&merchant.sub_mch_ids),
        keys: merchant.keys.clone(),
        accepted: merchant.accepted,
    };
    let merchants = Merchants::new(config.merchants.iter().map(of_ingress));
    let merchants = merchants.map_err(|error| Error::Usage(error.to_string()))?;
    let mch_ids = config.merchants.iter().map(|merchant| merchant.mch_id.as_str());
    let metrics = IngressMetrics::register(registry, mch_ids, key_used);
    Ok(Ingress::new(Arc::new(merchants), engine.queue.clone(), metrics))
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

fn build_console(config: &Config, engine: &Engine, registry: &mut Registry) -> Result<Console, Error> {
    let mut allowed_hosts = AllowedHosts::loopback();
    allowed_hosts.allow(config.console.listen.as_str());
    if let Some(public_url) = &config.ingress.public_url {
        allowed_hosts.allow(public_url);
    }
    config.console.allowed_hosts.iter().for_each(|host| allowed_hosts.allow(host));
    let tokens = config.console.tokens.iter().map(token).collect::<Result<Vec<_>, _>>()?;
    let console_config = ConsoleConfig {
        tokens,
        mch_ids: config.merchants.iter().map(|merchant| merchant.mch_id.clone()).collect(),
        allowed_hosts,
        rate: Rate::per_second(config.console.rate),
        streams_max: usize::try_from(config.console.streams).unwrap_or(usize::MAX),
        ..ConsoleConfig::default()
    };
    let ports = console::Ports {
        queue: engine.queue.clone(),
        registry: engine.ledger().registry.clone(),
        records: engine.ledger().records.clone(),
        dead: engine.ledger().dead.clone(),
        log: engine.log().clone(),
        endpoints: deliveries::desk(config, engine),
        acts: engine.ledger().acts.clone(),
        ledger: engine.ledger().ledger.clone(),
    };
    Ok(Console::new(ports, console_config, ConsoleMetrics::register(registry)))
}

fn token(token: &config::Token) -> Result<Token, Error> {
    let secret = Secret::new(token.secret.reveal());
    let secret = secret.ok_or_else(|| Error::Usage(format!("the token \"{}\" is empty", token.name)))?;
    let scope = |scope: &config::Scope| match scope {
        config::Scope::Events => console::Scope::Events,
        config::Scope::Orders => console::Scope::Orders,
        config::Scope::Operate => console::Scope::Operate,
    };
    Ok(Token {
        name: token.name.clone(),
        secret,
        scopes: token.scopes.iter().map(scope).collect(),
        rate: Rate::per_second(token.rate),
        streams_max: usize::try_from(token.streams).unwrap_or(usize::MAX),
    })
}

/// What takes registrations in that come by message.
fn posted(config: &Config, engine: &Engine) -> Posted {
    let ports = engine.ledger();
    Posted {
        registry: ports.registry.clone(),
        dead: ports.dead.clone(),
        ledger: ports.ledger.clone(),
        mch_ids: config.merchants.iter().map(|merchant| merchant.mch_id.clone()).collect(),
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

fn build_worker(
    config: &Config,
    engine: &Engine,
    registry: &mut Registry,
    key_used: &KeyUsed,
) -> Result<Worker, Error> {
    let mch_ids = config.merchants.iter().map(|merchant| merchant.mch_id.as_str());
    let metrics = WorkerMetrics::register(registry, mch_ids, key_used);
    let client_config = ClientConfig { base_urls: config.base_urls.clone(), ..ClientConfig::default() };
    let client =
        Client::new(client_config).map_err(|error| Error::Usage(format!("wechat.base_urls: {error}")))?;
    let asker = Asker::new(client, config.merchants.iter().map(account), metrics.clone());
    let mut seed = [0; 32];
    getrandom::fill(&mut seed)
        .map_err(|error| Error::Failed(format!("the system gives no random numbers: {error}")))?;
    Ok(Worker::new(WorkerParts {
        ledger: engine.ledger().ledger.clone(),
        log: engine.log().clone(),
        wechat: Arc::new(asker),
        policies: Arc::new(policies(config)),
        metrics,
        seed,
    }))
}

fn account(merchant: &Merchant) -> Account {
    let mut keys = merchant.keys.iter().cloned();
    let current = keys.next().expect("a checked merchant has a current key");
    let (app_ids, sub_mch_ids) = (texts(&merchant.app_ids), texts(&merchant.sub_mch_ids));
    let facts = MerchantFacts { app_ids: app_ids.clone(), sub_mch_ids };
    let account = MerchantAccount::new(
        merchant.mch_id.as_str(),
        app_ids,
        KeyRing::new(current, keys.next()),
        merchant.algorithm,
        merchant.queries_per_second,
    );
    Account::new(account, facts)
}

fn policies(config: &Config) -> Policies {
    let otherwise = Policy {
        mode: config.mode,
        cadence: config.cadence.clone(),
        unregistered: paybell_core::Unregistered::default(),
        close_unpaid: false,
        openid: config.openid,
        retention: config.retention.orders,
    };
    let of_merchant = |merchant: &Merchant| Policy {
        unregistered: merchant.unregistered,
        close_unpaid: merchant.close_unpaid,
        openid: config.openid_of(&merchant.mch_id),
        ..otherwise.clone()
    };
    let with_id = |merchant: &Merchant| (merchant.mch_id.clone(), of_merchant(merchant));
    let by_mch_id = config.merchants.iter().map(with_id).collect();
    Policies::new(by_mch_id, otherwise)
}

fn texts<T: ToString>(ids: &[T]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}
