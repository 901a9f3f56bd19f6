//! A proxy that listens, with its ledger and its counters at hand.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_server::{Limits, Listener};
use prometheus_client::registry::Registry;
use proxy::{KeyUsed, Merchant, Ports, Proxy, ProxyConfig, ProxyMetrics};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::ledger::{Journal, Memory};
use crate::shop::{APPID, KEY, MCH_ID, PREVIOUS, key};

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Rig {
    pub address: SocketAddr,
    pub proxy: Arc<Proxy>,
    pub ledger: Arc<Memory>,
    pub drain: CancellationToken,
    metrics: Registry,
    pub tasks: JoinSet<()>,
}

impl Rig {
    /// In front of `hosts`.
    pub async fn start(journal: &Journal, hosts: &[&str]) -> Self {
        Self::with(journal, hosts, |_| {}).await
    }

    pub async fn with(journal: &Journal, hosts: &[&str], change: impl FnOnce(&mut ProxyConfig)) -> Self {
        let mut config = ProxyConfig::new(vec![merchant()]);
        config.base_urls = hosts.iter().map(|host| (*host).to_owned()).collect();
        change(&mut config);
        let mut metrics = Registry::default();
        let keys = KeyUsed::default();
        metrics.register("paybell_key_used", "by key", keys.clone());
        let counted = ProxyMetrics::register(&mut metrics, [MCH_ID], &keys);
        let ledger = Arc::new(Memory::new(journal.clone()));
        let ports = Ports { registry: ledger.clone(), ledger: ledger.clone() };
        let proxy = Arc::new(Proxy::new(config, ports, counted).unwrap());
        let listener = Listener::bind("127.0.0.1:0", Limits::default(), None).await.unwrap();
        let address = listener.local_addr();
        let drain = CancellationToken::new();
        let service = {
            let proxy = proxy.clone();
            move |request, peer| {
                let proxy = proxy.clone();
                async move { proxy.handle(request, peer).await }
            }
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(listener.serve(service, drain.clone()));
        Self { address, proxy, ledger, drain, metrics, tasks }
    }

    /// Starts what tries failed registrations again.
    pub fn run_retries(&mut self, drain: CancellationToken) {
        let proxy = self.proxy.clone();
        self.tasks.spawn(async move { proxy.run_retries(drain).await });
    }

    /// A metric's value by its line's beginning, labels included; 0 if it is not there.
    pub fn metric(&self, line: &str) -> u64 {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.metrics).unwrap();
        let found = text.lines().find_map(|found| found.strip_prefix(line)?.strip_prefix(' '));
        found.map_or(0, |value| value.parse().unwrap())
    }

    pub fn registrations(&self, result: &str) -> u64 {
        self.metric(&format!("paybell_proxy_registrations_total{{result=\"{result}\"}}"))
    }

    pub fn calls(&self, path: &str, result: &str) -> u64 {
        self.metric(&format!("paybell_proxy_calls_total{{path=\"{path}\",result=\"{result}\"}}"))
    }

    pub fn unverified(&self, reason: &str) -> u64 {
        self.metric(&format!("paybell_proxy_unverified_total{{reason=\"{reason}\"}}"))
    }
}

pub fn merchant() -> Merchant {
    Merchant {
        mch_id: MCH_ID.to_owned(),
        app_ids: vec![APPID.to_owned()],
        sub_mch_ids: Vec::new(),
        keys: vec![key(KEY), key(PREVIOUS)],
        identity: None,
    }
}

/// Waits until `holds`, looking often.
pub async fn until(what: &str, holds: impl Fn() -> bool) {
    let waiting = async {
        while !holds() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("never came true: {what}"));
}

/// How long `work` took, and what came of it.
pub async fn timed<T>(work: impl Future<Output = T>) -> (T, Duration) {
    let begun = Instant::now();
    let done = timeout(PATIENCE, work).await.expect("it ends");
    (done, begun.elapsed())
}
