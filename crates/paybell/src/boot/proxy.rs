//! The proxy role: the shop's own calls, registered and forwarded. It works while the ledger is away; what it misses
//! meanwhile waits in this process.

use std::{fs, sync::Arc};

use ::proxy::{ClientIdentity, KeyUsed, Ports, Proxy, ProxyConfig, ProxyLimits, ProxyMetrics};
use http_server::{Listener, Peer};
use hyper::{Request, body::Incoming};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::{
    config::{self, Config, Merchant, PemPair},
    engine::Engine,
    error::Error,
};

/// The proxy in front of the configured hosts.
pub fn build(
    config: &Config,
    proxy: &config::Proxy,
    engine: &Engine,
    registry: &mut Registry,
    key_used: &KeyUsed,
) -> Result<Proxy, Error> {
    let proxy_config = ProxyConfig {
        base_urls: config.base_urls.clone(),
        merchants: merchants(&config.merchants)?,
        sources: proxy.sources.clone(),
        trust: proxy.trust.clone(),
        limits: ProxyLimits::default(),
    };
    let ledger = engine.ledger();
    let ports = Ports { registry: ledger.registry.clone(), ledger: ledger.ledger.clone() };
    let mch_ids = config.merchants.iter().map(|merchant| merchant.mch_id.as_str());
    let metrics = ProxyMetrics::register(registry, mch_ids, key_used);
    Proxy::new(proxy_config, ports, metrics).map_err(|error| Error::Usage(format!("[proxy]: {error}")))
}

/// The merchants as the proxy knows them; reads their certificates.
pub fn merchants(merchants: &[Merchant]) -> Result<Vec<::proxy::Merchant>, Error> {
    let texts = |ids: &[paybell_core::MchId]| ids.iter().map(ToString::to_string).collect();
    let of_proxy = |merchant: &Merchant| {
        Ok(::proxy::Merchant {
            mch_id: merchant.mch_id.to_string(),
            app_ids: merchant.app_ids.iter().map(ToString::to_string).collect(),
            sub_mch_ids: texts(&merchant.sub_mch_ids),
            keys: merchant.keys.clone(),
            identity: merchant.client_certificate.as_ref().map(identity).transpose()?,
        })
    };
    merchants.iter().map(of_proxy).collect()
}

fn identity(pair: &PemPair) -> Result<ClientIdentity, Error> {
    let read = |file: &std::path::Path| {
        fs::read(file).map_err(|cause| Error::Usage(format!("cannot read {}: {cause}", file.display())))
    };
    let identity = ClientIdentity::from_pem(&read(&pair.cert_file)?, &read(&pair.key_file)?);
    identity.map_err(|error| Error::Usage(format!("{}: {error}", pair.cert_file.display())))
}

/// Serves until `drain` is cancelled and the last call has ended; only then the last registrations are tried again.
pub async fn serve(listener: Listener, proxy: Arc<Proxy>, drain: CancellationToken) {
    let no_more_calls = CancellationToken::new();
    let service = {
        let proxy = proxy.clone();
        move |request: Request<Incoming>, peer: Peer| {
            let proxy = proxy.clone();
            async move { proxy.handle(request, peer).await }
        }
    };
    let calls = async {
        listener.serve(service, drain).await;
        no_more_calls.cancel();
    };
    tokio::join!(calls, proxy.run_retries(no_more_calls.clone()));
}
